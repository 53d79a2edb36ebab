"""Who a signed request is from: the key, the lines, the clock, and once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from domain.identity import connector, create_organisation
from domain.identity.models import ConnectorInstance
from domain.kernel import crypto
from domain.kernel.clock import FixedClock
from domain.kernel.context import SystemActor
from domain.kernel.crypto import Secret
from domain.kernel.db import Database
from domain.kernel.errors import Unauthenticated
from domain.kernel.ids import new_id

signature = connector.signature
SYNC = "/auth/webhook/nc-user-sync"
BODY = b'{"event": "user.created", "ncUid": "ada"}'


class World:
    def __init__(self, database: Database, facts_of: Any) -> None:
        self.database, self.facts_of = database, facts_of
        self.clock = FixedClock(datetime.now(UTC))
        self.key = Secret(crypto.token("bft_"))
        self.instance = new_id().hex[:20]
        with database.context(SystemActor(), None, platform=True) as ctx:
            self.organisation_id = create_organisation(ctx, name="Signed", slug=f"s-{self.instance}").id
        with database.context(SystemActor(), self.organisation_id) as ctx:
            row = ConnectorInstance(instance_id=self.instance, base_url="https://cloud.example")
            crypto.seal(row, "tenant_key", self.key)
            ctx.session.add(row)

    @property
    def now(self) -> int:
        return int(self.clock.now().timestamp())

    def sync(
        self, given: str, *, body: bytes = BODY, path: str = f"/beeflow{SYNC}", instance: str | None = None
    ) -> Any:
        headers = {"x-beeflow-nc-instance-id": instance or self.instance}
        request = self.facts_of("syncNextcloudUser", path, headers)
        return signature.verify(self.database, given, request, body, clock=self.clock)

    def signed(self, at: int | None = None, *, key: Secret | None = None, path: str = SYNC, body: bytes = BODY) -> str:
        return signature.sign(key or self.key, self.now if at is None else at, ["POST", path, body])


@pytest.fixture
def world(database: Database, facts_of: Any) -> World:
    return World(database, facts_of)


def test_the_tenant_key_proves_the_organisation(world: World) -> None:
    known = world.sync(world.signed())
    assert (known.organisation_id, known.instance_id, known.enrolling) == (
        world.organisation_id, world.instance, False,
    )  # fmt: skip


def test_the_path_is_signed_as_the_contract_has_it_or_as_it_was_sent(world: World) -> None:
    assert world.sync(world.signed(path=f"/beeflow{SYNC}"))
    assert world.sync(world.signed(world.now + 1, path=SYNC))


def test_a_signature_is_taken_once(world: World) -> None:
    given = world.signed()
    world.sync(given)
    for again in (given, given.upper(), f" {given} "):
        with pytest.raises(Unauthenticated):
            world.sync(again)


@pytest.mark.parametrize("offset", [-301, 301, -10_000_000])
def test_clocks_differ_by_300_seconds_at_most(world: World, offset: int) -> None:
    with pytest.raises(Unauthenticated):
        world.sync(world.signed(world.now + offset))


@pytest.mark.parametrize("offset", [-299, 299])
def test_within_300_seconds_a_signature_is_good(world: World, offset: int) -> None:
    assert world.sync(world.signed(world.now + offset))


def test_a_spent_signature_is_remembered_for_as_long_as_it_could_be_used(world: World) -> None:
    given = world.signed(world.now + 299)
    world.sync(given)
    world.clock.advance(timedelta(seconds=599))
    with pytest.raises(Unauthenticated):
        world.sync(given)


def test_what_is_signed_cannot_be_changed(world: World) -> None:
    given = world.signed()
    stamp, mac = given.split(".")
    attempts: list[dict[str, Any]] = [
        {"given": given, "body": BODY + b" "},
        {"given": given, "path": "/beeflow/auth/nc-handshake"},
        {"given": given, "instance": "anotherinstance"},
        {"given": f"{int(stamp) + 1}.{mac}"},
        {"given": f"{stamp}.{'0' * 64}"},
        {"given": f"{stamp}.{mac[:-1]}"},
        {"given": mac},
        {"given": f"{stamp}."},
        {"given": ""},
        {"given": f"-{stamp}.{mac}"},
        {"given": f"{'9' * 30}.{mac}"},
        {"given": world.signed(key=Secret("another key"))},
    ]
    for attempt in attempts:
        with pytest.raises(Unauthenticated) as refused:
            world.sync(**attempt)
        assert refused.value.facts == {"reason": "invalid_signature"}
    assert world.sync(given)  # none of them used it up


def test_the_enrolment_key_is_good_for_first_contact_alone(world: World, enrolment: Secret) -> None:
    with pytest.raises(Unauthenticated):
        world.sync(world.signed(key=enrolment))
    headers = {
        "x-beeflow-nc-instance-id": world.instance,
        "x-beeflow-nc-base-url": "https://cloud.example",
        "x-beeflow-nc-admin-uid": "ada",
        "x-beeflow-nc-admin-email": "ada@lovelace.example",
    }
    request = world.facts_of("bootstrapConnector", "/beeflow/auth/connector/bootstrap", headers)
    lines = ["POST", "/auth/connector/bootstrap", *headers.values()]
    given = signature.sign(enrolment, world.now, lines)
    known = signature.verify(world.database, given, request, b"", clock=world.clock)
    assert (known.enrolling, known.organisation_id) == (True, None)
    given = signature.sign(world.key, world.now, lines)
    known = signature.verify(world.database, given, request, b"", clock=world.clock)
    assert (known.enrolling, known.organisation_id) == (False, world.organisation_id)
    other = world.facts_of("bootstrapConnector", request.raw_path, {**headers, "x-beeflow-nc-admin-uid": "eve"})
    with pytest.raises(Unauthenticated):
        signature.verify(world.database, signature.sign(enrolment, world.now + 1, lines), other, b"", clock=world.clock)


def test_without_an_enrolment_key_nobody_new_is_taken(world: World, enrolment: Secret) -> None:
    signature.enrol_with(None)
    headers = {"x-beeflow-nc-instance-id": "newinstance1"}
    request = world.facts_of("bootstrapConnector", "/auth/connector/bootstrap", headers)
    for key in (enrolment, Secret("None"), Secret("")):
        lines = ["POST", request.raw_path, "newinstance1", "", "", ""]
        with pytest.raises(Unauthenticated):
            signature.verify(world.database, signature.sign(key, world.now, lines), request, b"", clock=world.clock)


def test_a_revoked_instance_and_a_closed_organisation_are_nobody(world: World) -> None:
    from domain.identity import get_organisation

    with world.database.context(SystemActor(), world.organisation_id) as ctx:
        get_organisation(ctx).deleted_at = world.clock.now()
    with pytest.raises(Unauthenticated):
        world.sync(world.signed())


def test_an_operation_that_signs_nothing_known_is_refused(world: World) -> None:
    request = world.facts_of("somethingElse", SYNC, {"x-beeflow-nc-instance-id": world.instance})
    with pytest.raises(Unauthenticated):
        signature.verify(world.database, world.signed(), request, BODY, clock=world.clock)


def test_an_instance_cannot_sign_for_another_organisation(world: World, database: Database, facts_of: Any) -> None:
    other = World(database, facts_of)
    given = signature.sign(other.key, world.now, ["POST", SYNC, BODY])
    with pytest.raises(Unauthenticated):
        world.sync(given)
    assert other.sync(given).organisation_id == other.organisation_id
