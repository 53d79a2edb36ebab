"""Passwords: the rule of a surface, hashing at a measured pace, and not telling by time whether somebody exists."""

from __future__ import annotations

import os
import threading
import unicodedata
from uuid import UUID

from sqlalchemy import delete, select

from domain.identity.models import Account, PasswordHistory
from domain.identity.policies import PasswordRule
from domain.kernel import crypto
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid
from domain.kernel.ids import new_id

KEPT = 5
"""Former passwords that are remembered, for the surface that asks for most."""

_pace = threading.BoundedSemaphore(max(2, os.cpu_count() or 2))
# Hashing more at once than there are cores makes each slower and takes 19 MiB apiece: a flood of sign-ins waits here.

_nobody: str | None = None


class WeakPassword(Invalid):
    """A password that breaks the rule. Fact `broken`: a list of what is missing, as sentences."""

    reason = "weak_password"
    default = "The password is not strong enough."


def prepared(plain: str) -> str:
    """One form for one password, whichever keyboard it was typed on (RFC 8265: NFC, nothing trimmed or folded)."""
    return unicodedata.normalize("NFC", plain)


def generated() -> str:
    """A password that nobody has thought of, good by the rule of every surface."""
    return f"Aa1-{crypto.token()[:24]}"


def hashed(plain: str) -> str:
    """Argon2id of a password, at most one a core at a time."""
    with _pace:
        return crypto.hash_password(prepared(plain))


def matches(account: Account | None, plain: str) -> bool:
    """Whether this is the account's password. Takes as long for nobody, and for an account without a password."""
    stored = None if account is None else account.password_hash
    with _pace:
        return crypto.verify_password(stored or _dummy(), prepared(plain)) and stored is not None


def check(ctx: Ctx, rule: PasswordRule, plain: str, account: Account | None, known: tuple[str, ...] = ()) -> None:
    """Raise `WeakPassword` unless `plain` keeps the rule. `known`: name and address, which must not carry it."""
    broken = violations(rule, plain, known)
    if not broken and account is not None and _used_before(ctx, rule, plain, account):
        broken = ["It was used before." if rule.history == 1 else f"It is one of the last {rule.history} passwords."]
    if broken:
        raise WeakPassword(f"The password is not good enough. {' '.join(broken)}", broken=broken)


def violations(rule: PasswordRule, plain: str, known: tuple[str, ...] = ()) -> list[str]:
    """What of the rule a password breaks, as sentences; empty when it is good. History is not looked at here."""
    text = prepared(plain)
    kinds = {_kind(character) for character in text}
    broken = []
    if len(text) < rule.shortest:
        broken.append(f"It needs at least {rule.shortest} characters.")
    if len(text) > rule.longest:
        broken.append(f"It has more than {rule.longest} characters.")
    if "\x00" in text:
        broken.append("It holds a character that cannot be typed.")
    named = {
        "lower": "a lower-case letter",
        "upper": "an upper-case letter",
        "digit": "a digit",
        "other": "a special character",
    }
    missing = [words for kind, words in named.items() if kind in rule.each - kinds]
    if missing:
        broken.append(f"It needs {', '.join(missing)}.")
    if len(kinds) < rule.classes:
        broken.append(f"It needs {rule.classes} kinds of characters: lower case, upper case, digits, others.")
    if rule.strength and not broken and _strength(text, known) < rule.strength:
        broken.append("It is too easy to guess: avoid words, names, dates and runs of keys.")
    return broken


def replace(ctx: Ctx, account: Account, fresh: str) -> None:
    """Put a checked and hashed password in the place of the old, which is remembered."""
    if account.password_hash is not None:
        ctx.session.add(
            PasswordHistory(
                id=new_id(), account_id=account.id, password_hash=account.password_hash, created_at=ctx.now()
            )
        )
        ctx.session.flush()
        stale = select(PasswordHistory.id).where(PasswordHistory.account_id == account.id)
        stale = stale.order_by(PasswordHistory.created_at.desc(), PasswordHistory.id.desc()).offset(KEPT)
        ctx.session.execute(
            delete(PasswordHistory).where(PasswordHistory.id.in_(stale)).execution_options(synchronize_session=False)
        )
    account.password_hash = fresh
    account.password_changed_at = ctx.now()


def _used_before(ctx: Ctx, rule: PasswordRule, plain: str, account: Account) -> bool:
    stored = [] if account.password_hash is None else [account.password_hash]
    if rule.history > 1:
        stored += _former(ctx, account.id, rule.history - 1)
    with _pace:
        return any(crypto.verify_password(former, prepared(plain)) for former in stored)


def _former(ctx: Ctx, account_id: UUID, count: int) -> list[str]:
    former = select(PasswordHistory.password_hash).where(PasswordHistory.account_id == account_id)
    return list(
        ctx.session.scalars(former.order_by(PasswordHistory.created_at.desc(), PasswordHistory.id.desc()).limit(count))
    )


def _strength(text: str, known: tuple[str, ...]) -> int:
    from zxcvbn import zxcvbn  # its word lists take 10 MB: read when the first password is judged

    # What lies beyond 100 characters makes it slow and no weaker.
    return int(zxcvbn(text[:100], user_inputs=[part for part in known if part], max_length=100)["score"])


def _kind(character: str) -> str:
    if character.isdigit():
        return "digit"
    if character.isupper():
        return "upper"
    return "lower" if character.isalpha() else "other"


def _dummy() -> str:
    global _nobody
    if _nobody is None:
        _nobody = crypto.hash_password(crypto.token())
    return _nobody
