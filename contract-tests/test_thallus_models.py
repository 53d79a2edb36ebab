"""Keys of one's own on the running platform: tried before they are believed, kept secret, gone on request; and what a
person sees of a provider that misbehaves."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from recipes import Person, World
from recipes.thallus_chat import answered
from recipes.thallus_models import (
    BASE,
    LEAK,
    MODELS,
    SAID,
    chosen,
    configured,
    credentials,
    fresh_key,
    provider,
)
from sqlalchemy import text

from domain import audit, identity
from domain.agents import own_settings
from domain.kernel.pages import CursorPage

HOUR = "What time does the depot open?"


def call(world: World, who: Person, method: str, path: str, **more: Any) -> httpx.Response:
    headers = {**who.headers(), **more.pop("headers", {})}
    return httpx.request(method, f"{world.url}{BASE}{path}", headers=headers, timeout=90, **more)


def settings(world: World, who: Person) -> dict[str, Any]:
    told: dict[str, Any] = call(world, who, "GET", "/settings/models").json()
    return told


def everything_written(running: Any) -> str:
    """All logs of all processes, and every table, as text."""
    logs = "".join(path.read_text(errors="replace") for path in Path(running.logs).glob("*.log"))
    found = [logs]
    with running.database.session(None, platform=True) as session:
        tables = session.scalars(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
        ).all()
        for table in tables:
            found += session.scalars(text(f'SELECT t::text FROM "{table}" t')).all()
    return "\n".join(found)


def test_a_key_works_from_when_it_was_tried_until_it_is_removed(running: Any, world: World) -> None:
    who = world.person("thallus")
    before = settings(world, who)
    assert (before["source"], before["credentials"], before["status"]) == ("platform", None, "ok")
    assert set(before["models"].values()) == {"extractive"}
    key = fresh_key()
    saved = call(world, who, "PUT", "/settings/models", json=chosen(key))
    assert saved.status_code == 200, saved.text
    told = saved.json()
    assert (told["source"], told["models"], told["status"]) == ("byok", MODELS, "ok")
    assert told["credentials"] == {
        "provider": "openai",
        "key_hint": f"{key[:6]}…{key[-4:]}",
        "endpoint": provider().url,
        "project_id": None,
        "location": None,
    }
    assert None not in (told["disclaimer_accepted_at"], told["validated_at"], told["updated_at"])
    assert told == settings(world, who)
    assert {body["model"] for body in provider().seen[key]} == set(MODELS.values()), "each model is tried"
    result = answered(world, who, HOUR)
    assert (result["status"], result["response"], result["usage"]["input_tokens"]) == ("completed", SAID, 21)
    assert provider().seen[key][-1]["model"] == "middle"
    asked = len(provider().seen[key])
    for _ in range(2):
        gone = call(world, who, "DELETE", "/settings/models")
        assert (gone.status_code, gone.content) == (204, b"")
    after = settings(world, who)
    assert after == {**before, "disclaimer_accepted_at": told["disclaimer_accepted_at"]}
    assert answered(world, who, HOUR)["response"] != SAID
    assert len(provider().seen[key]) == asked, "a key that was removed is not used"
    assert key not in everything_written(running)


def test_sizes_choose_their_model(running: Any, world: World) -> None:
    who = world.person("thallus")
    key = configured(world, who)
    for tier, model in MODELS.items():
        with world.acting(who) as ctx:
            own_settings.save_settings(ctx, "assistant", model_tier=tier)
        answered(world, who, HOUR)
        assert provider().seen[key][-1]["model"] == model


@pytest.mark.parametrize(
    ("fault", "status", "error", "code"),
    [
        ("status:401", 400, "invalid_key", "invalid_key"),
        ("status:403", 400, "no_access", "no_access"),
        ("status:404", 400, "unknown_model", "unknown_model"),
        ("limit:9", 400, "quota_exceeded", "quota_exceeded"),
        ("status:400", 400, "refused", "other"),
        ("status:500", 502, "upstream_failed", "unreachable"),
        ("garble", 502, "upstream_failed", "unreachable"),
        ("drop:6", 502, "upstream_failed", "unreachable"),
    ],
)
def test_what_the_provider_refuses_is_not_saved_and_said_without_its_words(
    running: Any, world: World, fault: str, status: int, error: str, code: str
) -> None:
    who = world.person("thallus")
    key = fresh_key()
    provider().tell(key, fault)
    refused = call(world, who, "PUT", "/settings/models", json=chosen(key))
    assert (refused.status_code, refused.json()["error"]) == (status, error), refused.text
    assert refused.json()["details"]["model"] in MODELS.values()
    assert settings(world, who)["source"] == "platform"
    tried = call(
        world, who, "POST", "/settings/models/validate", json={"credentials": credentials(key), "models": ["small"]}
    )
    assert tried.status_code == 200
    (check,) = tried.json()["checks"]
    assert (tried.json()["valid"], check["valid"], check["error_code"]) == (False, False, code)
    assert check["latency_ms"] is None
    assert key not in refused.text + tried.text
    assert LEAK not in refused.text + tried.text
    with world.platform() as ctx:
        kept = ctx.session.scalar(
            text("SELECT count(*) FROM model_trial WHERE given IS NOT NULL AND user_id = :id"), {"id": who.account_id}
        )
    assert kept == 0, "the secrets of a trial go with its end"


def test_terms_come_first_and_once_and_a_key_goes_to_no_other_address(running: Any, world: World) -> None:
    who = world.person("thallus")
    body = chosen()
    first = call(world, who, "PUT", "/settings/models", json={**body, "disclaimer_accepted": False})
    assert (first.status_code, first.json()["error"]) == (400, "disclaimer_required")
    assert call(world, who, "PUT", "/settings/models", json=body).status_code == 200
    key = body["credentials"]["api_key"]
    again = {"credentials": {"provider": "openai", "base_url": provider().url}, "models": MODELS}
    assert call(world, who, "PUT", "/settings/models", json=again).status_code == 200
    assert len(provider().seen[key]) == 6
    # The stored key is not sent elsewhere, be it as the main address or as that of embeddings.
    elsewhere = provider().url.replace("/v1", "/elsewhere")
    main = {"credentials": {"provider": "openai", "base_url": elsewhere}, "models": ["x"]}
    vectors = {**again, "models": ["x"]} | {
        "embedding": {"credentials": {"provider": "openai", "base_url": elsewhere}, "model": "v"}
    }
    for given in (main, vectors):
        reply = call(world, who, "POST", "/settings/models/validate", json=given)
        assert (reply.status_code, reply.json()["error"]) == (400, "invalid_key"), reply.text
    assert len(provider().seen[key]) == 6
    nothing = call(
        world, world.person("thallus"), "POST", "/settings/models/validate", json={"credentials": again["credentials"]}
    )
    assert (nothing.status_code, nothing.json()["error"]) == (400, "invalid_key")


def test_embeddings_can_be_tried_and_say_that_they_cannot_be_saved(running: Any, world: World) -> None:
    who = world.person("thallus")
    given = credentials()
    vectors = {"credentials": given, "model": "vectors-small"}
    tried = call(
        world,
        who,
        "POST",
        "/settings/models/validate",
        json={"credentials": given, "models": ["small"], "embedding": vectors},
    ).json()
    assert [(c["kind"], c["model"], c["valid"]) for c in tried["checks"]] == [
        ("completion", "small", True),
        ("embedding", "vectors-small", True),
    ]
    saved = call(world, who, "PUT", "/settings/models", json=chosen(embedding=vectors))
    assert (saved.status_code, saved.json()["error"]) == (400, "embedding_unavailable")


@pytest.mark.parametrize(
    "address",
    ["http://169.254.169.254/latest", "https://10.1.2.3/v1", "http://1.1.1.1/v1", "https://[::ffff:10.0.0.1]/v1"],
)
def test_addresses_within_the_house_and_keys_in_the_clear_are_refused(running: Any, world: World, address: str) -> None:
    who = world.person("thallus")
    given = {"credentials": {**credentials(), "base_url": address}, "models": ["x"]}
    tried = call(world, who, "POST", "/settings/models/validate", json=given)
    assert [c["error_code"] for c in tried.json()["checks"]] == ["unreachable"], tried.text
    saved = call(world, who, "PUT", "/settings/models", json={**chosen(), "credentials": given["credentials"]})
    assert (saved.status_code, saved.json()["error"]) == (502, "upstream_failed")


@pytest.mark.parametrize("address", ["ftp://example.org/v1", "https://user:word@example.org/v1", "mailto:a@b.example"])
def test_an_address_of_another_kind_is_a_fault_of_its_field(running: Any, world: World, address: str) -> None:
    who = world.person("thallus")
    body = {**chosen(), "credentials": {**credentials(), "base_url": address}}
    refused = call(world, who, "PUT", "/settings/models", json=body)
    assert (refused.status_code, refused.json()["error"]) == (422, "validation_error"), refused.text


def test_a_redirect_is_not_followed(running: Any, world: World) -> None:
    who = world.person("thallus")
    key, other = fresh_key(), fresh_key()
    provider().tell(key, f"redirect:{provider().url}/chat/completions?key={other}")
    tried = call(
        world, who, "POST", "/settings/models/validate", json={"credentials": credentials(key), "models": ["small"]}
    ).json()
    assert tried["valid"] is False
    assert len(provider().seen[key]) == 1


def test_settings_are_their_persons_alone_and_a_key_may_only_read_them(running: Any, world: World) -> None:
    who = world.person("thallus")
    configured(world, who)
    colleague = world.person("thallus", organisation_id=who.organisation_id, role="admin")
    assert settings(world, colleague)["source"] == "platform"
    assert call(world, colleague, "DELETE", "/settings/models").status_code == 204
    assert settings(world, who)["source"] == "byok"
    with world.acting(who) as ctx:
        _, plain = identity.issue_api_key(ctx, "reads", ["full"], "thallus", account_id=who.account_id)
    header = {"X-API-Key": plain}
    for method, path, status in (
        ("GET", "/settings/models", 200),
        ("GET", "/settings/models/providers", 200),
        ("PUT", "/settings/models", 401),
        ("POST", "/settings/models/validate", 401),
        ("DELETE", "/settings/models", 401),
    ):
        body = {"json": chosen()} if method in ("PUT", "POST") else {}
        reply = httpx.request(method, f"{world.url}{BASE}{path}", headers=header, timeout=60, **body)
        assert reply.status_code == status, f"{method} {path}: {reply.text}"


def test_who_changes_the_settings_stands_in_the_audit_log_and_the_key_does_not(running: Any, world: World) -> None:
    who = world.person("thallus")
    key = configured(world, who)
    call(world, who, "POST", "/settings/models/validate", json={"credentials": credentials(key), "models": ["small"]})
    call(world, who, "DELETE", "/settings/models")
    with world.platform(who.organisation_id) as ctx:
        found = [entry for entry in audit.find(ctx, page=CursorPage(100)).items if "model_settings" in entry.action]
    assert [entry.action for entry in reversed(found)] == [
        "model_settings.update",
        "model_settings.validate",
        "model_settings.delete",
    ]
    assert {(entry.actor_kind, entry.actor_id) for entry in found} == {("user", str(who.account_id))}
    assert key not in str([entry.details for entry in found])


@pytest.mark.parametrize(
    "credentials",
    [
        lambda key: {"provider": "openai", "api_key": f"{key} "},
        lambda key: {"provider": "openai", "api_key": [key]},
        lambda key: {"provider": "openai", "api_key": {"value": key}},
        lambda key: {"provider": "openai", "apikey": key},
        lambda key: {"provider": "nobody", "api_key": key},
        lambda key: {"provider": "openai", "api_key": key, "base_url": f"https://{key}@models.example/v1"},
        lambda key: [key],
        lambda key: key,
        lambda key: {
            "provider": "vertex_ai",
            "project_id": "analytics",
            "location": "eu",
            "service_account_json": [key],
        },
        lambda key: {
            "provider": "vertex_ai",
            "project_id": "analytics",
            "location": "eu",
            "service_account_json": f'{{"type": "service_account", "private_key": "{key}"}}',
        },
    ],
)
def test_a_key_in_the_wrong_place_or_form_is_not_repeated_anywhere(
    running: Any, world: World, credentials: Callable[[str], Any]
) -> None:
    who = world.person("thallus")
    key = fresh_key()
    body = {"disclaimer_accepted": True, "credentials": credentials(key), "models": MODELS}
    refused = call(world, who, "PUT", "/settings/models", json=body)
    assert refused.status_code in (400, 422), refused.text
    assert key not in refused.text
    assert key not in "".join(path.read_text(errors="replace") for path in Path(running.logs).glob("*.log"))


# --- a provider that misbehaves, seen from the chat ------------------------------------------------------------


@pytest.mark.parametrize("faults", [("status:503", "garble"), ("drop:0", "empty"), ("drop:18",), ("status:500",) * 3])
def test_faults_that_pass_are_not_seen(running: Any, world: World, faults: tuple[str, ...]) -> None:
    who = world.person("thallus")
    key = configured(world, who)
    provider().tell(key, *faults, "answer")
    result = answered(world, who, HOUR)
    assert (result["status"], result["response"]) == ("completed", SAID)
    assert len(provider().seen[key]) == 3 + len(faults) + 1


@pytest.mark.parametrize(
    ("fault", "tries", "code", "says"),
    [
        ("status:503", 4, "model_unavailable", "not available right now"),
        ("garble", 4, "model_unavailable", "not available right now"),
        ("limit:17", 1, "rate_limited", "limiting"),
        ("status:404", 1, "model_unavailable", "knows no such model"),
        ("status:401", 1, "model_unavailable", "does not take the key"),
    ],
)
def test_faults_that_stay_are_said_in_words_of_our_own(
    running: Any, world: World, fault: str, tries: int, code: str, says: str
) -> None:
    who = world.person("thallus")
    key = configured(world, who)
    provider().tell(key, fault)
    result = answered(world, who, HOUR)
    assert (result["status"], result["response"], result["error"]["code"]) == ("failed", None, code)
    assert says in result["error"]["message"]
    assert key not in json.dumps(result)
    assert LEAK not in json.dumps(result)
    assert len(provider().seen[key]) == 3 + tries
    refused = fault == "status:401"
    assert settings(world, who)["status"] == ("invalid" if refused else "ok")
    provider().tell(key, "answer")
    after = answered(world, who, HOUR)
    if refused:  # nothing is sent to a provider that refuses the key, and the platform's models do not stand in
        assert (after["status"], after["error"]["code"]) == ("failed", "model_unavailable")
        assert "Check your model settings" in after["error"]["message"]
        assert len(provider().seen[key]) == 3 + tries
        again = {"credentials": {"provider": "openai", "base_url": provider().url}, "models": MODELS}
        assert call(world, who, "PUT", "/settings/models", json=again).json()["status"] == "ok"
        after = answered(world, who, HOUR)
    assert (after["status"], after["response"]) == ("completed", SAID)


def test_no_log_and_no_table_has_a_key_or_what_a_provider_said_of_it(running: Any, world: World) -> None:
    who = world.person("thallus")
    key = configured(world, who)
    provider().tell(key, "status:401")
    answered(world, who, HOUR)
    written = everything_written(running)
    assert "sk-own-" not in written.replace(key[:6] + "…", "")
    assert LEAK not in written
