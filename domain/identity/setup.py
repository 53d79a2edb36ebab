"""Setting the server up: the first organisation and its administrator, once.

The setup token is derived from the platform's secret keys: every process prints the same, nothing is stored, and only
who reads the server's own output knows it.
"""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert

from domain.identity import accounts, memberships, organisations, passwords, sessions
from domain.identity.models import Organisation, ServerSetup
from domain.identity.policies import policy_of
from domain.identity.sessions import SignedIn
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.db import across_organisations
from domain.kernel.errors import Forbidden, Invalid

SURFACE = "beeflow"
NAME = "My organisation"
PREFIX = "bfs_"

_token_needed = False


class AlreadySetUp(Invalid):
    """Setting up works once."""

    reason = "already_set_up"
    default = "This server is set up already: sign in."


class WrongSetupToken(Forbidden):
    """The token is missing, or is not the one that the server printed."""

    reason = "setup_token_wrong"
    default = "The setup token is not right: the server printed it when it started."


def configure(*, token_needed: bool) -> None:
    """Give this process the operator's choice (setting `guard_setup`)."""
    global _token_needed
    _token_needed = token_needed


def token_needed() -> bool:
    return _token_needed


def token() -> str:
    """What the server prints while it waits for its setup."""
    return _tokens()[0]


def is_done(ctx: Ctx) -> bool:
    """Whether the server was set up, by anybody, ever."""
    return ctx.session.scalar(select(ServerSetup.done)) is not None


def home(ctx: Ctx) -> UUID | None:
    """The organisation that the server was set up with; None before that, or when it is gone."""
    with across_organisations(ctx) as wide:
        return wide.session.scalar(
            select(Organisation.id)
            .join(ServerSetup, ServerSetup.organisation_id == Organisation.id)
            .where(Organisation.deleted_at.is_(None))
        )


def set_up(
    ctx: Ctx,
    *,
    email: str,
    password: str,
    name: str | None = None,
    organisation_name: str | None = None,
    language: str | None = None,
    setup_token: str | None = None,
) -> SignedIn:
    """Make the first organisation and its owner, and sign them in. Of several at once, one succeeds.

    Raises `AlreadySetUp`, `WrongSetupToken`, `WeakPassword`, or `EmailTaken` for the address of an account that there
    is already.
    """
    if is_done(ctx):
        raise AlreadySetUp
    if _token_needed and not any(crypto.same(setup_token or "", known) for known in _tokens()):
        raise WrongSetupToken
    policy = policy_of(SURFACE)
    passwords.check(ctx, policy.password, password, None, (email, name or ""))
    claimed = insert(ServerSetup).values(done=True, created_at=ctx.now()).on_conflict_do_nothing()
    if ctx.session.scalar(claimed.returning(ServerSetup.done)) is None:
        raise AlreadySetUp  # another one was first, and has committed
    account = accounts.make(
        ctx, email=email, name=name or email[:200], source="setup", password=password, language=language
    )
    called = organisation_name or NAME
    organisation_id = accounts.give_own_organisation(
        ctx, account, name=called, slug=organisations.free_slug(ctx, called)
    )
    row = ctx.session.scalars(select(ServerSetup)).one()
    row.organisation_id = organisation_id
    accounts.send_verification(ctx, account, policy)
    belonging = memberships.organisations_of(ctx, account.id)[0]
    return sessions.open_session(ctx, account, belonging, surface=SURFACE, method="password")


def _tokens() -> list[str]:
    return [PREFIX + key.hex()[:40] for key in crypto.ring().derived("setup-token")]
