"""Sessions for frames in other sites: made from a session, bound to the origin of the page, gone with their parent."""

from __future__ import annotations

from sqlalchemy import select

from domain import audit
from domain.identity import memberships, organisation_settings, rules, sessions
from domain.identity.models import ConnectorInstance, UserSession
from domain.identity.policies import FRAME
from domain.identity.sessions import SignedIn
from domain.kernel.context import Ctx, UserActor
from domain.kernel.errors import Forbidden

METHOD = "frame"


def own_session(ctx: Ctx) -> UserSession:
    """The session of a person who has signed in. Raises `Forbidden` (fact `reason`: `no_session`) for keys, and for
    tokens that were made from a session: those give away nothing that outlives them."""
    actor = ctx.actor
    found = None
    if isinstance(actor, UserActor) and actor.session_id is not None:
        found = ctx.session.get(UserSession, actor.session_id)
    if found is None or found.parent_id is not None:
        raise Forbidden("This needs a session: sign in with an account.", reason="no_session")
    return found


def issue(ctx: Ctx, origin: str) -> SignedIn:
    """A session for a frame in a page of `origin`, for an hour at most.

    Raises `Forbidden` (fact `reason`): `no_session`, or `origin_not_allowed`.
    """
    parent = own_session(ctx)
    wanted = rules.origin_of(origin)
    if wanted is None or wanted not in allowed_origins(ctx):
        raise Forbidden("The organisation does not allow frames in pages of this origin.", reason="origin_not_allowed")
    account = memberships.caller(ctx)
    signed_in = sessions.open_session(
        ctx,
        account,
        memberships.current(ctx),
        surface=parent.surface,
        method=METHOD,
        parent=parent,
        origin=wanted,
        life=FRAME,
    )
    audit.record(
        ctx,
        "session.token_issue",
        resource_type="session",
        resource_id=signed_in.session.id,
        details={"origin": wanted, "parent": str(parent.id)},
    )
    return signed_in


def allowed_origins(ctx: Ctx) -> frozenset[str]:
    """Origins whose pages may hold a frame: those of the settings, and those of the organisation's Nextclouds."""
    instances = ctx.session.scalars(
        select(ConnectorInstance.base_url).where(
            ConnectorInstance.organisation_id == ctx.organisation, ConnectorInstance.revoked_at.is_(None)
        )
    )
    given = [*organisation_settings.get(ctx).embed_origins, *instances]
    return frozenset(found for text in given if (found := rules.origin_of(text)) is not None)
