"""What may be seen once only: captcha solutions, nonces of signed payloads, SAML assertions, request signatures."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy.dialects.postgresql import insert

from domain.identity.models import SpentNonce
from domain.kernel import crypto
from domain.kernel.context import Ctx


def spend(ctx: Ctx, purpose: str, value: str, expires_at: datetime) -> bool:
    """True the first time `value` is seen for `purpose`, False ever after, in every process.

    It is kept until `expires_at`, when whatever carries it is refused for its age. It is spent with the transaction: a
    verb that refuses afterwards, and wants it spent all the same, raises its error `keeping()`.
    """
    values = {"digest": crypto.digest(f"{purpose}\x00{value}"), "purpose": purpose, "expires_at": expires_at}
    statement = insert(SpentNonce).values(**values).on_conflict_do_nothing().returning(SpentNonce.purpose)
    return ctx.session.scalar(statement) is not None
