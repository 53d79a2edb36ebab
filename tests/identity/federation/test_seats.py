"""Whoever comes in takes a seat of the organisation's plan, by whatever door; who has one already needs no other."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit
from uuid import UUID, uuid4

import pytest
from sqlalchemy import func, select

from domain import billing
from domain.identity import accounts, federation, invites, members, memberships, newcomers, organisations, welcome
from domain.identity.federation.entrance import Vouched
from domain.identity.invites import InviteRefused
from domain.identity.models import Account, Membership
from domain.kernel.context import AnonymousActor, UserActor
from domain.kernel.db import Database
from domain.kernel.errors import Conflict, Forbidden, Gone, PaymentRequired

PASSWORD = "Staple-orbit-lantern-42"


class House:
    """An organisation on a plan of 25 seats of which `free` are free, and its owner."""

    def __init__(self, database: Database, free: int) -> None:
        self.database = database
        with self.door() as ctx:
            owner = self.account(ctx, password=PASSWORD)
            self.id = accounts.give_own_organisation(ctx, owner, name=f"House {uuid4().hex}")
        self.owner = owner.id
        with self.inside() as ctx:
            billing.subscribe(ctx, "pro", "beeflow")
            for _ in range(24 - free):
                memberships.add(ctx, self.account(ctx).id, "member", source="invite", status="invited")

    def door(self, surface: str = "beeflow") -> Any:
        return self.database.context(AnonymousActor("192.0.2.1"), None, surface=surface)

    def inside(self) -> Any:
        return self.database.context(UserActor(self.owner), self.id, frozenset({"admin"}), surface="beeflow")

    def account(self, ctx: Any, **more: Any) -> Account:
        return accounts.make(
            ctx, email=f"p-{uuid4().hex[-12:]}@example.org", name="Ada Lovelace", source="signup", verified=True, **more
        )

    def stranger(self) -> Account:
        """Somebody with an organisation of their own."""
        with self.door() as ctx:
            account = self.account(ctx, password=PASSWORD)
            accounts.give_own_organisation(ctx, account)
            return account

    def invite(self, email: str | None = None) -> str:
        """A token that takes no seat yet."""
        with self.inside() as ctx:
            return invites.issue(ctx, life=timedelta(days=1), email=email, organisation_id=self.id, role="member")[1]

    def member(self, account: Account, status: str, role: str = "member") -> None:
        with self.inside() as ctx:
            memberships.add(ctx, account.id, role, source="invite", status=status)

    def join(self, way: str, account: Account, token: str) -> None:
        """Take an invitation up with the password: while signing in, or on the page of the invitation."""
        with self.door() as ctx:
            if way == "password":
                newcomers.take_up(ctx, token, accounts.get(ctx, account.id))
            else:
                welcome.join(ctx, "thallus", token, PASSWORD)

    def taken(self) -> int:
        with self.inside() as ctx:
            return memberships.active_count(ctx)

    def status(self, account: Account) -> str | None:
        with self.inside() as ctx:
            found = memberships.find(ctx, account.id)
            return None if found is None else found.status

    def sign_in(self, provider: str = "saml", *, email: str | None = None, **more: Any) -> dict[str, str]:
        """What the browser is sent away with."""
        email = email or f"p-{uuid4().hex[-12:]}@example.org"
        into: UUID | None = self.id if provider == "saml" else None
        vouched = Vouched(
            provider, "https://idp.example", more.pop("subject", email), email, True, organisation_id=into
        )
        with self.door() as ctx:
            landing = federation.flows.let_in(ctx, vouched, surface="beeflow", redirect="/", browser="b" * 32, **more)
        given = parse_qs(urlsplit(str(landing.location)).query)
        return {name: given[name][0] for name in ("code", "error") if name in given}


@pytest.fixture(autouse=True)
def _bound(settings_of: Any) -> None:
    federation.registry.bind(settings_of())


@pytest.fixture
def full(database: Database) -> House:
    return House(database, 0)


def number_of(database: Database, what: Any) -> int:
    with database.session(None, platform=True) as session:
        return int(session.scalar(select(func.count()).select_from(what)) or 0)


def test_an_organisations_provider_lets_nobody_past_its_seats(database: Database, full: House) -> None:
    before = number_of(database, Account)
    assert full.sign_in() == {"error": "no_free_seat"}
    assert (number_of(database, Account), full.taken()) == (before, 25)


def test_the_last_seat_goes_to_one_of_those_who_come_from_the_provider_at_once(database: Database) -> None:
    house = House(database, 1)
    with ThreadPoolExecutor(4) as pool:
        came = list(pool.map(lambda _: "code" in house.sign_in(), range(4)))
    assert came.count(True) == 1
    assert house.taken() == 25


@pytest.mark.parametrize("status", ["active", "invited"])
def test_who_is_a_member_comes_from_the_provider_whether_or_not_there_is_a_seat(full: House, status: str) -> None:
    house, account = full, full.stranger()
    with house.inside() as ctx:  # one of the 25 is theirs
        spare = ctx.session.scalars(select(Membership).where(Membership.status == "invited").limit(1)).one()
        ctx.session.delete(spare)
    house.member(account, status)
    assert house.taken() == 25
    assert "code" in house.sign_in(email=account.email)
    assert "code" in house.sign_in(email=account.email)
    assert house.status(account) == "active"


def test_an_invitation_lets_nobody_past_the_seats_by_another_provider(full: House) -> None:
    token = full.invite()
    assert full.sign_in("google", invite_token=token) == {"error": "no_free_seat"}
    with full.door() as ctx:
        found = invites.find(ctx, token)
        assert found is not None
        assert found.redemptions == 0, "it is good once there is a seat"


@pytest.mark.parametrize("way", ["provider", "password", "page"])
def test_an_invitation_brings_nobody_back_who_is_disabled(database: Database, way: str) -> None:
    house = House(database, 2)
    account = house.stranger()
    house.member(account, "disabled")
    token = house.invite(account.email)
    if way == "provider":
        assert house.sign_in("google", email=account.email, invite_token=token) == {"error": "account_disabled"}
    else:
        with pytest.raises(InviteRefused) as refused:
            house.join(way, account, token)
        assert refused.value.facts["reason"] == "invite_revoked"
    assert house.status(account) == "disabled"


@pytest.mark.parametrize("known", [False, True], ids=["a newcomer", "one with an account"])
def test_an_invitation_to_an_organisation_that_is_gone_does_not_call_anybody_deactivated(
    database: Database, known: bool
) -> None:
    """It says what is said of any invitation that is not good: whether the organisation was ever there is not told."""
    house = House(database, 2)
    email = house.stranger().email if known else f"p-{uuid4().hex[-12:]}@example.org"
    token = house.invite(email)
    with house.inside() as ctx:
        organisations.close_organisation(ctx)
    before = number_of(database, Account)
    gone = house.sign_in("google", email=email, invite_token=token)
    never = house.sign_in("google", email=f"p-{uuid4().hex[-12:]}@example.org", invite_token="inv_of_nobody")
    assert gone == never == {"error": "access_denied"}
    assert number_of(database, Account) == before


@pytest.mark.parametrize("way", ["password", "page"])
def test_an_invitation_lets_nobody_past_the_seats(full: House, way: str) -> None:
    account = full.stranger()
    token = full.invite(account.email)
    with pytest.raises(PaymentRequired) as refused:
        full.join(way, account, token)
    assert refused.value.facts["metric"] == memberships.SEATS
    assert (full.status(account), full.taken()) == (None, 25)


def test_seats_are_bee_flows_and_no_other_surfaces(database: Database, full: House) -> None:
    before = number_of(database, Account)
    token = full.invite()
    with full.door("thallus") as ctx:
        invites.register(
            ctx, "thallus", email=f"p-{uuid4().hex}@example.org", password=PASSWORD, name="Ada", invite_token=token
        )
    assert number_of(database, Account) == before + 1
    assert full.taken() == 26


def test_the_last_seat_goes_to_one_of_those_who_take_an_invitation_up_at_once(database: Database) -> None:
    house = House(database, 1)
    invited = [(account, house.invite(account.email)) for account in (house.stranger() for _ in range(4))]

    def take_up(each: tuple[Account, str]) -> bool:
        try:
            house.join("password", *each)
        except PaymentRequired:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(take_up, invited)).count(True) == 1
    assert house.taken() == 25


def test_somebody_who_is_changed_while_they_are_removed_keeps_nobody_waiting(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both lock the seats, then the member."""
    house = House(database, 2)
    account = house.stranger()
    house.member(account, "active", "admin")
    keep, removing = memberships.keep_a_manager, threading.Event()

    def slowly(ctx: Any, without: UUID) -> None:
        removing.set()
        time.sleep(0.5)
        keep(ctx, without)

    monkeypatch.setattr(memberships, "keep_a_manager", slowly)

    def remove() -> None:
        with house.inside() as ctx:
            members.remove(ctx, account.id)

    def change() -> None:
        assert removing.wait(20)
        with house.inside() as ctx:
            members.change(ctx, account.id, name="Ada King")

    with ThreadPoolExecutor(2) as pool:
        removed, changed = pool.submit(remove), pool.submit(change)
        assert removed.exception() is None
        assert isinstance(changed.exception(), Forbidden | Conflict)
    assert house.status(account) == "deleted"


def test_an_invitation_is_used_once_by_who_joins_twice_at_once(database: Database) -> None:
    house = House(database, 2)
    account = house.stranger()
    token = house.invite(account.email)

    def act(_: int) -> bool:
        try:
            house.join("page", account, token)
        except (InviteRefused, Gone):
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(act, range(4))).count(True) == 1
    with house.door() as ctx:
        found = invites.find(ctx, token)
        assert found is not None
        assert found.redemptions == 1


def test_who_is_invited_again_while_they_take_it_up_keeps_nobody_waiting(database: Database) -> None:
    """Both lock the seats, then the invitation."""
    house = House(database, 4)
    for _ in range(4):
        account = house.stranger()
        with house.inside() as ctx:
            token = members.invite(ctx, account.email).link.partition("#")[2]

        def act(number: int, account: Account = account, token: str = token) -> str | None:
            try:
                if number:
                    house.join("password", account, token)
                else:
                    with house.inside() as ctx:
                        members.invite(ctx, account.email)
            except Exception as problem:
                return type(problem).__name__
            return None

        with ThreadPoolExecutor(2) as pool:
            assert set(pool.map(act, range(2))) <= {None, "InviteRefused", "Conflict"}
