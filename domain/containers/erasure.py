"""A person's containers, when their account is erased: they end by their own clock, the name goes now."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import update

from domain.containers.models import Container
from domain.kernel.context import Ctx


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Nothing in the context's organisation says any more whose container it was."""
    ctx.session.execute(
        update(Container)
        .where(Container.created_by == account_id)
        .values(created_by=None)
        .execution_options(synchronize_session=False)
    )
