"""Keys of one's own: tried by a real completion, kept encrypted, answered never, removed on request."""

from __future__ import annotations

import itertools
import json
from contextlib import contextmanager
from datetime import timedelta
from uuid import uuid4

import pytest
from sqlalchemy import text

from domain import identity, inference
from domain.inference import TimedOut, byok
from domain.inference.choice import chat_model
from domain.inference.drivers.chat_provider import ProviderChat
from domain.kernel import outgoing
from domain.kernel.context import SystemActor, UserActor
from domain.kernel.errors import Conflict, Invalid, NotFound, Unavailable

_names = itertools.count()
KEY = "sk-test-abcdefghijklmnop"
MODELS = {"fast": "small", "medium": "middle", "large": "big"}


class Home:
    def __init__(self, database):
        self.database = database
        name = f"byok-{next(_names)}-{uuid4().hex[:6]}"
        with database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            self.organisation_id = identity.create_organisation(ctx, name=name, slug=name).id
        self.user = uuid4()
        self.published = []

    @contextmanager
    def ctx(self):
        with self.database.context(UserActor(self.user), self.organisation_id, frozenset()) as ctx:
            yield ctx

    # --- the part of `Work` that a trial needs
    transaction = ctx

    def complete(self, ctx, result=None):
        pass

    def publish(self, channel, number, event, data):
        self.published.append((channel, number, event))

    def try_(self, url, key=KEY, models=MODELS, **more):
        credentials = {"provider": "openai", "base_url": url} | ({"api_key": key} if key else {})
        with self.ctx() as ctx:
            trial = byok.start_trial(ctx, self.user, credentials, models=models, **more)
        byok.run_trial(self, trial.id)
        with self.ctx() as ctx:
            return byok.get_trial(ctx, self.user, trial.id)

    def everything(self, *queries):
        with self.database.context(SystemActor("test"), None, frozenset({"admin"}), platform=True) as ctx:
            return str([ctx.session.execute(text(query)).all() for query in queries])

    def settings(self):
        with self.ctx() as ctx:
            return byok.get_model_settings(ctx, self.user)


@pytest.fixture
def home(database):
    return Home(database)


@pytest.fixture
def server(fault_server):
    made = fault_server()
    outgoing.use(outgoing.Client(("127.0.0.0/8",)))
    yield made
    outgoing.use(None)


def test_what_works_becomes_the_persons_setting_and_the_key_is_shown_to_nobody(home, server):
    trial = home.try_(server.url, save=True, disclaimer_accepted=True)
    assert [(c["model"], c["valid"]) for c in trial.checks] == [("small", True), ("middle", True), ("big", True)]
    assert trial.given is None
    assert home.published == [(byok.channel(trial.id), 1, "done")]
    kept = home.settings()
    assert (kept.provider, kept.models, kept.status, kept.key_hint) == ("openai", MODELS, "ok", "sk-tes…mnop")
    dump = home.everything("SELECT * FROM model_setting", "SELECT * FROM model_trial", "SELECT args FROM job")
    assert KEY not in dump
    with home.ctx() as ctx:
        model = chat_model(ctx, home.user, "large")
        assert isinstance(model, ProviderChat)
        assert (model.model, model.key, model.guarded) == ("big", KEY, True)
        assert KEY not in repr(model)
        assert not isinstance(chat_model(ctx, uuid4(), "large"), ProviderChat)


@pytest.mark.parametrize(
    ("fault", "code"),
    [("status:401", "invalid_key"), ("status:404", "unknown_model"), ("limit:9", "quota_exceeded"),
     ("status:500", "unreachable"), ("garble", "unreachable")],
)  # fmt: skip
def test_what_the_provider_refuses_is_not_saved_and_says_why(home, server, fault, code):
    server.behave = [fault]
    trial = home.try_(server.url, models=["small"], save=True, disclaimer_accepted=True)
    (check,) = trial.checks
    assert (check["valid"], check["error_code"]) == (False, code)
    assert KEY not in json.dumps(trial.checks)
    assert "secret" not in json.dumps(trial.checks)
    assert home.settings().provider is None


def test_the_terms_come_first_and_once(home, server):
    with home.ctx() as ctx, pytest.raises(Invalid) as first:
        byok.start_trial(ctx, home.user, {"provider": "openai", "api_key": KEY}, models=MODELS, save=True)
    assert first.value.facts["reason"] == "disclaimer_required"
    home.try_(server.url, save=True, disclaimer_accepted=True)
    assert home.try_(server.url, save=True).checks[0]["valid"]


def test_a_key_that_is_left_out_is_the_stored_one_for_its_own_address_alone(home, server):
    home.try_(server.url, save=True, disclaimer_accepted=True)
    assert home.try_(server.url, key=None, models=["small"]).checks[0]["valid"]
    with home.ctx() as ctx, pytest.raises(Invalid) as refused:
        byok.start_trial(ctx, home.user, {"provider": "openai", "base_url": "https://thief.example"}, models=["x"])
    assert refused.value.facts["reason"] == "invalid_key"


def test_private_addresses_are_not_tried(home, server):
    outgoing.use(None)
    trial = home.try_(server.url, models=["small"])
    assert trial.checks[0]["error_code"] == "unreachable"
    assert server.seen == []


def test_removal_is_for_good_and_harmless_when_repeated(home, server):
    home.try_(server.url, save=True, disclaimer_accepted=True)
    for _ in range(2):
        with home.ctx() as ctx:
            byok.delete_model_settings(ctx, home.user)
    assert home.settings().provider is None
    assert home.settings().disclaimer_accepted_at is not None
    query = f"SELECT 'sealed' FROM model_setting WHERE secret IS NOT NULL AND user_id = '{home.user}'"
    assert "sealed" not in home.everything(query)


def test_a_refused_key_is_not_used_again_and_the_platforms_models_do_not_stand_in(home, server):
    home.try_(server.url, save=True, disclaimer_accepted=True)
    with home.ctx() as ctx:
        byok.mark_refused(ctx, home.user)
    assert home.settings().status == "invalid"
    with home.ctx() as ctx, pytest.raises(Unavailable):
        chat_model(ctx, home.user, "fast")


def test_trials_are_their_persons_own(home, server):
    trial = home.try_(server.url, models=["small"])
    with home.ctx() as ctx, pytest.raises(NotFound):
        byok.get_trial(ctx, uuid4(), trial.id)


def test_every_provider_says_what_has_to_be_entered():
    names = [p["provider"] for p in byok.providers()]
    assert names == ["gemini", "openai", "anthropic", "xai", "openrouter", "azure_openai", "vertex_ai"]
    for provider in byok.providers():
        assert any(f["secret"] for f in provider["fields"])
        assert inference.drivers().default == "extractive"


def started(home, server, **more):
    with home.ctx() as ctx:
        given = {"provider": "openai", "base_url": server.url, "api_key": KEY}
        return byok.start_trial(ctx, home.user, given, models=MODELS, save=True, disclaimer_accepted=True, **more).id


def test_a_trial_that_nobody_waits_for_any_more_saves_nothing(home, server):
    trial_id = started(home, server)
    with home.ctx() as ctx:
        assert byok.withdraw_trial(ctx, home.user, trial_id)
    byok.run_trial(home, trial_id)
    assert server.seen == []
    assert home.settings().provider is None
    with home.ctx() as ctx:
        assert byok.trial_over(ctx, home.user, trial_id)
        with pytest.raises(TimedOut):
            byok.saved(ctx, home.user, trial_id)
        assert not byok.withdraw_trial(ctx, home.user, trial_id)
        assert not byok.withdraw_trial(ctx, uuid4(), trial_id)


@pytest.mark.parametrize("act", ["withdraw", "remove"])
def test_what_happens_while_the_provider_is_asked_counts(home, server, monkeypatch, act):
    trial_id = started(home, server)
    asked = byok._checks

    def meanwhile(given):
        found = asked(given)
        with home.ctx() as ctx:
            if act == "withdraw":
                byok.withdraw_trial(ctx, home.user, trial_id)
            else:
                byok.delete_model_settings(ctx, home.user)
        return found

    monkeypatch.setattr(byok, "_checks", meanwhile)
    byok.run_trial(home, trial_id)
    assert home.settings().provider is None
    with home.ctx() as ctx, pytest.raises(TimedOut if act == "withdraw" else Conflict):
        byok.saved(ctx, home.user, trial_id)
    assert "sealed" not in home.everything(
        f"SELECT 'sealed' FROM model_trial WHERE given IS NOT NULL AND user_id = '{home.user}'"
    )


def test_all_models_are_asked_at_once(home, server):
    server.behave = ["together"]
    trial = home.try_(server.url, models=["a", "b", "c", "d"])
    assert [(c["model"], c["valid"]) for c in trial.checks] == [(name, True) for name in "abcd"]


def test_models_that_do_not_answer_in_time_are_said_to_be_late(home, server, monkeypatch):
    monkeypatch.setattr(byok, "SECONDS", 1.0)
    server.behave = ["hang"]
    trial = home.try_(server.url, models=["a", "b", "c", "d"])
    assert [(c["model"], c["error_code"]) for c in trial.checks] == [(name, "timed_out") for name in "abcd"]


def test_a_trial_that_failed_for_good_is_over_and_says_so(home, server):
    trial_id = started(home, server)
    with home.ctx() as ctx:
        byok.abandon_trial(ctx, trial_id)
        with pytest.raises(Unavailable):
            byok.saved(ctx, home.user, trial_id)
    assert home.settings().provider is None


def test_a_key_that_was_saved_after_the_refused_work_began_is_not_meant(home, server):
    home.try_(server.url, save=True, disclaimer_accepted=True)
    with home.ctx() as ctx:
        kept = byok.get_model_settings(ctx, home.user)
        byok.mark_refused(ctx, home.user, kept.updated_at - timedelta(seconds=1))
    assert home.settings().status == "ok"
    with home.ctx() as ctx:
        byok.mark_refused(ctx, home.user, kept.updated_at)
    assert home.settings().status == "invalid"


def test_embeddings_are_not_saved_and_a_stored_key_does_not_go_to_their_address(home, server):
    vectors = {"credentials": {"provider": "openai", "base_url": server.url}, "model": "vectors"}
    with pytest.raises(Invalid) as refused:
        started(home, server, embedding=vectors)
    assert refused.value.facts["reason"] == "embedding_unavailable"
    home.try_(server.url, save=True, disclaimer_accepted=True)
    vectors["credentials"]["base_url"] = "https://thief.example"
    with pytest.raises(Invalid) as kept:
        home.try_(server.url, key=None, models=["small"], embedding=vectors)
    assert kept.value.facts["reason"] == "invalid_key"


def test_trials_of_days_before_are_forgotten(home, server):
    old = home.try_(server.url, models=["small"]).id
    with home.ctx() as ctx:
        byok.get_trial(ctx, home.user, old).ended_at -= timedelta(days=2)
    home.try_(server.url, models=["small"])
    with home.ctx() as ctx, pytest.raises(NotFound):
        byok.get_trial(ctx, home.user, old)


@pytest.mark.parametrize(
    "address", ["ftp://x.example/v1", "https://", "https://me:you@x.example", "javascript:alert(1)"]
)
def test_an_address_of_another_kind_is_refused_before_anything_is_kept(home, server, address):
    with home.ctx() as ctx, pytest.raises(Invalid) as refused:
        byok.start_trial(ctx, home.user, {"provider": "openai", "api_key": KEY, "base_url": address}, models=["x"])
    assert refused.value.facts["field"] == "credentials.base_url"
