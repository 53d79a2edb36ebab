"""Named limits, kept in Valkey for all processes together: one script call for all limits of an operation.

    limits = Limits(url, {"chat.send": {"rate": "60/minute", "per": "key"}, "chat.open": {"concurrent": 3, ...}})
    headers = await limits.check(("chat.send", "chat.open"), caller, facts, safe=False)

A rate is a sliding window of two counters (docs/decisions/0005-streams.md): what the previous window counted is weighed
by how much of it still lies inside the last period. Refused requests are not counted. When Valkey is away, safe
methods pass and unsafe ones are refused as `unavailable`, at once.
"""

from __future__ import annotations

import hashlib
import logging
import secrets
from collections.abc import Callable, Mapping, Sequence
from math import ceil
from typing import Any

import hiredis

from thalweg.edge import limit_rules
from thalweg.edge.application import Caller, Facts
from thalweg.edge.limit_rules import LimitRule, RuleError, whom
from thalweg.edge.problem import Problem
from thalweg.link import Link, LinkDown, pack

__all__ = ["Granted", "Lease", "LimitRule", "Limits", "RuleError"]

log = logging.getLogger(__name__)

Header = tuple[bytes, bytes]

# ARGV: now (ms, empty: the server's clock), then per key: kind, limit, period or lease (ms), token.
# A window lies in one key as "<index>:<this>:<previous>"; leases are a sorted set by expiry.
# Nothing is counted unless everything is granted. Answers {granted, wait ms, then remaining and reset ms of each}.
_SCRIPT = """
local now = tonumber(ARGV[1])
if not now then
  local t = redis.call('TIME')
  now = t[1] * 1000 + math.floor(t[2] / 1000)
end
local answer, state, wait = {1, 0}, {}, 0
for i, key in ipairs(KEYS) do
  local kind, limit, span = ARGV[4*i-2], tonumber(ARGV[4*i-1]), tonumber(ARGV[4*i])
  if kind == 'r' then
    local index = math.floor(now / span)
    local this, previous = 0, 0
    local held = redis.call('GET', key)
    if held then
      local a, b, c = string.match(held, '^(%d+):(%d+):(%d+)$')
      a = tonumber(a)
      if a == index then this, previous = tonumber(b), tonumber(c)
      elseif a == index - 1 then previous = tonumber(b) end
    end
    local into = now - index * span
    local used = previous * (span - into) / span + this
    if used + 1 > limit then
      local need
      if this + 1 <= limit then
        need = span * (1 - (limit - this - 1) / previous) - into
      else
        need = span - into
        if limit >= 1 then need = need + span * (1 - (limit - 1) / this) else need = need + span end
      end
      wait = math.max(wait, math.ceil(need), 1)
      answer[1] = 0
    end
    state[i] = {index, this, previous}
    answer[2*i+1] = math.max(0, math.floor(limit - used))
    answer[2*i+2] = span - into
  else
    redis.call('ZREMRANGEBYSCORE', key, '-inf', now)
    local held = redis.call('ZCARD', key)
    local first = redis.call('ZRANGE', key, 0, 0, 'WITHSCORES')
    local free = span
    if first[2] then free = math.max(1, first[2] - now) end
    if held >= limit then
      wait = math.max(wait, 1000)
      answer[1] = 0
    end
    answer[2*i+1] = math.max(0, limit - held)
    answer[2*i+2] = free
  end
end
answer[2] = wait
if answer[1] == 1 then
  for i, key in ipairs(KEYS) do
    local span = tonumber(ARGV[4*i])
    if ARGV[4*i-2] == 'r' then
      local s = state[i]
      redis.call('SET', key, string.format('%d:%d:%d', s[1], s[2] + 1, s[3]), 'PX', span * 2)
    else
      redis.call('ZADD', key, now + span, ARGV[4*i+1])
      redis.call('PEXPIRE', key, span)
    end
    answer[2*i+1] = math.max(0, answer[2*i+1] - 1)
  end
end
return answer
"""
_SHA = hashlib.sha1(_SCRIPT.encode(), usedforsecurity=False).hexdigest()


class Lease:
    """A place among the few that may run at once; `release` it, or it runs out by itself."""

    __slots__ = ("_held", "_link")

    def __init__(self, link: Link, held: list[tuple[str, str]]) -> None:
        self._link = link
        self._held = held

    def release(self) -> None:
        """Give the place back. Costs nothing to call twice; does not wait for the server."""
        held, self._held = self._held, []
        for key, token in held:
            try:
                self._link.submit(pack(("ZREM", key, token)), _ignore)
            except LinkDown:
                return


class Granted(list[Header]):
    """The headers of a reply that was let through; with a concurrent limit also the place that it holds."""

    __slots__ = ("lease",)

    def __init__(self, headers: Sequence[Header] = (), lease: Lease | None = None) -> None:
        super().__init__(headers)
        self.lease = lease


class Limits:
    """All limits of a process, on one connection. `start` it in the process's loop."""

    def __init__(
        self,
        redis_url: str,
        rules: Mapping[str, Mapping[str, Any]],
        *,
        prefix: str = "thalweg:limit:",
        timeout: float = 0.5,
        clock: Callable[[], float] | None = None,
    ) -> None:
        """`rules`: see `limit_rules.read`; raises `RuleError`. `clock` (seconds) replaces the server's, for tests."""
        self.rules: dict[str, LimitRule] = {name: limit_rules.read(name, rule) for name, rule in rules.items()}
        self._prefix = prefix
        self._clock = clock
        self._timeout = timeout
        self._operations: dict[tuple[str, ...], tuple[LimitRule, ...]] = {}
        self._link = Link(redis_url, name="thalweg-limits", timeout=timeout, prelude=(("SCRIPT", "LOAD", _SCRIPT),))
        self.granted = 0
        self.refused = 0
        self.blind = 0
        """Requests that met no Valkey."""

    async def start(self, wait: float = 1.0) -> None:
        """Connect, waiting at most `wait` seconds: a Valkey that is away is no reason not to start."""
        await self._link.start(wait)

    async def stop(self) -> None:
        await self._link.close()

    @property
    def healthy(self) -> bool:
        """Whether limits are kept right now."""
        return self._link.up

    def hvals(self, name: str, /) -> list[bytes]:
        """The values of a hash, for other threads that have a question to the same server. Raises as `Link.ask`."""
        values: list[bytes] = self._link.ask("HVALS", name, patience=self._timeout)
        return values

    def rules_of(self, names: Sequence[str]) -> tuple[LimitRule, ...]:
        """The rules of an operation. Raises `RuleError` for a name without a rule: call it at start-up."""
        missing = [name for name in names if name not in self.rules]
        if missing:
            raise RuleError(f"limit {missing[0]!r} is named in a contract and has no numbers: add it to `limits`")
        return tuple(self.rules[name] for name in names)

    async def check(self, names: Sequence[str], caller: Caller, facts: Facts, safe: bool) -> Granted:
        """Count a request against `names`; the `RateLimit-*` headers of its reply.

        Raises `Problem` `rate_limited` (facts `retry_after`, whole seconds, and `limit`, the name of the first one that
        is spent) or, without Valkey and unless `safe`, `unavailable`.
        """
        rules = self._operations.get(names) if isinstance(names, tuple) else None
        if rules is None:
            rules = self._operations[tuple(names)] = self.rules_of(names)
        now = "" if self._clock is None else int(self._clock() * 1000)
        keys: list[str] = []
        arguments: list[Any] = [now]
        numbers: list[tuple[int, int]] = []
        held: list[tuple[str, str]] = []
        override = getattr(caller, "rate_override", None)
        for rule in rules:
            quota, span = rule.quota, rule.span
            if override is not None:
                quota, span = rule.overridden(override)
            # An overridden period must not read the counters of another one.
            key = f"{self._prefix}{rule.name}:{span}:{whom(rule.per, caller, facts)}"
            token = ""
            if rule.concurrent:
                token = secrets.token_hex(8)
                held.append((key, token))
            keys.append(key)
            numbers.append((quota, span))
            arguments += (rule.kind, quota, span, token)
        try:
            answer = await self._evaluate(keys, arguments)
        except (LinkDown, hiredis.ReplyError) as away:
            return self._without_valkey(away, safe)
        headers = _headers(rules, numbers, answer)
        if answer[0]:
            self.granted += 1
            return Granted(headers, Lease(self._link, held) if held else None)
        self.refused += 1
        after = max(ceil(answer[1] / 1000), 1)
        raise Problem(
            "rate_limited",
            "Too many requests.",
            facts={"retry_after": after, "limit": _spent(rules, answer)},
            headers={name.decode(): value.decode() for name, value in headers},
        )

    async def _evaluate(self, keys: list[str], arguments: list[Any]) -> list[int]:
        try:
            answer: list[int] = await self._link.call("EVALSHA", _SHA, len(keys), *keys, *arguments)
        except hiredis.ReplyError as error:
            if not str(error).startswith("NOSCRIPT"):
                raise
            answer = await self._link.call("EVAL", _SCRIPT, len(keys), *keys, *arguments)
        return answer

    def _without_valkey(self, away: Exception, safe: bool) -> Granted:
        self.blind += 1
        if not isinstance(away, LinkDown):
            log.warning("limits are not kept: %s", away)
        if safe:
            return Granted()
        raise Problem(
            "unavailable",
            "Limits cannot be checked right now. Try again in a moment.",
            facts={"retry_after": 1},
        )


def _spent(rules: Sequence[LimitRule], answer: Sequence[int]) -> str:
    """The first limit of which nothing is left: of a refused request there is one."""
    return next((rule.name for index, rule in enumerate(rules) if answer[2 * index + 2] < 1), rules[0].name)


def _headers(rules: Sequence[LimitRule], numbers: Sequence[tuple[int, int]], answer: Sequence[int]) -> list[Header]:
    """`RateLimit-*` of the limit that is nearest to its end.

    As in draft-ietf-httpapi-ratelimit-headers-06, whose fields are the ones that clients know; a reset is whole
    seconds, rounded up. `numbers` are the quotas and spans that were applied.
    """
    nearest, share = 0, 2.0
    for index, (quota, _) in enumerate(numbers):
        left = answer[2 * index + 2] / quota if quota else 0.0
        if left < share:
            nearest, share = index, left
    return [
        (b"ratelimit-limit", b"%d" % numbers[nearest][0]),
        (b"ratelimit-remaining", b"%d" % answer[2 * nearest + 2]),
        (b"ratelimit-reset", b"%d" % ceil(answer[2 * nearest + 3] / 1000)),
    ]


def _ignore(reply: Any) -> None: ...
