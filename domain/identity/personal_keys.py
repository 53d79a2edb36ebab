"""API keys that act as a person: made and revoked by that person, in a session."""

from __future__ import annotations

from datetime import timedelta
from uuid import UUID

from domain.identity import frames, keys, memberships
from domain.identity.models import ApiKey
from domain.kernel.context import Ctx
from domain.kernel.errors import Unprocessable
from domain.kernel.pages import OffsetPage, Page

KIND = "beeflow"
MOST = 25
SHOWN = timedelta(days=90)
"""How long a revoked key stays in the list."""


def listed(ctx: Ctx, page: OffsetPage) -> Page[ApiKey]:
    """The caller's own keys, the latest first."""
    owner = memberships.caller_id(ctx)
    return keys.list_api_keys(ctx, page, kind=KIND, account_id=owner, over_after=ctx.now() - SHOWN)


def create(ctx: Ctx, name: str, scope: str) -> tuple[ApiKey, str]:
    """A key and its plain text, this once. `scope`: `full` or `read-only`.

    Raises `Forbidden` without a session, `Conflict` for a name that is taken, `TooManyKeys`, `Unprocessable` for a
    name of nothing.
    """
    owner = frames.own_session(ctx).account_id
    if not name.strip():
        raise Unprocessable("The name is empty.", reason="name_empty")
    return keys.issue_api_key(ctx, name, [scope], KIND, account_id=owner, most=MOST, unique_name=True)


def revoke(ctx: Ctx, key_id: UUID) -> ApiKey:
    """Revoke one of the caller's keys; again is harmless. Raises `Forbidden` without a session, `NotFound`."""
    owner = frames.own_session(ctx).account_id
    return keys.revoke_api_key(ctx, key_id, kind=KIND, account_id=owner)
