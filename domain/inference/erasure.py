"""A person's model settings, when their account is erased: keys, addresses, and what was tried with them."""

from __future__ import annotations

from uuid import UUID

from sqlalchemy import delete

from domain.inference.models import ModelSetting, ModelTrial
from domain.kernel.context import Ctx


def erase_person(ctx: Ctx, account_id: UUID) -> None:
    """Leave nothing of the person's own models in the context's organisation."""
    for table in (ModelTrial, ModelSetting):
        ctx.session.execute(
            delete(table).where(table.user_id == account_id).execution_options(synchronize_session=False)
        )
