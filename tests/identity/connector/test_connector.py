"""First contact, tokens for users, changes among them, and consent."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from sqlalchemy import select

from domain import billing, notifications
from domain.identity import accounts, connector, memberships, sessions
from domain.identity.connector import claims, consents, events, instances, users
from domain.identity.models import Account, ConnectorInstance, GroupMember, Membership, UserGroup
from domain.kernel import crypto
from domain.kernel.clock import FixedClock
from domain.kernel.context import ConnectorActor, SystemActor, UserActor
from domain.kernel.db import Database
from domain.kernel.errors import Conflict, DomainError, Forbidden, Gone, Invalid, LimitExceeded, PaymentRequired
from domain.kernel.ids import new_id
from domain.kernel.outgoing import UpstreamFailed


class World:
    def __init__(self, database: Database, nextcloud: Any) -> None:
        self.database, self.nextcloud = database, nextcloud
        self.clock = FixedClock(datetime.now(UTC))
        nextcloud.instance_id = f"oc{new_id().hex[-18:]}"
        self.email = f"{nextcloud.instance_id}@lovelace.example"

    def ctx(self, organisation_id: UUID | None = None, actor: Any = None) -> Any:
        actor = actor or ConnectorActor(self.nextcloud.instance_id)
        return self.database.context(actor, organisation_id, clock=self.clock, surface="beeflow")

    def hello(self, **other: Any) -> instances.Hello:
        given = {
            "instance_id": self.nextcloud.instance_id,
            "base_url": self.nextcloud.url,
            "admin_uid": "ada",
            "admin_email": self.email,
            "admin_name": "Ada%20Lovelace",
            **other,
        }
        return instances.Hello(**given)

    def bootstrap(self, *, organisation_id: UUID | None = None, **other: Any) -> Any:
        hello = self.hello(enrolling=organisation_id is None, **other)
        told = instances.read(hello)
        with self.ctx(organisation_id) as ctx:
            return instances.bootstrap(ctx, hello, told)

    def organisation(self, *, email: str | None = None, verified: bool = True) -> UUID:
        """An organisation that is here already, with an administrator of that address."""
        with self.database.context(SystemActor(), None, platform=True, clock=self.clock) as ctx:
            owner = accounts.make(ctx, email=email or self.email, name="Owner", source="signup", verified=verified)
            return accounts.give_own_organisation(ctx, owner, name="Lovelace Engines", slug=f"c-{new_id().hex[-12:]}")

    def token(self) -> str:
        """The token in the latest mail about a claim."""
        with self.database.context(SystemActor(), None, platform=True) as ctx:
            mail = ctx.session.scalars(
                select(notifications.Mail)
                .where(notifications.Mail.template == "pending_claim", notifications.Mail.recipient == self.email)
                .order_by(notifications.Mail.created_at.desc(), notifications.Mail.id.desc())
            ).first()
            assert mail is not None
            return str(_facts(mail)["link"]).partition("#")[2]

    def shake(self, organisation_id: UUID, uid: str, **about: Any) -> users.Handshake:
        with self.ctx(organisation_id) as ctx:
            return users.handshake(ctx, uid, **about)

    def take(self, organisation_id: UUID, kind: str, uid: str, **about: Any) -> bool:
        with self.ctx(organisation_id) as ctx:
            return events.take(ctx, events.Event(kind, uid, **about))

    def member(self, organisation_id: UUID, uid: str) -> Membership | None:
        with self.ctx(organisation_id) as ctx:
            return users.find(ctx, uid)

    def groups(self, organisation_id: UUID, uid: str) -> set[str]:
        with self.ctx(organisation_id) as ctx:
            rows = ctx.session.scalars(
                select(UserGroup.external_id)
                .join(GroupMember, GroupMember.group_id == UserGroup.id)
                .join(Membership, Membership.account_id == GroupMember.account_id)
                .where(Membership.external_id == uid)
            )
            return {str(name) for name in rows}


def _facts(mail: Any) -> dict[str, Any]:
    import json

    sealed = crypto.unseal(mail, "facts")
    assert sealed is not None
    return dict(json.loads(sealed.reveal()))


@pytest.fixture
def world(database: Database, nextcloud: Any) -> World:
    return World(database, nextcloud)


@pytest.fixture
def bound(world: World) -> instances.Bound:
    """An instance that is bound, to an organisation with seats for everybody."""
    made = world.bootstrap()
    assert isinstance(made, instances.Bound)
    with world.ctx(made.organisation_id) as ctx:
        billing.subscribe(ctx, "enterprise", "beeflow")
    return made


# --- first contact -----------------------------------------------------------------------------------------


def test_a_new_instance_gets_an_organisation_and_its_administrator_a_seat_in_it(world: World) -> None:
    bound = world.bootstrap()
    assert (bound.is_new, bound.organisation_name, bound.version) == (True, "Lovelace Cloud", "32.0.1")
    assert bound.tenant_key.startswith("bft_")
    member = world.member(bound.organisation_id, "ada")
    assert member is not None
    assert member.role == "owner"
    with world.ctx(bound.organisation_id) as ctx:
        account = accounts.get(ctx, member.account_id)
        assert (account.name, account.email, account.email_verified_at) == ("Ada Lovelace", world.email, None)
        row = ctx.session.scalars(select(ConnectorInstance)).one()
        assert bound.tenant_key.encode() not in row.tenant_key


def test_a_known_instance_gets_the_same_organisation_and_key_again(world: World, bound: instances.Bound) -> None:
    again = world.bootstrap(organisation_id=bound.organisation_id)
    assert (again.organisation_id, again.tenant_key, again.is_new) == (bound.organisation_id, bound.tenant_key, False)


def test_the_enrolment_key_never_yields_the_key_of_a_known_instance(world: World, bound: instances.Bound) -> None:
    outcome = world.bootstrap()  # whoever has a connector could ask this
    assert isinstance(outcome, claims.Pending)
    with world.ctx() as ctx:
        claims.decide(ctx, world.token(), accepted=True)
    fresh = world.bootstrap(pending_id=outcome.id)
    assert fresh.organisation_id == bound.organisation_id
    assert fresh.tenant_key != bound.tenant_key
    with pytest.raises(Forbidden):  # made good once
        world.bootstrap(pending_id=outcome.id)


def test_a_first_contact_whose_reply_was_lost_is_repeated_under_its_own_key(world: World) -> None:
    first = world.bootstrap(idempotency_key="chosen-by-the-connector")
    assert world.bootstrap(idempotency_key="chosen-by-the-connector") == first
    assert isinstance(world.bootstrap(idempotency_key="guessed"), claims.Pending)
    assert isinstance(world.bootstrap(idempotency_key="guessed"), claims.Pending)
    eve = world.bootstrap(idempotency_key="chosen-by-the-connector", admin_uid="eve")
    assert isinstance(eve, claims.Pending)
    world.clock.advance(timedelta(days=1))
    assert isinstance(world.bootstrap(idempotency_key="chosen-by-the-connector"), claims.Pending)


def test_an_instance_that_is_another_one_is_refused(world: World) -> None:
    world.nextcloud.instance_id, true = "somebodyelse1", world.nextcloud.instance_id
    with pytest.raises(instances.InstanceMismatch):
        world.bootstrap(instance_id=true)


@pytest.mark.parametrize(
    ("status", "body"),
    [(503, None), (200, {"ocs": {}}), (200, []), (200, {"ocs": {"data": {"version": {}, "capabilities": {}}}})],
)
def test_an_instance_that_does_not_tell_its_capabilities_is_a_failure_outside(
    world: World, status: int, body: Any
) -> None:
    world.nextcloud.status, world.nextcloud.body = status, body
    with pytest.raises(UpstreamFailed):
        world.bootstrap()


def test_an_instance_without_the_connectors_word_is_another_one(world: World) -> None:
    world.nextcloud.body = {"ocs": {"data": {"version": {"string": "32.0.1"}, "capabilities": {}}}}
    with pytest.raises(instances.InstanceMismatch):
        world.bootstrap()


@pytest.mark.parametrize("url", ["http://169.254.169.254", "http://10.0.0.1", "http://[::1]:1", "ftp://x.example"])
def test_the_server_is_not_sent_to_private_places(world: World, url: str) -> None:
    with pytest.raises(DomainError):
        world.bootstrap(base_url=url)


def test_where_the_address_belongs_to_an_organisation_its_administrators_decide(world: World) -> None:
    organisation_id = world.organisation()
    pending = world.bootstrap()
    assert isinstance(pending, claims.Pending)
    assert pending.expires_at == world.clock.now() + timedelta(minutes=30)
    assert isinstance(world.bootstrap(pending_id=pending.id), claims.Pending)
    token = world.token()
    with world.ctx() as ctx:
        asked = claims.look(ctx, token)
        assert (asked.organisation, asked.organisation_id) == ("Lovelace Engines", organisation_id)
        claims.decide(ctx, token, accepted=True)
    bound = world.bootstrap(pending_id=pending.id)
    assert (bound.organisation_id, bound.is_new) == (organisation_id, False)
    member = world.member(organisation_id, "ada")
    assert member is not None  # the administrator is the same person in both
    assert member.role == "owner"


def test_a_claim_that_is_turned_down_or_left_alone_binds_nothing(world: World) -> None:
    world.organisation()
    pending = world.bootstrap()
    token = world.token()
    with world.ctx() as ctx:
        claims.decide(ctx, token, accepted=False)
    with pytest.raises(Forbidden):
        world.bootstrap(pending_id=pending.id)
    with pytest.raises(Gone), world.ctx() as ctx:
        claims.decide(ctx, token, accepted=True)
    late = world.bootstrap()
    token = world.token()
    world.clock.advance(timedelta(minutes=30))
    with pytest.raises(Forbidden):
        world.bootstrap(pending_id=late.id)
    with pytest.raises(Gone), world.ctx() as ctx:
        claims.decide(ctx, token, accepted=True)


def test_a_claim_is_its_own_instances(world: World, nextcloud: Any) -> None:
    world.organisation()
    pending = world.bootstrap()
    with world.ctx() as ctx:
        claims.decide(ctx, world.token(), accepted=True)
    nextcloud.instance_id = "anotherinstance1"
    with pytest.raises(Forbidden):
        world.bootstrap(pending_id=pending.id)


def test_five_claims_at_a_time_for_an_organisation(world: World, nextcloud: Any) -> None:
    world.organisation()
    for number in range(5):
        nextcloud.instance_id = f"manyinstances{number}"
        world.bootstrap()
    with pytest.raises(LimitExceeded):
        world.bootstrap()
    world.clock.advance(timedelta(minutes=30))
    assert isinstance(world.bootstrap(), claims.Pending)


def test_an_address_of_an_organisation_with_another_instance_is_a_conflict(
    world: World, bound: instances.Bound, nextcloud: Any
) -> None:
    member = world.member(bound.organisation_id, "ada")
    assert member is not None
    with world.ctx(bound.organisation_id) as ctx:
        accounts.get(ctx, member.account_id).email_verified_at = world.clock.now()
    nextcloud.instance_id = f"x{nextcloud.instance_id}"
    with pytest.raises(Conflict):
        world.bootstrap()


def test_an_address_that_nobody_has_proved_leads_to_nobodys_organisation(world: World) -> None:
    squatter = world.organisation(verified=False)
    bound = world.bootstrap()
    assert isinstance(bound, instances.Bound)
    assert bound.organisation_id != squatter
    member = world.member(bound.organisation_id, "ada")
    with world.ctx(bound.organisation_id) as ctx:
        assert member is not None
        assert accounts.get(ctx, member.account_id).email.endswith(".nextcloud.invalid")


# --- tokens for users ----------------------------------------------------------------------------------------


def test_a_user_is_made_on_first_sight_and_found_by_the_uid_after_that(world: World, bound: instances.Bound) -> None:
    email = f"grace-{world.email}"
    first = world.shake(bound.organisation_id, "grace", email=email, name="Grace%20Hopper")
    assert (first.signed_in.account.name, first.signed_in.account.email) == ("Grace Hopper", email)
    assert first.signed_in.access_expires_at == world.clock.now() + timedelta(seconds=300)
    known = sessions.verify_access_token(world.database, first.signed_in.access_token, "beeflow")
    assert known.organisation_id == bound.organisation_id
    again = world.shake(bound.organisation_id, "grace")
    assert again.signed_in.account.id == first.signed_in.account.id


def test_a_nextcloud_never_gets_hold_of_an_account_that_somebody_has_elsewhere(
    world: World, bound: instances.Bound
) -> None:
    victim = f"victim-{world.email}"
    world.organisation(email=victim)
    shaken = world.shake(bound.organisation_id, "eve", email=victim)
    assert shaken.signed_in.account.email.endswith(".nextcloud.invalid")
    with world.ctx() as ctx:
        account = accounts.find(ctx, victim)
    assert account is not None
    assert shaken.signed_in.account.id != account.id


def test_a_member_whose_address_is_proved_is_the_same_person(world: World, bound: instances.Bound) -> None:
    email = f"member-{world.email}"
    with world.database.context(SystemActor(), None, platform=True) as ctx:
        member = accounts.make(ctx, email=email, name="Member", source="invite", verified=True)
        accounts.join(ctx, member, bound.organisation_id, "admin", source="invite")
    assert world.shake(bound.organisation_id, "mem", email=email).signed_in.account.id == member.id


def test_an_account_that_has_got_a_sign_in_of_its_own_is_its_owners(world: World, bound: instances.Bound) -> None:
    shaken = world.shake(bound.organisation_id, "grace", email=f"g-{world.email}")
    with world.ctx(bound.organisation_id) as ctx:
        accounts.get(ctx, shaken.signed_in.account.id).password_hash = "set by the owner of the address"
    with pytest.raises(users.Refused):
        world.shake(bound.organisation_id, "grace")


def test_disabled_and_deleted_users_get_no_token(world: World, bound: instances.Bound) -> None:
    world.shake(bound.organisation_id, "grace")
    for status in ("disabled", "deleted", "pending"):
        with world.ctx(bound.organisation_id) as ctx:
            member = users.find(ctx, "grace")
            assert member is not None
            member.status = status
        with pytest.raises(users.Refused):
            world.shake(bound.organisation_id, "grace")


def test_without_a_free_seat_nobody_new_comes_in(world: World, bound: instances.Bound) -> None:
    with world.ctx(bound.organisation_id) as ctx:
        billing.subscribe(ctx, "community", "beeflow")
    with pytest.raises(PaymentRequired):
        world.shake(bound.organisation_id, "second")
    assert world.shake(bound.organisation_id, "ada")
    assert not world.take(bound.organisation_id, "user.created", "third")


def test_different_uids_have_different_placeholders() -> None:
    made = {users.placeholder("oc8f2k1q9x7z", uid) for uid in ("ada", "Ada", "ad a", "ädä", "..", "a" * 255)}
    assert len(made) == 6
    assert all(len(one) < 254 and one.isascii() for one in made)


# --- changes among users ---------------------------------------------------------------------------------------


def at(seconds: float) -> datetime:
    return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)


def test_users_are_made_changed_and_removed(world: World, bound: instances.Bound) -> None:
    organisation_id = bound.organisation_id
    assert world.take(
        organisation_id, "user.created", "grace", email=f"g-{world.email}", name="Grace", occurred_at=at(0)
    )
    token = world.shake(organisation_id, "grace").signed_in
    assert world.take(
        organisation_id, "user.updated", "grace", name="Rear Admiral", email=f"h-{world.email}", occurred_at=at(1)
    )
    with world.ctx(organisation_id) as ctx:
        account = accounts.get(ctx, token.account.id)
        assert (account.name, account.email) == ("Rear Admiral", f"h-{world.email}")
    assert world.take(organisation_id, "user.deleted", "grace", occurred_at=at(2))
    member = world.member(organisation_id, "grace")
    assert member is not None
    assert (member.status, member.deleted_at) == ("deleted", world.clock.now())
    with pytest.raises(DomainError):
        sessions.verify_access_token(world.database, token.access_token, "beeflow")


def test_what_comes_late_or_twice_is_ignored(world: World, bound: instances.Bound) -> None:
    organisation_id = bound.organisation_id
    assert world.take(organisation_id, "user.created", "grace", name="New", occurred_at=at(10))
    assert not world.take(organisation_id, "user.updated", "grace", name="Old", occurred_at=at(9))
    assert not world.take(organisation_id, "user.deleted", "grace", occurred_at=at(10))
    assert not world.take(organisation_id, "user.created", "grace", occurred_at=at(10))
    assert world.take(organisation_id, "user.deleted", "grace", occurred_at=at(11))
    assert not world.take(organisation_id, "user.deleted", "grace", occurred_at=at(12))
    assert not world.take(organisation_id, "user.updated", "grace", name="Back", occurred_at=at(13))


def test_a_uid_that_is_given_again_is_somebody_new(world: World, bound: instances.Bound) -> None:
    organisation_id = bound.organisation_id
    world.take(organisation_id, "user.created", "grace", occurred_at=at(0))
    before = world.member(organisation_id, "grace")
    world.take(organisation_id, "user.deleted", "grace", occurred_at=at(1))
    assert world.take(organisation_id, "user.created", "grace", occurred_at=at(2))
    after = world.member(organisation_id, "grace")
    assert before is not None
    assert after is not None
    assert before.account_id != after.account_id


def test_an_event_from_the_far_future_does_not_silence_those_that_follow(world: World, bound: instances.Bound) -> None:
    organisation_id = bound.organisation_id
    world.take(organisation_id, "user.created", "grace", occurred_at=world.clock.now() + timedelta(days=900))
    world.clock.advance(timedelta(seconds=1))
    assert world.take(organisation_id, "user.updated", "grace", name="Later", occurred_at=world.clock.now())


def test_the_last_administrator_stays(world: World, bound: instances.Bound) -> None:
    assert not world.take(bound.organisation_id, "user.deleted", "ada")
    member = world.member(bound.organisation_id, "ada")
    assert member is not None
    assert member.status == "active"


def test_groups_follow_whatever_the_order_of_events(world: World, bound: instances.Bound) -> None:
    organisation_id = bound.organisation_id
    world.take(organisation_id, "user.created", "grace", occurred_at=at(0))
    for group in ("legal", "ops"):
        assert world.take(organisation_id, "group.member_added", "grace", group_id=group, occurred_at=at(0))
    assert world.groups(organisation_id, "grace") == {"legal", "ops"}
    assert not world.take(organisation_id, "group.member_removed", "grace", group_id="legal", occurred_at=at(-5))
    assert world.take(organisation_id, "group.member_removed", "grace", group_id="legal", occurred_at=at(5))
    assert world.groups(organisation_id, "grace") == {"ops"}
    assert not world.take(organisation_id, "group.member_added", "grace", group_id="legal", occurred_at=at(4))
    assert world.groups(organisation_id, "grace") == {"ops"}
    assert world.take(organisation_id, "group.member_added", "grace", group_id="legal", occurred_at=at(6))
    assert world.groups(organisation_id, "grace") == {"legal", "ops"}


def test_a_group_that_was_made_here_keeps_its_members_to_itself(world: World, bound: instances.Bound) -> None:
    with world.ctx(bound.organisation_id) as ctx:
        ctx.session.add(UserGroup(id=new_id(), name="legal", name_key="legal"))
    world.take(bound.organisation_id, "user.created", "grace")
    assert world.take(bound.organisation_id, "group.member_added", "grace", group_id="legal")
    with world.ctx(bound.organisation_id) as ctx:
        names = set(ctx.session.scalars(select(UserGroup.name).where(UserGroup.external_id == "legal")))
    assert names == {"legal (Nextcloud)"}


def test_events_that_concern_nobody_or_nothing_known_are_ignored(world: World, bound: instances.Bound) -> None:
    assert not world.take(bound.organisation_id, "calendar.shared", "ada")
    assert not world.take(bound.organisation_id, "user.updated", "nobody")
    assert not world.take(bound.organisation_id, "group.member_added", "nobody", group_id="legal")
    assert not world.take(bound.organisation_id, "group.member_removed", "ada", group_id="unknown")
    with pytest.raises(Invalid):
        world.take(bound.organisation_id, "group.member_added", "ada")


def test_an_event_changes_nothing_in_another_organisation(world: World, bound: instances.Bound, nextcloud: Any) -> None:
    world.take(bound.organisation_id, "user.created", "grace")
    here = world.member(bound.organisation_id, "grace")
    other = World(world.database, nextcloud)
    elsewhere = other.bootstrap()
    assert not other.take(elsewhere.organisation_id, "user.deleted", "grace")
    other.take(elsewhere.organisation_id, "user.created", "grace")
    other.take(elsewhere.organisation_id, "user.deleted", "grace")
    again = world.member(bound.organisation_id, "grace")
    assert here is not None
    assert again is not None
    assert (again.status, again.account_id) == ("active", here.account_id)


def test_an_account_that_is_more_than_this_nextclouds_is_not_changed_by_it(
    world: World, bound: instances.Bound
) -> None:
    email = f"own-{world.email}"
    with world.database.context(SystemActor(), None, platform=True) as ctx:
        member = accounts.make(ctx, email=email, name="Member", source="signup", verified=True)
        accounts.join(ctx, member, bound.organisation_id, "member", source="invite")
    world.shake(bound.organisation_id, "mem", email=email)
    assert world.take(bound.organisation_id, "user.updated", "mem", name="Renamed", email=f"stolen-{email}")
    with world.ctx() as ctx:
        account = ctx.session.get(Account, member.id)
    assert account is not None
    assert (account.name, account.email) == ("Member", email)


# --- consent ------------------------------------------------------------------------------------------------------


def test_consent_is_asked_for_once_a_version(world: World, bound: instances.Bound) -> None:
    consents.ask_for("2026-05")
    shaken = world.shake(bound.organisation_id, "grace")
    assert shaken.consent_required
    account_id = shaken.signed_in.account.id
    with world.ctx(bound.organisation_id, UserActor(account_id)) as ctx:
        first = consents.record(ctx, "2026-05", language="nl")
    world.clock.advance(timedelta(days=1))
    with world.ctx(bound.organisation_id, UserActor(account_id)) as ctx:
        again = consents.record(ctx, "2026-05", language="en")
        latest = consents.latest(ctx, account_id)
    assert latest is not None
    assert (again.id, again.accepted_at, again.language, latest.id) == (first.id, first.accepted_at, "nl", first.id)
    assert not world.shake(bound.organisation_id, "grace").consent_required
    consents.ask_for("2026-11")
    assert world.shake(bound.organisation_id, "grace").consent_required
    connector.consents.ask_for(None)
    assert not world.shake(bound.organisation_id, "grace").consent_required


def test_memberships_are_the_members_own_place(world: World, bound: instances.Bound) -> None:
    world.shake(bound.organisation_id, "grace")
    with world.ctx(bound.organisation_id) as ctx:
        assert memberships.active_count(ctx) == 2
