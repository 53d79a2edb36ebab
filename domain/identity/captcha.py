"""CAPTCHA: what a stranger has to show before an account is made or a mail is sent for them.

`challenge(now)` is what a client asks for, `verify(ctx, solution)` what a verb calls first. `configure` binds a driver
at start-up: `altcha` (proof of work, nobody else is asked), a hosted one (`turnstile`, `hcaptcha`, `recaptcha`), or
`off`, which is not for production.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Protocol

from marshmallow import EXCLUDE, Schema, ValidationError, fields

from domain.identity import nonces
from domain.kernel import crypto, outgoing
from domain.kernel.context import Ctx
from domain.kernel.errors import Invalid, Unavailable

if TYPE_CHECKING:
    import altcha

__all__ = [
    "DIFFICULTY",
    "PROVIDERS",
    "Altcha",
    "CaptchaFailed",
    "Hosted",
    "Off",
    "Verifier",
    "bind",
    "challenge",
    "configure",
    "solve",
    "verify",
]

DIFFICULTY = 5_000
GOOD_FOR = timedelta(minutes=10)
"""From the challenge to its use: time to fill in a form. A hosted answer lives as long as its provider says."""
LONGEST = 4096
PROVIDERS: Mapping[str, str] = {
    "turnstile": "https://challenges.cloudflare.com/turnstile/v0/siteverify",
    "hcaptcha": "https://api.hcaptcha.com/siteverify",
    "recaptcha": "https://www.google.com/recaptcha/api/siteverify",
}


class CaptchaFailed(Invalid):
    """Not solved, solved for another installation, too old, or used before: a caller is not told which."""

    code = "captcha_failed"
    default = "The CAPTCHA could not be verified. Try again."


class Verifier(Protocol):
    def challenge(self, now: datetime) -> dict[str, Any]:
        """What a client has to know to produce a solution."""
        ...

    def verify(self, ctx: Ctx, solution: str) -> None:
        """Raises CaptchaFailed, or Unavailable when whoever has to say is away."""
        ...


def challenge(now: datetime) -> dict[str, Any]:
    """What a client has to solve, as JSON that is not to be cached.

    An ALTCHA challenge (`parameters` and `signature`) is signed, good for `GOOD_FOR` and for this installation alone.
    Otherwise `provider` names whom to ask, with its `site_key`; `off` is nobody.
    """
    return _bound.challenge(now)


def verify(ctx: Ctx, solution: str) -> None:
    """Pass when `solution` answers a challenge for the first time; it is spent with `ctx`'s transaction.

    Call it first in a verb: a hosted CAPTCHA asks its provider, and as long as a session has sent no statement it holds
    no connection. A request that is refused afterwards spends nothing, and may be sent again with the same solution.

    Raises CaptchaFailed, and Unavailable when a hosted provider is away (nobody passes then).
    """
    _bound.verify(ctx, solution)


def solve(challenge: Mapping[str, Any], *, seconds: float = 60.0) -> str:
    """The solution of an `altcha` challenge, for clients without a browser. Raises TimeoutError after `seconds`."""
    import altcha  # late: most processes neither make nor check one

    asked = altcha.Challenge.from_dict(dict(challenge))
    found = altcha.solve_challenge(asked, timeout=seconds)
    if found is None:
        raise TimeoutError("no solution was found in time")
    return altcha.Payload(asked, found).to_base64()


def configure(
    driver: str,
    *,
    secret: str | None = None,
    site_key: str | None = None,
    difficulty: int = DIFFICULTY,
    production: bool = True,
) -> None:
    """Bind the driver that the settings name. Raises ValueError that names the setting that is wrong."""
    if driver == "altcha":
        bind(Altcha(difficulty))
    elif driver == "off":
        if production:
            raise ValueError("captcha: `off` is for development and tests; in production anybody could send mails")
        bind(Off())
    elif driver in PROVIDERS:
        if not secret or not site_key:
            raise ValueError(f"captcha_secret and captcha_site_key: both are needed for captcha `{driver}`")
        bind(Hosted(driver, secret, site_key))
    else:
        raise ValueError(f"captcha: has to be altcha, off, {', '.join(PROVIDERS)}")


def bind(verifier: Verifier) -> None:
    """Bind a driver for this process."""
    global _bound
    _bound = verifier


# --- drivers -------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Altcha:
    """ALTCHA's proof of work, version 2: find a counter whose PBKDF2 key begins with a zero byte.

    `difficulty` is the iterations of one try; a solution takes 256 tries on average, and checking it takes one. No
    challenge is kept: it carries its terms, signed with a key that is derived for this alone. What is spent is the
    challenge, because one challenge has many solutions.
    """

    difficulty: int = DIFFICULTY

    def challenge(self, now: datetime) -> dict[str, Any]:
        import altcha  # late: see `solve`

        made = altcha.create_challenge(
            "PBKDF2/SHA-256",
            self.difficulty,
            key_prefix="00",
            expires_at=now + GOOD_FOR,
            hmac_secret=_keys()[0],
        )
        return made.to_dict()

    def verify(self, ctx: Ctx, solution: str) -> None:
        import altcha  # late: see `solve`

        payload = _payload(solution)
        terms = payload.challenge.parameters
        # Any key: one that was rotated out of first place a minute ago has signed challenges that are being solved.
        if not any(altcha.verify_solution(payload, key).verified for key in _keys()):
            raise CaptchaFailed
        # From here on the terms are our own words.
        expires = datetime.fromtimestamp(int(terms.expires_at or 0), UTC)
        if expires <= ctx.now() or not nonces.spend(ctx, "captcha", terms.nonce, expires):
            raise CaptchaFailed


def _keys() -> list[bytes]:
    return crypto.ring().derived("captcha")


def _payload(solution: str) -> altcha.Payload:
    import altcha  # late: see `solve`

    if len(solution) > LONGEST:
        raise CaptchaFailed
    try:
        # Strict about the alphabet, so that a payload has one spelling.
        base64.b64decode(solution, validate=True)
        return altcha.Payload.from_base64(solution)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        raise CaptchaFailed from None


class _Answer(Schema):
    """What the providers answer, as far as they agree and as far as it is needed."""

    class Meta:
        unknown = EXCLUDE

    success = fields.Boolean(required=True, truthy={True}, falsy={False})
    errors = fields.List(fields.String(), data_key="error-codes", load_default=list)
    score = fields.Float(load_default=None, allow_none=True)


_OURS = frozenset({"missing-input-secret", "invalid-input-secret", "invalid-or-already-seen-response-secret"})
"""Errors that are the operator's: no user could pass, whatever they solve."""
ENOUGH = 0.5
"""Of reCAPTCHA 3, which tells how likely a person is (0 to 1)."""


@dataclass(frozen=True, slots=True)
class Hosted:
    """A provider that speaks the siteverify protocol."""

    provider: str
    secret: str = field(repr=False)
    site_key: str
    url: str | None = None
    seconds: float = 5.0

    def challenge(self, now: datetime) -> dict[str, Any]:
        return {"provider": self.provider, "site_key": self.site_key}

    def verify(self, ctx: Ctx, solution: str) -> None:
        if not solution or len(solution) > LONGEST or not solution.isprintable():
            raise CaptchaFailed
        answer = self._ask(solution, ctx.address)
        if not answer["success"]:
            if _OURS.intersection(answer["errors"]):
                raise Unavailable("The CAPTCHA of this installation is not set up rightly.")
            raise CaptchaFailed
        if answer["score"] is not None and answer["score"] < ENOUGH:
            raise CaptchaFailed
        # Providers say so themselves, but not all of them at once and everywhere.
        if not nonces.spend(ctx, "captcha", solution, ctx.now() + GOOD_FOR):
            raise CaptchaFailed

    def _ask(self, solution: str, address: str | None) -> dict[str, Any]:
        form = {"secret": self.secret, "response": solution}
        if address:
            form["remoteip"] = address
        try:
            said = outgoing.client().post(self.url or PROVIDERS[self.provider], data=form, seconds=self.seconds)
            if said.ok:
                return dict(_Answer().load(said.json()))
        except (outgoing.UpstreamFailed, ValidationError):
            pass  # and nothing of it is told: the form has the secret in it
        raise Unavailable("The CAPTCHA cannot be checked right now.", retry_after=5)


@dataclass(frozen=True, slots=True)
class Off:
    """Nothing is asked. Any solution passes."""

    def challenge(self, now: datetime) -> dict[str, Any]:
        return {"provider": "off"}

    def verify(self, ctx: Ctx, solution: str) -> None:
        return


_bound: Verifier = Altcha()
