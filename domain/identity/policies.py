"""What each surface asks of sign-ins: its password rule, its lockout, how long its tokens live (seeds and facts).

There is one account behind all surfaces. The rule of the surface where something is tried holds for that try; a lock
holds everywhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType


@dataclass(frozen=True, slots=True)
class PasswordRule:
    """`classes`: how many of lower, upper, digit and other must occur; `each` names those that must.

    `strength` is the least zxcvbn score (0 to 4); `history` how many former passwords, with the present one, are not
    taken again.
    """

    shortest: int
    longest: int = 256
    classes: int = 1
    each: frozenset[str] = frozenset()
    strength: int = 0
    history: int = 1


@dataclass(frozen=True, slots=True)
class Lockout:
    """`failures` within `window` (None: in a row, however long) lock for `duration`, each time longer if `growing`."""

    failures: int
    window: timedelta | None
    duration: timedelta
    growing: bool = False


@dataclass(frozen=True, slots=True)
class Policy:
    """How one surface signs people in."""

    surface: str
    password: PasswordRule
    lockout: Lockout
    access: timedelta
    """Life of an access token."""
    session: timedelta
    """Life of a session, or with `sliding` how long it lives without use."""
    remembered: timedelta
    """The same when the person asked to stay signed in."""
    sliding: bool = False
    longest: timedelta = timedelta(days=90)
    """However much it slides, a session ends then."""
    verified_first: bool = False
    """Nobody signs in before the address is verified."""
    verification: timedelta = timedelta(hours=24)
    reset: timedelta = timedelta(minutes=60)
    audience: tuple[str, ...] = ()
    """Surfaces that take the access tokens."""
    place_lockout: Lockout | None = None
    """For failures from one network address, whomever they name."""
    locks_refresh: bool = False
    """A locked account cannot refresh its sessions either."""
    reset_mails: tuple[int, timedelta] | None = None
    """How often in which time a reset mail may be asked for, for one address."""


_ALL = frozenset({"lower", "upper", "digit", "other"})

POLICIES: Mapping[str, Policy] = MappingProxyType(
    {
        "thallus": Policy(
            "thallus",
            PasswordRule(12, 128, each=_ALL),
            Lockout(5, None, timedelta(minutes=15), growing=True),
            access=timedelta(minutes=15),
            session=timedelta(hours=24),
            remembered=timedelta(days=30),
            verified_first=True,
            audience=("thallus", "thalian"),
        ),
        "beeflow": Policy(
            "beeflow",
            PasswordRule(8, each=_ALL - {"other"}),
            Lockout(10, timedelta(minutes=15), timedelta(minutes=15)),
            access=timedelta(days=90),
            session=timedelta(days=14),
            remembered=timedelta(days=14),
            sliding=True,
            audience=("beeflow", "thalian"),
        ),
        "starter": Policy(
            "starter",
            PasswordRule(14, classes=2, strength=3, history=5),
            Lockout(5, timedelta(minutes=60), timedelta(minutes=60)),
            access=timedelta(minutes=30),
            session=timedelta(days=30),
            remembered=timedelta(days=30),
            verification=timedelta(minutes=60),
            reset=timedelta(minutes=30),
            audience=("starter", "thalian"),
            place_lockout=Lockout(50, timedelta(minutes=10), timedelta(minutes=10)),
            locks_refresh=True,
            reset_mails=(5, timedelta(hours=1)),
        ),
    }
)
"""By surface. Thalian signs nobody in itself: it takes the tokens of all three."""

HANDSHAKE = timedelta(seconds=300)
"""Life of a token that a Nextcloud hands to a page."""
FRAME = timedelta(hours=1)
"""Life of a token for a frame in another site."""
DELETION_GRACE = timedelta(days=30)
RECOVERY = timedelta(days=30)
"""How long a removed member can be brought back."""
CLOCK_SKEW = timedelta(seconds=30)


def policy_of(surface: str | None) -> Policy:
    """The policy of a surface that signs people in. Raises `LookupError`."""
    if surface is None or surface not in POLICIES:
        raise LookupError(f"nobody signs in through {surface!r}")
    return POLICIES[surface]
