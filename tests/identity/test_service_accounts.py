"""Service accounts: issued against the vault's signature or from the console, traded, listed, revoked."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from sqlalchemy import select

from domain import audit, identity
from domain.identity import operators, roles, service_accounts, sessions, vault
from domain.identity.models import ServiceToken
from domain.identity.operators import Standing
from domain.identity.service_accounts import Wish
from domain.identity.vault import VaultRefused
from domain.kernel import crypto
from domain.kernel.context import SystemActor, UserActor
from domain.kernel.errors import Forbidden, Invalid, NotFound, Unauthenticated, Unavailable
from domain.kernel.ids import new_id
from domain.kernel.pages import OffsetPage

SECRET = "the-secret-that-this-test-shares-with-a-vault"
READ = frozenset({"conversations:read"})
ADMINISTRATOR = Standing(operator=False, reason=None)
OPERATOR = Standing(operator=True, reason="Ticket 4711: the host is gone")


@pytest.fixture(autouse=True)
def keys() -> Iterator[Ed25519PrivateKey]:
    """The vault has two keys, of both kinds: one is being rotated."""
    private = Ed25519PrivateKey.generate()
    public = base64.b64encode(private.public_key().public_bytes_raw()).decode()
    vault.configure([f"hmac:{SECRET}", f"ed25519:{public}"], production=True)
    yield private
    vault.configure([], production=True)


@pytest.fixture
def tenant(people: Any) -> UUID:
    signed_in = people.sign_in(people.register("starter"), "starter")
    organisation_id: UUID = signed_in.belonging.organisation_id
    return organisation_id


def payload_of(people: Any, **claims: Any) -> str:
    now = int(people.clock.now().timestamp())
    content = {
        "iss": "vault.example",
        "aud": ["auth-service"],
        "sub": "deploy",
        "nonce": new_id().hex,
        "iat": now,
        "exp": now + 300,
        "account": "analytics-batch",
        "scopes": sorted(READ),
    } | claims
    kept = {name: value for name, value in content.items() if value is not ...}
    return base64.urlsafe_b64encode(json.dumps(kept).encode()).decode().rstrip("=")


def proof_of(payload: str) -> str:
    made = hmac.digest(SECRET.encode(), payload.encode(), hashlib.sha256)
    return f"vault:v1:{base64.b64encode(made).decode()}"


def issue(people: Any, wish: Wish, payload: str | None = None, proof: str | None = None) -> tuple[ServiceToken, str]:
    payload = payload or payload_of(people, account=wish.account, scopes=sorted(wish.scopes))
    with people.context("starter") as ctx:
        return service_accounts.issue_to_machine(ctx, wish, proof or proof_of(payload), payload)


# --- the vault ---------------------------------------------------------------------------------------------


def test_a_signed_payload_gets_a_token_which_is_traded_for_access_and_stays_as_it_is(people: Any, tenant: UUID) -> None:
    token, plain = issue(people, Wish("analytics-batch", READ, tenant, fingerprint="batch-host-7"))
    assert token.expires_at == people.clock.now() + timedelta(days=30)
    for _ in range(2):
        with people.context("starter") as ctx:
            made = service_accounts.exchange(ctx, plain)
        known = sessions.verify_access_token(people.database, made.access_token, "starter")
        assert isinstance(known, service_accounts.VerifiedService)
        assert (known.account, known.organisation_id, known.permissions) == ("analytics-batch", tenant, READ)
        assert known.claims.raw["sub"] == "service-account:analytics-batch"
    with people.database.context(SystemActor(), tenant) as ctx:
        entries = audit.find(ctx).items
        issued = next(entry for entry in entries if entry.action == "service_account.token_issue")
        assert (issued.actor_kind, issued.actor_id) == ("service_account", "analytics-batch")
        assert [entry.action for entry in entries].count("session.refresh") == 2


def test_a_token_of_a_service_account_is_taken_on_its_own_surface_alone(people: Any, tenant: UUID) -> None:
    _, plain = issue(people, Wish("billing-worker", frozenset({"billing:manage"}), tenant))
    with people.context("starter") as ctx:
        access = service_accounts.exchange(ctx, plain).access_token
    for surface in ("thalian", "thallus", "beeflow"):
        with pytest.raises(Unauthenticated):
            sessions.verify_access_token(people.database, access, surface)


def test_an_ed25519_signature_is_taken_and_one_of_another_key_is_not(
    people: Any, tenant: UUID, keys: Ed25519PrivateKey
) -> None:
    payload = payload_of(people)
    good = base64.b64encode(keys.sign(payload.encode())).decode()
    foreign = base64.b64encode(Ed25519PrivateKey.generate().sign(payload.encode())).decode()
    wish = Wish("analytics-batch", READ, tenant)
    with pytest.raises(VaultRefused):
        issue(people, wish, payload, f"vault:v1:{foreign}")
    issue(people, wish, payload, f"vault:{good}")


@pytest.mark.parametrize(
    "claims",
    [
        {"aud": ["somebody-else"]},
        {"aud": ...},
        {"iss": ...},
        {"nonce": ""},
        {"nonce": ...},
        {"sub": 7},
        {"iat": ...},
        {"iat": True},
        {"iat": 10**30},
        {"exp": 1},
        {"exp": ...},
        {"account": ...},
        {"scopes": "conversations:read"},
        {"scopes": [1]},
    ],
    ids=str,
)
def test_a_payload_that_lacks_or_twists_a_claim_is_refused(people: Any, tenant: UUID, claims: dict[str, Any]) -> None:
    with pytest.raises(VaultRefused):
        issue(people, Wish("analytics-batch", READ, tenant), payload_of(people, **claims))


@pytest.mark.parametrize(("shift", "good"), [(-599, True), (-600, False), (29, True), (31, False)])
def test_a_payload_is_good_for_ten_minutes_and_not_from_the_future(
    people: Any, tenant: UUID, shift: int, good: bool
) -> None:
    issued = int(people.clock.now().timestamp()) + shift + (1 if shift == -599 else 0)
    payload = payload_of(people, iat=issued, exp=issued + 3600)
    if good:
        issue(people, Wish("analytics-batch", READ, tenant), payload)
    else:
        with pytest.raises(VaultRefused):
            issue(people, Wish("analytics-batch", READ, tenant), payload)


def test_a_payload_works_once_even_with_another_body(people: Any, tenant: UUID) -> None:
    payload = payload_of(people)
    wish = Wish("analytics-batch", READ, tenant)
    issue(people, wish, payload)
    with pytest.raises(VaultRefused):
        issue(people, wish, payload)
    again = payload_of(people, nonce=json.loads(base64.urlsafe_b64decode(payload + "=="))["nonce"], sub="another")
    with pytest.raises(VaultRefused):
        issue(people, wish, again)


def test_what_is_no_signature_at_all_is_refused(people: Any, tenant: UUID) -> None:
    payload = payload_of(people)
    for proof in ("", "dev-local", "vault:", "vault:v1:AAAA", f"vault:{'A' * 43}=", proof_of(payload + "A"), "x" * 500):
        with pytest.raises(VaultRefused):
            issue(people, Wish("analytics-batch", READ, tenant), payload, proof or "none")
    with pytest.raises(VaultRefused), people.context("starter") as ctx:
        service_accounts.issue_to_machine(ctx, Wish("analytics-batch", READ, tenant), proof_of(payload), None)


@pytest.mark.parametrize("text", ["bm90IGpzb24", "W10", "e30", "_w", "bnVsbA"])
def test_a_signed_payload_that_is_no_object_of_claims_is_refused(people: Any, tenant: UUID, text: str) -> None:
    with pytest.raises(VaultRefused):
        issue(people, Wish("analytics-batch", READ, tenant), text)


def test_a_payload_allows_what_it_says_and_nothing_else(people: Any, tenant: UUID) -> None:
    wider = Wish("synthetic-monitor", frozenset({"tools:read", "billing:read"}), tenant)
    narrow = payload_of(people, account="synthetic-monitor", scopes=["tools:read"])
    with pytest.raises(Invalid) as refused:
        issue(people, wider, narrow)
    assert refused.value.facts["reason"] == "vault_mismatch"


def test_without_a_vault_machines_get_no_tokens_and_dev_local_is_not_for_production(people: Any, tenant: UUID) -> None:
    vault.configure([], production=True)
    with pytest.raises(Unavailable):
        issue(people, Wish("analytics-batch", READ, tenant))
    with pytest.raises(ValueError, match="not for production"):
        vault.configure(["dev-local"], production=True)
    with pytest.raises(ValueError, match="32 bytes"):
        vault.configure(["ed25519:AAAA"], production=True)
    vault.configure(["dev-local"], production=False)
    issue(people, Wish("analytics-batch", READ, tenant), proof="dev-local")


# --- the catalogue -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("account", "scopes", "in_tenant"),
    [
        ("nobody", {"conversations:read"}, True),
        ("analytics-batch", {"conversations:write"}, True),
        ("analytics-batch", {"support:*"}, True),
        ("analytics-batch", {"conversations:read"}, False),
        ("support-console", {"support:*"}, True),
        ("demo-bot", {"conversations:read"}, True),
    ],
)
def test_the_catalogue_says_who_may_have_what_and_where(
    people: Any, tenant: UUID, account: str, scopes: set[str], in_tenant: bool
) -> None:
    with pytest.raises(Invalid):
        issue(people, Wish(account, frozenset(scopes), tenant if in_tenant else None))


def test_a_tenant_that_is_not_there_is_refused(people: Any) -> None:
    with pytest.raises(Invalid):
        issue(people, Wish("analytics-batch", READ, new_id()))


@pytest.mark.parametrize(("wanted", "lives"), [(None, 1440), (60, 60), (100_000, 1440)])
def test_a_token_lives_as_long_as_it_was_wished_and_its_account_allows(
    people: Any, tenant: UUID, wanted: int | None, lives: int
) -> None:
    life = None if wanted is None else timedelta(minutes=wanted)
    token, _ = issue(people, Wish("synthetic-monitor", frozenset({"tools:read"}), tenant, life=life))
    assert token.expires_at == people.clock.now() + timedelta(minutes=lives)


def test_the_same_wish_gets_the_same_token_and_its_plain_form_is_not_stored(people: Any, tenant: UUID) -> None:
    wish = Wish("analytics-batch", READ, tenant, fingerprint="host-1")
    first, plain = issue(people, wish)
    again, repeated = issue(people, wish)
    assert (again.id, repeated) == (first.id, plain)
    forced, other = issue(people, Wish("analytics-batch", READ, tenant, fingerprint="host-1", force=True))
    elsewhere, third = issue(people, Wish("analytics-batch", READ, tenant, fingerprint="host-2"))
    assert len({first.id, forced.id, elsewhere.id}) == len({plain, other, third}) == 3
    with people.database.session(None, platform=True) as session:
        row = session.scalars(select(ServiceToken).where(ServiceToken.id == first.id)).one()
        assert row.digest == crypto.digest(plain)
        assert plain not in repr(vars(row))


def test_a_token_whose_key_is_gone_from_the_ring_is_made_anew_and_the_old_one_still_works(
    people: Any, tenant: UUID
) -> None:
    wish = Wish("analytics-batch", READ, tenant, fingerprint="host-9")
    first, plain = issue(people, wish)
    before = crypto.ring()
    try:
        with people.context("starter") as ctx:
            identity.tokens.signing_kid(ctx)  # the signing key is known to the process before its seal cannot be opened
        crypto.use(crypto.KeyRing({"new": crypto.KeyRing.new_key()}))
        again, other = issue(people, wish)
        assert again.id != first.id
        assert other != plain
    finally:
        crypto.use(before)
    with people.context("starter") as ctx:
        assert service_accounts.exchange(ctx, plain).token.id == first.id


# --- from the console --------------------------------------------------------------------------------------


@pytest.fixture
def owner(people: Any) -> Callable[[], Any]:
    return lambda: people.sign_in(people.register("starter"), "starter")


def test_an_administrator_issues_in_their_own_tenant_and_for_accounts_of_tenants(people: Any, owner: Any) -> None:
    mine, other = owner(), owner()
    with people.as_person(mine) as ctx:
        token, _ = service_accounts.issue_from_browser(
            ctx, Wish("analytics-batch", READ, ctx.organisation), ADMINISTRATOR, "Nightly export"
        )
        assert (token.organisation_id, token.reason) == (ctx.organisation, "Nightly export")
    for wish in (
        Wish("analytics-batch", READ, other.belonging.organisation_id),
        Wish("support-console", frozenset({"support:*"})),
        Wish("demo-bot", READ),
    ):
        with pytest.raises(Forbidden), people.as_person(mine) as ctx:
            service_accounts.issue_from_browser(ctx, wish, ADMINISTRATOR, "Nightly export")


def test_acting_as_an_operator_needs_the_scope_and_a_reason(people: Any, owner: Any) -> None:
    mine = owner()
    with pytest.raises(Forbidden), people.as_person(mine) as ctx:
        operators.standing(ctx, override=True, reason="Because I can do it")
    with people.context(
        "starter",
        actor=UserActor(mine.account.id, mine.session.id),
        organisation_id=mine.belonging.organisation_id,
        permissions=roles.permissions_of("starter", "member", "support"),
    ) as ctx:
        with pytest.raises(Invalid):
            operators.standing(ctx, override=True, reason=None)
        assert operators.standing(ctx, override=True, reason=" Ticket 4711 ").reason == "Ticket 4711"


def test_a_member_is_no_administrator(people: Any, owner: Any) -> None:
    mine, email = owner(), people.email()
    with people.context("starter") as ctx:
        account = identity.accounts.make(
            ctx, email=email, name="Bob", source="invite", password="Staple-orbit-lantern-42", verified=True
        )
        identity.accounts.join(ctx, account, mine.belonging.organisation_id, "member", source="invite")
    with pytest.raises(Forbidden), people.as_person(people.sign_in(email, "starter")) as ctx:
        operators.standing(ctx, override=False, reason=None)


# --- listing, revoking -------------------------------------------------------------------------------------


def test_administrators_see_their_tenants_tokens_and_operators_those_of_all(people: Any, owner: Any) -> None:
    mine, other = owner(), owner()
    ids = [mine.belonging.organisation_id, other.belonging.organisation_id]
    made = [issue(people, Wish("analytics-batch", READ, one, fingerprint="lister"))[0].id for one in ids]
    apart, _ = issue(people, Wish("demo-bot", READ, None, fingerprint="lister"))

    def seen(standing: Standing, **wishes: Any) -> set[UUID]:
        with people.as_person(mine) as ctx:
            found = service_accounts.list_tokens(ctx, OffsetPage(100), standing, fingerprint="lister", **wishes)
            assert found.total == len(found.items)
            return {token.id for token in found.items}

    assert seen(ADMINISTRATOR) == {made[0]}
    assert seen(OPERATOR) >= {*made}
    assert apart.id not in seen(OPERATOR)
    assert seen(OPERATOR, organisation_id=ids[1]) == {made[1]}
    assert seen(OPERATOR, organisation_id=ids[1], include_global=True) >= {made[1], apart.id}
    for wishes in ({"organisation_id": ids[1]}, {"include_global": True}):
        with pytest.raises(Forbidden):
            seen(ADMINISTRATOR, **wishes)


def test_a_revoked_token_and_what_was_made_from_it_stop_at_once(people: Any, owner: Any) -> None:
    mine, other = owner(), owner()
    token, plain = issue(people, Wish("analytics-batch", READ, mine.belonging.organisation_id))
    with people.context("starter") as ctx:
        access = service_accounts.exchange(ctx, plain).access_token
    with pytest.raises(NotFound), people.as_person(other) as ctx:
        service_accounts.revoke_token(ctx, str(token.id), ADMINISTRATOR, None)
    for _ in range(2):
        with people.as_person(mine) as ctx:
            revoked = service_accounts.revoke_token(ctx, str(token.id), ADMINISTRATOR, None)
            assert revoked.revoked_reason == "tenant_admin_manual_revoke"
    with pytest.raises(Unauthenticated):
        sessions.verify_access_token(people.database, access, "starter")
    with pytest.raises(Unauthenticated), people.context("starter") as ctx:
        service_accounts.exchange(ctx, plain)
    with people.as_person(mine) as ctx:
        for status, expected in (("active", 0), ("revoked", 1), ("all", 1)):
            found = service_accounts.list_tokens(ctx, OffsetPage(10), ADMINISTRATOR, status=status)
            assert found.total == expected
        actions = [entry.action for entry in audit.find(ctx).items]
    assert actions.count("service_account.token_revoke") == 1


def test_a_token_ends_with_its_time_and_with_its_tenant(people: Any, owner: Any) -> None:
    mine = owner()
    token, plain = issue(people, Wish("synthetic-monitor", frozenset({"tools:read"}), mine.belonging.organisation_id))
    with people.as_person(mine) as ctx:
        identity.close_organisation(ctx)
    with pytest.raises(Unauthenticated), people.context("starter") as ctx:
        service_accounts.exchange(ctx, plain)
    other = owner()
    token, plain = issue(people, Wish("synthetic-monitor", frozenset({"tools:read"}), other.belonging.organisation_id))
    people.clock.advance(timedelta(days=1))
    with pytest.raises(Unauthenticated) as refused, people.context("starter") as ctx:
        service_accounts.exchange(ctx, plain)
    assert refused.value.facts["reason"] == "refresh_expired"
    assert token.expires_at <= people.clock.now()


def test_what_is_no_token_is_not_found(people: Any, owner: Any) -> None:
    for name in ("9f2c1d7e0b6a4f3e8d5c", str(new_id())):
        with pytest.raises(NotFound), people.as_person(owner()) as ctx:
            service_accounts.revoke_token(ctx, name, ADMINISTRATOR, None)


def test_support_holds_every_permission_of_the_surface(people: Any) -> None:
    _, plain = issue(people, Wish("support-console", frozenset({"support:*"}), None))
    with people.context("starter") as ctx:
        access = service_accounts.exchange(ctx, plain).access_token
    known = sessions.verify_access_token(people.database, access, "starter")
    assert {"auth:invites", "support:read", "conversations:delete", "support:*"} <= known.permissions
    assert roles.expanded("starter", {"billing:*"}) == {"billing:*", "billing:read", "billing:manage"}
    assert roles.expanded("starter", {"tools:read"}) == {"tools:read"}
