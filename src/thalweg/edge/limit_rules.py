"""What a limit is: its numbers from configuration, and whom a window belongs to."""

from __future__ import annotations

import ipaddress
import logging
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from thalweg.edge.application import Caller, Facts

log = logging.getLogger(__name__)

_UNITS = {"second": 1, "minute": 60, "hour": 3600, "day": 86400, "s": 1, "m": 60, "h": 3600, "d": 86400}
_RATE = re.compile(r"\s*(\d{1,9})\s*/\s*(\d{0,6})\s*(second|minute|hour|day|s|m|h|d)s?\s*")
_SPAN = re.compile(r"\s*(\d{1,6})\s*(second|minute|hour|day|s|m|h|d)s?\s*")
_KEYS = {"rate", "per", "concurrent", "lease"}


class RuleError(ValueError):
    """A limit in the configuration makes no sense; the message names it."""


@dataclass(frozen=True, slots=True)
class LimitRule:
    """One named limit. `quota` requests in `span` milliseconds, or at once for at most `span` each."""

    name: str
    per: str
    quota: int
    span: int
    concurrent: bool
    policy: bytes

    @property
    def kind(self) -> str:
        return "c" if self.concurrent else "r"

    def overridden(self, override: str | Mapping[str, str]) -> tuple[int, int]:
        """Quota and span for a caller with a rate of its own (`120/minute`, or a mapping from names of limits).

        Only rates `per: key` follow a bare override: an organisation's or an address's window is not one key's to
        widen.
        """
        if self.concurrent:
            return self.quota, self.span
        if isinstance(override, Mapping):
            own = override.get(self.name)
        else:
            own = override if self.per == "key" else None
        if own is None:
            return self.quota, self.span
        return _override(own) or (self.quota, self.span)


def read(name: str, rule: Mapping[str, Any]) -> LimitRule:
    """A rule from configuration: `{rate: "60/minute", per: key}` or `{concurrent: 3, lease: "300s", per: key}`.

    `per` is `key`, `user`, `organisation` or `address`. Raises `RuleError`.
    """
    where = f"limits.{name}"
    if not isinstance(rule, Mapping):
        raise RuleError(f'{where}: expected a table such as {{ rate = "60/minute", per = "key" }}')
    unknown = sorted(set(rule) - _KEYS)
    if unknown:
        raise RuleError(f"{where}: unknown setting {unknown[0]!r} (known: {', '.join(sorted(_KEYS))})")
    per = rule.get("per", "key")
    if per not in WHOM:
        raise RuleError(f"{where}.per: {per!r} is none of {', '.join(WHOM)}")
    if ("rate" in rule) == ("concurrent" in rule):
        raise RuleError(f"{where}: needs either `rate` or `concurrent`")
    if "rate" in rule:
        if "lease" in rule:
            raise RuleError(f"{where}.lease: belongs to `concurrent`, not to `rate`")
        try:
            quota, span = parse_rate(rule["rate"])
        except ValueError as error:
            raise RuleError(f"{where}.rate: {error}") from None
        return LimitRule(name, per, quota, span, False, b"%d;w=%d" % (quota, span // 1000))
    quota = rule["concurrent"]
    if not isinstance(quota, int) or isinstance(quota, bool) or quota < 1:
        raise RuleError(f"{where}.concurrent: {quota!r} is not a number from 1")
    found = _SPAN.fullmatch(str(rule.get("lease", "300s")))
    if found is None or int(found[1]) == 0:
        raise RuleError(f'{where}.lease: {rule.get("lease")!r} is not a time such as "300s"')
    span = int(found[1]) * _UNITS[found[2]] * 1000
    return LimitRule(name, per, quota, span, True, b'%d;comment="at once"' % quota)


def parse_rate(text: object) -> tuple[int, int]:
    """`60/minute`, `5/second`, `10/30s`: requests, and the period in milliseconds. Raises ValueError."""
    found = _RATE.fullmatch(text) if isinstance(text, str) else None
    if found is None:
        raise ValueError(f'{text!r} is not a rate such as "60/minute" or "10/30s"')
    periods = int(found[2] or 1)
    if periods == 0:
        raise ValueError(f"{text!r} has a period of nothing")
    return int(found[1]), periods * _UNITS[found[3]] * 1000


@lru_cache(maxsize=1024)
def _override(text: object) -> tuple[int, int] | None:
    try:
        return parse_rate(text)
    except ValueError as error:
        log.warning("a caller's own rate is ignored: %s", error)
        return None


def whom(per: str, caller: Caller, facts: Facts) -> str:
    """The holder of a window."""
    return WHOM[per](caller, facts)


def _organisation(caller: Caller, facts: Facts) -> str:
    organisation = caller.organisation_id
    return caller.key if organisation is None else f"organisation:{organisation}"


def _address(caller: Caller, facts: Facts) -> str:
    return "address:-" if facts.address is None else _network(facts.address)


@lru_cache(maxsize=4096)
def _network(address: str) -> str:
    """An IPv6 caller owns at least a /64, so that is whom a window belongs to; IPv4 inside IPv6 is IPv4."""
    if ":" not in address:
        return f"address:{address}"
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return f"address:{address}"
    if parsed.ipv4_mapped is not None:
        return f"address:{parsed.ipv4_mapped}"
    return f"address:{ipaddress.IPv6Network((parsed, 64), strict=False)}"


WHOM: dict[str, Callable[[Caller, Facts], str]] = {
    "key": lambda caller, facts: caller.key,
    "user": lambda caller, facts: caller.user_key,
    "organisation": _organisation,
    "address": _address,
}
