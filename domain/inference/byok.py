"""Models with keys of one's own: which provider works for a person, tried by real completions before it is believed.

A trial is a row and a job: `start_trial` seals what is tried, `run_trial` asks the provider outside any transaction,
writes down how each model answered, and saves what works when that was asked for. Keys are never answered, only how
they begin and end.
"""

from __future__ import annotations

import json
import re
import time
import tomllib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import lru_cache
from pathlib import Path
from typing import Any
from uuid import UUID

from sqlalchemy import delete, select, update

from domain import audit
from domain.inference.chat import ChatModel, Passing, Refused, probe
from domain.inference.drivers.chat_provider import ProviderChat
from domain.inference.models import ModelSetting, ModelTrial
from domain.inference.ports import Deadline, TimedOut
from domain.kernel import crypto, outbox, outgoing
from domain.kernel.context import Ctx, UserActor, Work
from domain.kernel.crypto import Secret
from domain.kernel.errors import Conflict, DomainError, Invalid, LimitExceeded, NotFound, Unavailable

PATH = Path(__file__).parent / "data" / "providers.toml"
TIERS = ("fast", "medium", "large")
SECONDS = 20.0
"""That one model has to answer a trial. All models of a trial are asked at once."""
MOST_MODELS = 5
TRIALS_KEPT = timedelta(days=1)
"""How long it is known how a trial went; its secrets go when it is over."""
_PLACES = ("base_url", "endpoint", "api_version", "project_id", "location")


@dataclass(frozen=True, slots=True)
class StoredSettings:
    """Whose models work for a person; the platform's where `provider` is None."""

    provider: str | None = None
    key_hint: str | None = None
    address: Mapping[str, Any] | None = None
    models: Mapping[str, str] | None = None
    embedding: Mapping[str, Any] | None = None
    status: str = "ok"
    disclaimer_accepted_at: datetime | None = None
    validated_at: datetime | None = None
    updated_at: datetime | None = None


@lru_cache(maxsize=1)
def providers() -> Sequence[Mapping[str, Any]]:
    """What can be configured: `provider`, `display_name`, `embeddings`, `fields`, `models`, `docs_url`."""
    found: list[Mapping[str, Any]] = tomllib.loads(PATH.read_text("utf-8"))["provider"]
    return found


def get_model_settings(ctx: Ctx, user_id: UUID) -> StoredSettings:
    row = _row(ctx, user_id)
    if row is None:
        return StoredSettings()
    return StoredSettings(
        row.provider, row.key_hint, row.address, row.models or None, row.embedding,
        row.status if row.provider else "ok", row.disclaimer_accepted_at, row.validated_at, row.saved_at,
    )  # fmt: skip


def start_trial(
    ctx: Ctx,
    user_id: UUID,
    credentials: Mapping[str, Any],
    *,
    models: Mapping[str, str] | Sequence[str] = (),
    embedding: Mapping[str, Any] | None = None,
    save: bool = False,
    disclaimer_accepted: bool = False,
) -> ModelTrial:
    """Have keys and models tried. `credentials` as the contract has them (`provider`, `api_key` or
    `service_account_json`, address); a key that is left out is the stored one. With `save`, `models` maps the three
    tiers, and what works becomes the person's setting.

    Raises `Invalid` (fact `reason`: `unknown_provider`, `disclaimer_required`, `invalid_key`, `unknown_model`,
    `embedding_unavailable`; or `field`).
    """
    provider = str(credentials.get("provider") or "")
    known = next((p for p in providers() if p["provider"] == provider), None)
    if known is None:
        raise Invalid("There is no such provider.", reason="unknown_provider")
    row = _row(ctx, user_id)
    if save and not disclaimer_accepted and (row is None or row.disclaimer_accepted_at is None):
        raise Invalid("Accept the terms for keys of your own first.", reason="disclaimer_required")
    if save and embedding is not None:
        # One index serves everybody who may see a document: it cannot be of one person's vectors.
        raise Invalid(
            "Documents are read with the platform's embeddings here; those of one's own can be tried and not saved.",
            reason="embedding_unavailable",
        )
    given: dict[str, Any] = {
        "provider": provider,
        "key": _key(credentials, provider, row),
        "address": _address(credentials),
        "models": dict(models) if isinstance(models, Mapping) else {},
        "names": list(dict.fromkeys(models.values() if isinstance(models, Mapping) else models)),
        "embedding": None if embedding is None else _embedding(embedding, credentials, row),
    }
    if not given["names"]:
        if "probe" not in known:
            raise Invalid("Name a deployment to try.", reason="unknown_model")
        given["names"] = [known["probe"]]
    trial = ModelTrial(user_id=user_id, provider=provider, save=save, accepted=disclaimer_accepted, state="queued")
    crypto.seal(trial, "given", json.dumps(given))
    _forget(ctx, user_id)
    ctx.session.add(trial)
    ctx.session.flush()
    outbox.enqueue(ctx, "inference.try_models", {"trial_id": str(trial.id)}, queue="interactive", max_attempts=2)
    if not save:
        audit.record(
            ctx, "model_settings.validate", resource_type="model_settings", resource_id=user_id,
            details={"provider": provider},
        )  # fmt: skip
    return trial


def channel(trial_id: UUID) -> str:
    """Where `done` comes when a trial is over."""
    return f"model-trial:{trial_id}"


def get_trial(ctx: Ctx, user_id: UUID, trial_id: UUID) -> ModelTrial:
    """With its `checks`: [{kind, model, valid, latency_ms, error_code, message}]. Raises `NotFound`."""
    found = _find_trial(ctx, user_id, trial_id)
    if found is None:
        raise NotFound("There is no such trial.")
    return found


def trial_over(ctx: Ctx, user_id: UUID, trial_id: UUID) -> bool:
    """For whoever waits: whether there is something to be told."""
    state = ctx.session.scalar(select(ModelTrial.state).where(ModelTrial.id == trial_id, ModelTrial.user_id == user_id))
    return state != "queued"


def saved(ctx: Ctx, user_id: UUID, trial_id: UUID) -> StoredSettings:
    """The settings that a trial with `save` has led to.

    Raises what its first failure says: `Invalid` (fact `reason`: `invalid_key`, `no_access`, `unknown_model`,
    `quota_exceeded`, `refused`; fact `model`), `outgoing.UpstreamFailed`, `TimedOut`, `Unavailable`; `Conflict` when
    the settings were removed while it ran.
    """
    trial = _find_trial(ctx, user_id, trial_id)
    if trial is None:
        raise Conflict("The settings were removed while the keys were tried.", reason="removed")
    failed = next((check for check in trial.checks if not check["valid"]), None)
    if failed is None:
        return get_model_settings(ctx, user_id)
    message, model = str(failed["message"]), str(failed["model"])
    match failed["error_code"]:
        case "unreachable":
            raise outgoing.UpstreamFailed(message, model=model)
        case "timed_out":
            raise TimedOut(message, model=model)
        case "other" if not model:
            raise Unavailable(message, retry_after=5)
        case code:
            raise Invalid(message, reason="refused" if code == "other" else code, model=model)


def run_trial(work: Work, trial_id: UUID) -> None:
    """Ask the provider and write down what it said. Run again after a crash, it asks again."""
    with work.transaction() as ctx:
        trial = ctx.session.get(ModelTrial, trial_id)
        if trial is None or trial.state == "done":
            work.complete(ctx)
            return
        sealed = crypto.unseal(trial, "given")
    given: dict[str, Any] = json.loads(sealed.reveal()) if sealed else {}
    checks = _checks(given)
    valid = all(check["valid"] for check in checks)
    with work.transaction() as ctx:
        trial = _locked_trial(ctx, trial_id)
        if trial is not None and trial.state != "done":  # removed, or nobody waits for it any more
            trial.checks, trial.state, trial.given, trial.ended_at = checks, "done", None, ctx.now()
            if trial.save and valid:
                _save(ctx, trial, given)
        work.complete(ctx, {"valid": valid})
    work.publish(channel(trial_id), 1, "done", {})


def abandon_trial(ctx: Ctx, trial_id: UUID) -> None:
    """The job has failed for good: the secrets go, and whoever waits sees that nothing answered."""
    trial = _locked_trial(ctx, trial_id)
    if trial is not None and trial.state != "done":
        _end(ctx, trial, "other", "The trial could not be carried out. Try again shortly.")


def withdraw_trial(ctx: Ctx, user_id: UUID, trial_id: UUID) -> bool:
    """Nobody waits for it any more: it saves nothing, and is over as one that got no answer in time. Answers False for
    one that is over already, which stays as it is."""
    trial = _locked_trial(ctx, trial_id)
    if trial is None or trial.user_id != user_id or trial.state == "done":
        return False
    _end(ctx, trial, "timed_out", "The trial took too long.")
    return True


def delete_model_settings(ctx: Ctx, user_id: UUID) -> None:
    """Remove keys and models for good; harmless when there are none."""
    ctx.session.execute(delete(ModelTrial).where(ModelTrial.user_id == user_id))
    row = _row(ctx, user_id)
    if row is not None:
        row.provider = row.secret = row.key_hint = row.embedding = row.embedding_secret = None
        row.address, row.models, row.status = {}, {}, "unchecked"
        row.validated_at = row.saved_at = None
    audit.record(ctx, "model_settings.delete", resource_type="model_settings", resource_id=user_id)


def mark_refused(ctx: Ctx, user_id: UUID, since: datetime | None = None) -> None:
    """The provider has refused the person's key: nothing is sent to it before they have looked at it. `since` is when
    the work began that was refused: a key that was saved later is not meant."""
    query = update(ModelSetting).where(ModelSetting.user_id == user_id, ModelSetting.provider.is_not(None))
    if since is not None:
        query = query.where(ModelSetting.saved_at <= since)
    ctx.session.execute(query.values(status="invalid").execution_options(synchronize_session=False))


def driver(provider: str, secret: Secret | None, address: Mapping[str, Any], model: str) -> ChatModel:
    """The model of a person's own provider."""
    return ProviderChat(
        provider,
        model,
        secret.reveal() if secret is not None else "",
        base_url=address.get("endpoint") or address.get("base_url"),
        api_version=address.get("api_version"),
        project=address.get("project_id"),
        location=address.get("location"),
        guarded=True,
    )


# --- below ------------------------------------------------------------------------------------------------


def _checks(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """How each model answered, in the order in which they are named, then the embedding."""
    key = Secret(given["key"])

    def trying(name: str) -> Callable[[], dict[str, Any]]:
        return lambda: _check(driver(given["provider"], key, given["address"], name), name)

    asked = [trying(name) for name in given["names"][:MOST_MODELS]]
    if (embedding := given["embedding"]) is not None:
        asked.append(lambda: _check_embedding(embedding))
    with ThreadPoolExecutor(max_workers=len(asked), thread_name_prefix="model-trial") as threads:
        return [each.result() for each in [threads.submit(one) for one in asked]]


def _check(model: ChatModel, name: str) -> dict[str, Any]:
    started = time.monotonic()
    code: str | None = None
    message: str | None = None
    try:
        probe(model, Deadline(SECONDS))
    except Refused as refused:
        reason = str(refused.facts.get("reason") or "other")
        code, message = reason if reason != "refused" else "other", refused.message
    except LimitExceeded as limited:
        code, message = "quota_exceeded", limited.message
    except TimedOut:
        code, message = "timed_out", "The provider did not answer in time."
    except outgoing.Refused as refused:
        code, message = "unreachable", refused.message
    except (Passing, outgoing.UpstreamFailed):
        code, message = "unreachable", "The provider could not be reached, or did not answer as it should."
    except DomainError as problem:
        code, message = "other", problem.message
    took = min(600_000, int((time.monotonic() - started) * 1000))
    return {
        "kind": "completion", "model": name, "valid": code is None, "latency_ms": took if code is None else None,
        "error_code": code, "message": message,
    }  # fmt: skip


def _check_embedding(given: Mapping[str, Any]) -> dict[str, Any]:
    """One short text to the provider's model of vectors."""
    from domain.inference.drivers.provider_vectors import dimensions_of

    started = time.monotonic()
    check: dict[str, Any] = {
        "kind": "embedding", "model": given["model"], "valid": False, "latency_ms": None, "error_code": None,
        "message": None, "dimensions": None,
    }  # fmt: skip
    try:
        check["dimensions"] = dimensions_of(given, Deadline(SECONDS))
    except DomainError as problem:
        reason = str(problem.facts.get("reason") or "unreachable")
        return check | {"error_code": reason if reason != "refused" else "other", "message": problem.message[:1000]}
    took = min(600_000, int((time.monotonic() - started) * 1000))
    return check | {"valid": True, "latency_ms": took}


def _save(ctx: Ctx, trial: ModelTrial, given: Mapping[str, Any]) -> None:
    row = _row(ctx, trial.user_id)
    if row is None:
        row = ModelSetting(user_id=trial.user_id)
        ctx.session.add(row)
    row.provider, row.address, row.models = given["provider"], given["address"], given["models"]
    crypto.seal(row, "secret", given["key"])
    row.key_hint = hint(given["key"], given["provider"])
    row.embedding, row.embedding_secret = None, None
    row.status, row.validated_at, row.saved_at = "ok", ctx.now(), ctx.now()
    if trial.accepted:
        row.disclaimer_accepted_at = row.disclaimer_accepted_at or ctx.now()
    ctx.session.flush()
    audit.record(
        replace(ctx, actor=UserActor(trial.user_id)),  # a worker carries out what the person has asked for
        "model_settings.update",
        resource_type="model_settings",
        resource_id=trial.user_id,
        details={"provider": row.provider, "models": row.models, "user_id": str(trial.user_id)},
    )


def hint(key: str, provider: str) -> str | None:
    """How a key begins and ends; nothing of a short one, nor of a service account."""
    if provider == "vertex_ai" or len(key) < 16:
        return None
    return f"{key[:6]}…{key[-4:]}"


def _key(credentials: Mapping[str, Any], provider: str, row: ModelSetting | None) -> str:
    given = credentials.get("service_account_json" if provider == "vertex_ai" else "api_key")
    if given:
        return str(given)
    if row is not None and row.provider == provider:
        # A stored key goes to the address that it was stored for and to no other.
        wanted = {name: credentials[name] for name in ("base_url", "endpoint") if credentials.get(name)}
        if {k: v for k, v in row.address.items() if k in ("base_url", "endpoint")} != wanted:
            raise Invalid("Enter the key again for another address.", reason="invalid_key")
        kept = crypto.unseal(row, "secret")
        if kept is not None:
            return kept.reveal()
    raise Invalid("A key is needed.", reason="invalid_key")


def _embedding(given: Mapping[str, Any], main: Mapping[str, Any], row: ModelSetting | None) -> dict[str, Any]:
    credentials = given["credentials"]
    provider = str(credentials.get("provider") or "")
    known = next((p for p in providers() if p["provider"] == provider), None)
    if known is None or not known["embeddings"]:
        raise Invalid("This provider offers no embeddings.", reason="unknown_provider")
    # The key that was given with the same request serves both; a stored one only its own address.
    shared = not credentials.get("api_key") and provider == main.get("provider") and main.get("api_key")
    return {
        "provider": provider,
        "key": _key(main if shared else credentials, provider, row),
        "address": _address(credentials),
        "model": given["model"],
    }


def _address(credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Where the provider is, as far as that is said. Whether it may be called is judged at the call."""
    given = {name: credentials[name] for name in _PLACES if credentials.get(name)}
    for name in ("base_url", "endpoint"):
        if name in given and not re.fullmatch(r"https?://[^\s/?#@\\]+([/?#]\S*)?", given[name]):
            raise Invalid("An address begins with https:// and names a host.", field=f"credentials.{name}")
    return given


def _end(ctx: Ctx, trial: ModelTrial, code: str, message: str) -> None:
    failed = {"kind": "completion", "model": "", "valid": False, "latency_ms": None, "error_code": code,
              "message": message}  # fmt: skip
    trial.checks, trial.state, trial.given, trial.ended_at = [failed], "done", None, ctx.now()


def _forget(ctx: Ctx, user_id: UUID) -> None:
    ctx.session.execute(
        delete(ModelTrial).where(
            ModelTrial.user_id == user_id,
            ModelTrial.state == "done",
            ModelTrial.ended_at < ctx.now() - TRIALS_KEPT,
        )
    )


def _find_trial(ctx: Ctx, user_id: UUID, trial_id: UUID) -> ModelTrial | None:
    return ctx.session.scalars(
        select(ModelTrial).where(ModelTrial.id == trial_id, ModelTrial.user_id == user_id)
    ).one_or_none()


def _locked_trial(ctx: Ctx, trial_id: UUID) -> ModelTrial | None:
    return ctx.session.scalars(
        select(ModelTrial).where(ModelTrial.id == trial_id).with_for_update().execution_options(populate_existing=True)
    ).one_or_none()


def _row(ctx: Ctx, user_id: UUID) -> ModelSetting | None:
    return ctx.session.scalars(select(ModelSetting).where(ModelSetting.user_id == user_id)).one_or_none()
