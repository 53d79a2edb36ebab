"""A person's conversations, when their account is erased."""

from __future__ import annotations

from uuid import UUID

from domain.conversations import attachments, history
from domain.kernel.context import Ctx
from domain.storage.erasure import delete_of


def erase_person(ctx: Ctx, account_id: UUID) -> int:
    """Erase the person's conversations in the context's organisation, with pictures and files that were handed in for
    an answer, and take their name from the guardrail log; how many conversations."""
    delete_of(ctx, account_id, [attachments.PURPOSE])
    return history.erase_person(ctx, account_id)
