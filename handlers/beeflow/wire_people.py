"""People, where something of theirs is shown: asked for once a list."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING
from uuid import UUID

from domain.identity import accounts
from handlers.beeflow.wire_identity import reference

if TYPE_CHECKING:
    from domain.identity import Account
    from domain.kernel.context import Ctx
    from generated.beeflow import responses

Known = Mapping[UUID, "Account"]

FORMER = "Former member"


def among(ctx: Ctx, account_ids: Iterable[UUID | None]) -> Known:
    """Those of them whose accounts there are."""
    return accounts.get_many(ctx, {each for each in account_ids if each is not None})


def person(ctx: Ctx, account_id: UUID | None, known: Known | None = None) -> responses.UserReference:
    """Whoever it was, out of `known` where a list has asked before; a former member where the account is gone."""
    found = (among(ctx, [account_id]) if known is None else known).get(account_id or ctx.organisation)
    if found is not None:
        return reference(found)
    return {"id": str(account_id or ctx.organisation), "displayName": FORMER, "avatarUrl": None}
