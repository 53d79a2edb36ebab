"""Invocations of a person, when their account is erased: the answers are the organisation's, the name goes."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import update

from domain.brains.models import Invocation
from domain.kernel.context import Ctx


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Nothing in the context's organisation says any more that this person has asked."""
    ctx.session.execute(
        update(Invocation)
        .where(Invocation.user_id == account_id)
        .values(user_id=None)
        .execution_options(synchronize_session=False)
    )
