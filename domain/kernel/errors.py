"""Domain errors: a code and facts, never an HTTP status.

The edge maps codes to statuses (`thalweg.edge.problem.CODES`) and a surface shapes the body. `message` is for people
and must hold nothing internal; `facts` are JSON values that a surface may show (`required_scope`, `retry_after`).
"""

from __future__ import annotations

from typing import Any


class DomainError(Exception):
    """Base of everything a verb raises on purpose."""

    code = "internal"
    default = "Something went wrong."
    reason: str | None = None
    """The fact `reason` of a class of its own: what exactly happened, as a word that a surface may map to its own."""
    kept = False
    """True: the transaction is committed although the verb refuses, because the refusal itself must be remembered (a
    failed sign-in is counted, a stolen token ends its session). Set by `keeping()`."""

    def keeping(self) -> DomainError:
        """This error, with `kept` set: `raise Unauthenticated().keeping()`."""
        self.kept = True
        return self

    def __init__(self, message: str | None = None, **facts: Any) -> None:
        self.message = message or self.default
        self.facts = {"reason": self.reason, **facts} if self.reason is not None else facts
        super().__init__(self.message)


class Invalid(DomainError):
    """The request is well formed by the contract and still makes no sense to the domain."""

    code = "invalid"
    default = "The request cannot be carried out as given."


class Unauthenticated(DomainError):
    code = "unauthenticated"
    default = "Valid credentials are needed."


class Forbidden(DomainError):
    """The caller is known and may not. Put the missing scope into the fact `required_scope`."""

    code = "forbidden"
    default = "The caller is not allowed to do this."


class PaymentRequired(DomainError):
    code = "payment_required"
    default = "The plan does not cover this."


class NotFound(DomainError):
    """Absent, deleted, or another organisation's: a caller cannot tell which."""

    code = "not_found"
    default = "Not found."


class Conflict(DomainError):
    code = "conflict"
    default = "The request conflicts with the present state."


class Gone(DomainError):
    code = "gone"
    default = "This is no longer available."


class TooLarge(DomainError):
    code = "too_large"
    default = "The content is too large."


class Unprocessable(DomainError):
    code = "unprocessable"
    default = "The content cannot be processed."


class LimitExceeded(DomainError):
    """A rate or quota ran out. The fact `retry_after` is whole seconds."""

    code = "rate_limited"
    default = "Too many requests."


class Locked(DomainError):
    code = "locked"
    default = "This is locked for now."


class Unavailable(DomainError):
    """Something outside is away, or a needed setting is missing: say which in the message."""

    code = "unavailable"
    default = "The service is not available right now."


class IdempotencyMismatch(DomainError):
    """The idempotency key was used before, for another request."""

    code = "idempotency_mismatch"
    default = "This idempotency key was already used for a different request."


class IdempotencyInFlight(DomainError):
    """The first request with this key is still running. The fact `retry_after` is whole seconds."""

    code = "idempotency_in_flight"
    default = "A request with this idempotency key is still being processed."
