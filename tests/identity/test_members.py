"""The people of an organisation: invited, changed, locked out, removed and brought back."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from domain import audit, billing, identity
from domain.identity import groups, members, memberships, newcomers, personal_keys, sessions
from domain.identity.accounts import EmailTaken
from domain.identity.invites import InviteRefused
from domain.identity.models import Membership
from domain.identity.sessions import SignInRefused
from domain.kernel.errors import Conflict, Forbidden, Gone, NotFound, PaymentRequired, Unauthenticated
from domain.kernel.pages import OffsetPage

PASSWORD = "Staple-orbit-lantern-42"


@pytest.fixture
def owner(people: Any) -> Any:
    """The owner of an organisation on the largest tier, signed in."""
    return founder(people)


def founder(people: Any, plan: str = "full") -> Any:
    email = people.email()
    with people.context("beeflow") as ctx:
        account = identity.accounts.make(ctx, email=email, name="Ada Lovelace", source="signup", password=PASSWORD)
        identity.accounts.give_own_organisation(ctx, account, name=f"Engines {uuid4().hex}")
    signed_in = people.sign_in(email, "beeflow")
    with people.as_person(signed_in) as ctx:
        billing.subscribe(ctx, plan, "beeflow")
    return signed_in


def invite(people: Any, by: Any, email: str | None = None, **wishes: Any) -> Any:
    with people.as_person(by) as ctx:
        return members.invite(ctx, email or people.email(), **wishes)


def join(people: Any, by: Any, **wishes: Any) -> Any:
    """Somebody who was invited and came."""
    invited = invite(people, by, **wishes)
    email = invited.member.account.email
    with people.context("beeflow") as ctx:
        made = newcomers.sign_up(
            ctx,
            email=email,
            password=PASSWORD,
            name="Grace Hopper",
            invite_token=invited.link.partition("#")[2],
        )
    return made.signed_in


@pytest.fixture
def colleague(people: Any, owner: Any) -> Any:
    return join(people, owner)


def state(people: Any, owner: Any, account_id: Any) -> tuple[str, str]:
    with people.as_person(owner) as ctx:
        found = memberships.get(ctx, account_id)
        return found.status, found.role


def is_alive(people: Any, signed_in: Any) -> bool:
    try:
        sessions.verify_access_token(people.database, signed_in.access_token, "beeflow")
    except Unauthenticated:
        return False
    return True


# --- inviting --------------------------------------------------------------------------------------------------


def test_an_invitation_lets_in_once_with_its_role_and_its_groups(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        group = groups.create(ctx, "Legal").group
    invited = invite(people, owner, surface_role="admin", group_ids=[group.id], message="Welcome aboard!")
    email = invited.member.account.email
    assert (invited.member.membership.status, [g.name for g in invited.member.groups]) == ("invited", ["Legal"])
    template, facts = people.mails(email)[-1]
    assert (template, facts["message"], facts["link"]) == ("member_invite", "Welcome aboard!", invited.link)
    token = people.token(email, "member_invite")
    with people.context("beeflow") as ctx:
        shown = newcomers.look(ctx, token)
    assert (shown.email, shown.account_exists, shown.role) == (email, False, "admin")
    with people.context("beeflow") as ctx:
        made = newcomers.sign_up(ctx, email=email, password=PASSWORD, name="Grace Hopper", invite_token=token)
    assert made.account.id == invited.member.account.id
    assert made.signed_in is not None
    assert made.signed_in.belonging.organisation_id == owner.belonging.organisation_id
    assert state(people, owner, made.account.id) == ("active", "admin")
    with pytest.raises(Gone), people.context("beeflow") as ctx:
        newcomers.look(ctx, token)
    with pytest.raises(InviteRefused), people.context("beeflow") as ctx:
        newcomers.sign_up(ctx, email=email, password=PASSWORD, name="Mallory", invite_token=token)


def test_an_invitation_is_for_its_address_and_fourteen_days(people: Any, owner: Any) -> None:
    invited = invite(people, owner)
    token = invited.link.partition("#")[2]
    with pytest.raises(InviteRefused) as refused, people.context("beeflow") as ctx:
        newcomers.sign_up(ctx, email=people.email(), password=PASSWORD, name="Mallory", invite_token=token)
    assert refused.value.facts["reason"] == "invite_mismatch"
    people.clock.advance(timedelta(days=14, minutes=1))
    with pytest.raises(InviteRefused) as late, people.context("beeflow") as ctx:
        newcomers.sign_up(ctx, email=invited.member.account.email, password=PASSWORD, name="Grace", invite_token=token)
    assert late.value.facts["reason"] == "invite_expired"


def test_inviting_again_ends_the_first_link(people: Any, owner: Any) -> None:
    first = invite(people, owner)
    email = first.member.account.email
    second = invite(people, owner, email.upper())
    assert first.member.account.id == second.member.account.id
    with pytest.raises(Gone), people.context("beeflow") as ctx:
        newcomers.look(ctx, first.link.partition("#")[2])
    with people.context("beeflow") as ctx:
        assert newcomers.look(ctx, second.link.partition("#")[2]).email == email


def test_somebody_with_an_account_takes_the_invitation_up_by_signing_in_with_it(people: Any, owner: Any) -> None:
    email = people.register("thallus")
    invited = invite(people, owner, email)
    token = invited.link.partition("#")[2]
    with people.context("beeflow") as ctx:
        assert newcomers.look(ctx, token).account_exists
    with pytest.raises(EmailTaken), people.context("beeflow") as ctx:
        newcomers.sign_up(ctx, email=email, password=PASSWORD, name="Ada", invite_token=token)
    plain = people.sign_in(email, "beeflow")
    assert plain.belonging.organisation_id != owner.belonging.organisation_id  # without the token nothing is taken up
    signed_in = people.sign_in(email, "beeflow", invite_token=token)
    assert signed_in.belonging.organisation_id == owner.belonging.organisation_id
    assert state(people, owner, signed_in.account.id) == ("active", "member")


def test_an_invitation_proves_no_address(people: Any, owner: Any) -> None:
    """Whoever invites sees the link too: what is made with it is verified by a mail to the address alone."""
    assert join(people, owner).account.email_verified_at is None


def test_a_member_is_not_invited_again(people: Any, owner: Any, colleague: Any) -> None:
    with pytest.raises(Conflict) as refused:
        invite(people, owner, colleague.account.email)
    assert refused.value.facts["reason"] == "already_active"


def test_seats_are_the_tiers(people: Any) -> None:
    owner = founder(people, "community")
    with pytest.raises(PaymentRequired):
        invite(people, owner)


def test_the_last_seat_goes_to_one(people: Any, owner: Any) -> None:
    with people.as_person(owner) as ctx:
        billing.subscribe(ctx, "pro", "beeflow")
    for _ in range(23):
        invite(people, owner)

    def attempt(_: int) -> bool:
        try:
            invite(people, owner)
        except PaymentRequired:
            return False
        return True

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(attempt, range(4))).count(True) == 1


def test_nobody_gives_a_role_that_is_not_below_their_own(people: Any, owner: Any) -> None:
    admin = join(people, owner, surface_role="admin")
    with pytest.raises(Forbidden):
        invite(people, admin, surface_role="admin")
    assert invite(people, admin, surface_role="user").member.membership.role == "member"


def test_groups_that_there_are_not_cannot_be_joined(people: Any, owner: Any) -> None:
    with pytest.raises(groups.UnknownGroup):
        invite(people, owner, group_ids=[uuid4()])


# --- changing --------------------------------------------------------------------------------------------------


def change(people: Any, by: Any, who: Any, **wishes: Any) -> Any:
    with people.as_person(by) as ctx:
        return members.change(ctx, who.account.id, **wishes)


def test_disabling_ends_sessions_and_stops_keys_and_enabling_undoes_that(
    people: Any, owner: Any, colleague: Any
) -> None:
    with people.as_person(colleague) as ctx:
        _, key = personal_keys.create(ctx, "Script", "full")
    identity.verify_api_key(people.database, key, "beeflow")
    change(people, owner, colleague, status="disabled")
    assert not is_alive(people, colleague)
    with pytest.raises(Unauthenticated):
        identity.verify_api_key(people.database, key, "beeflow")
    with pytest.raises(SignInRefused) as refused:
        people.sign_in(colleague.account.email, "beeflow")
    assert refused.value.facts["reason"] == "account_disabled"
    change(people, owner, colleague, status="active")
    assert not is_alive(people, colleague)  # a session that was ended stays so
    identity.verify_api_key(people.database, key, "beeflow")
    assert is_alive(people, people.sign_in(colleague.account.email, "beeflow"))


def test_the_last_administrator_stays_one(people: Any, owner: Any, colleague: Any) -> None:
    with pytest.raises(Conflict) as refused:
        change(people, owner, owner, surface_role="user")
    assert refused.value.facts["reason"] == "sole_admin"
    change(people, owner, colleague, surface_role="admin")
    change(people, owner, owner, surface_role="user")
    assert state(people, colleague, owner.account.id) == ("active", "member")


def test_nobody_raises_locks_out_or_deletes_themselves(people: Any, owner: Any) -> None:
    admin = join(people, owner, surface_role="admin")
    member = join(people, owner)
    with pytest.raises(Forbidden):
        change(people, member, member, surface_role="admin")
    with pytest.raises(Conflict):
        change(people, admin, admin, status="disabled")
    with pytest.raises(Conflict), people.as_person(admin) as ctx:
        members.remove(ctx, admin.account.id)


def test_an_administrator_changes_neither_the_owner_nor_another_administrator(people: Any, owner: Any) -> None:
    admin, other = join(people, owner, surface_role="admin"), join(people, owner, surface_role="admin")
    for who in (owner, other):
        for wish in ({"status": "disabled"}, {"surface_role": "user"}, {"name": "Mallory"}):
            with pytest.raises(Forbidden):
                change(people, admin, who, **wish)
        with pytest.raises(Forbidden), people.as_person(admin) as ctx:
            members.remove(ctx, who.account.id)
    change(people, owner, admin, surface_role="user")


def test_two_administrators_cannot_lower_each_other_at_the_same_moment(people: Any, owner: Any) -> None:
    other = join(people, owner, surface_role="admin")
    with people.database.session(owner.belonging.organisation_id) as session:
        session.query(Membership).filter(Membership.account_id == other.account.id).update({"role": "owner"})

    def attempt(pair: tuple[Any, Any]) -> bool:
        try:
            change(people, *pair, surface_role="user")
        except (Conflict, Forbidden):
            return False
        return True

    with ThreadPoolExecutor(2) as pool:
        assert list(pool.map(attempt, [(owner, other), (other, owner)])).count(True) == 1


def test_the_name_of_somebody_who_belongs_elsewhere_too_is_their_own(people: Any, owner: Any) -> None:
    email = people.register("thallus")
    invited = invite(people, owner, email)
    guest = people.sign_in(email, "beeflow", invite_token=invited.link.partition("#")[2])
    with pytest.raises(Forbidden) as refused:
        change(people, owner, guest, name="Not Me")
    assert refused.value.facts["reason"] == "shared_account"
    assert change(people, owner, guest, surface_role="admin").membership.role == "admin"


def test_what_nextcloud_keeps_is_changed_there(people: Any, owner: Any, colleague: Any) -> None:
    with people.database.session(owner.belonging.organisation_id) as session:
        session.query(Membership).filter(Membership.account_id == colleague.account.id).update({"external_id": "grace"})
    with pytest.raises(groups.KeptByNextcloud):
        change(people, owner, colleague, name="Grace B. Hopper")
    assert change(people, owner, colleague, language="nl").account.language == "nl"


def test_an_invited_user_cannot_be_made_active_by_others(people: Any, owner: Any) -> None:
    invited = invite(people, owner)
    with pytest.raises(Conflict) as refused, people.as_person(owner) as ctx:
        members.change(ctx, invited.member.account.id, status="active")
    assert refused.value.facts["reason"] == "not_joined"


# --- deleting ----------------------------------------------------------------------------------------------------


def test_deleting_ends_sessions_revokes_keys_and_frees_the_seat(people: Any, owner: Any, colleague: Any) -> None:
    with people.as_person(colleague) as ctx:
        _, key = personal_keys.create(ctx, "Script", "full")
    with people.as_person(owner) as ctx:
        before = memberships.active_count(ctx)
        members.remove(ctx, colleague.account.id)
        assert memberships.active_count(ctx) == before - 1
    assert not is_alive(people, colleague)
    with people.as_person(owner) as ctx:
        assert colleague.account.id not in [m.account.id for m in members.listed(ctx, OffsetPage()).items]
        gone = members.listed(ctx, OffsetPage(), status="deleted").items
        assert [m.account.id for m in gone] == [colleague.account.id]
        members.change(ctx, colleague.account.id, status="active")
    with pytest.raises(Unauthenticated):  # brought back or not, a revoked key stays revoked
        identity.verify_api_key(people.database, key, "beeflow")
    assert is_alive(people, people.sign_in(colleague.account.email, "beeflow"))


def test_after_thirty_days_nobody_is_brought_back(people: Any, owner: Any, colleague: Any) -> None:
    with people.as_person(owner) as ctx:
        members.remove(ctx, colleague.account.id)
    people.clock.advance(timedelta(days=30, minutes=1))
    with pytest.raises(NotFound):
        change(people, owner, colleague, status="active")
    with people.as_person(owner) as ctx:
        assert members.listed(ctx, OffsetPage(), status="deleted").items == []


def test_bringing_back_needs_a_seat(people: Any, owner: Any, colleague: Any) -> None:
    with people.as_person(owner) as ctx:
        members.remove(ctx, colleague.account.id)
        billing.subscribe(ctx, "community", "beeflow")
    with pytest.raises(PaymentRequired):
        change(people, owner, colleague, status="active")


def test_taking_an_invitation_back_ends_its_link(people: Any, owner: Any) -> None:
    invited = invite(people, owner)
    with people.as_person(owner) as ctx:
        members.remove(ctx, invited.member.account.id)
    with pytest.raises(Gone), people.context("beeflow") as ctx:
        newcomers.look(ctx, invited.link.partition("#")[2])


# --- listing, and the walls between organisations --------------------------------------------------------------------


def test_the_list_is_by_name_and_answers_its_filters(people: Any, owner: Any, colleague: Any) -> None:
    with people.as_person(owner) as ctx:
        group = groups.create(ctx, "Legal", member_ids=[colleague.account.id]).group

    def found(**wishes: Any) -> list[str]:
        with people.as_person(owner) as ctx:
            return [m.account.name for m in members.listed(ctx, OffsetPage(), **wishes).items]

    assert found() == ["Ada Lovelace", "Grace Hopper"]
    assert found(q="GRACE") == ["Grace Hopper"]
    assert found(q="100%_") == []
    assert found(surface_role="admin") == ["Ada Lovelace"]
    assert found(status="disabled") == []
    assert found(group_id=group.id) == ["Grace Hopper"]
    with people.as_person(owner) as ctx:
        page = members.listed(ctx, OffsetPage(1, 1))
        assert ([m.account.name for m in page.items], page.total) == (["Grace Hopper"], 2)
        assert page.items[0].seen_at is not None


@pytest.mark.parametrize(
    "act",
    [
        lambda ctx, who: members.change(ctx, who, status="disabled"),
        lambda ctx, who: members.remove(ctx, who),
        lambda ctx, who: members.get(ctx, who),
    ],
)
def test_another_organisations_people_are_not_there(
    people: Any, owner: Any, colleague: Any, act: Callable[[Any, Any], Any]
) -> None:
    stranger = founder(people)
    with pytest.raises(NotFound), people.as_person(stranger) as ctx:
        act(ctx, colleague.account.id)
    assert state(people, owner, colleague.account.id) == ("active", "member")


def test_every_act_is_in_the_trail(people: Any, owner: Any, colleague: Any) -> None:
    change(people, owner, colleague, status="disabled")
    with people.as_person(owner) as ctx:
        members.remove(ctx, colleague.account.id)
    with people.as_person(owner) as ctx:
        actions = [entry.action for entry in audit.find(ctx).items]
    assert {"user.invite", "user.create", "user.update", "user.delete"} <= {*actions}
