"""Watching an answer while it is said: what may be the beginning of a finding is held back until it is known."""

from __future__ import annotations

import logging
import re
from dataclasses import replace
from typing import TYPE_CHECKING

from domain.conversations.guardrails import recognise
from domain.conversations.guardrails.policy import Policy
from domain.conversations.guardrails.record import by_kind, note
from domain.kernel.context import Ctx
from domain.kernel.errors import DomainError

if TYPE_CHECKING:
    from domain.conversations.turn_state import State

log = logging.getLogger("thalweg.conversations")

HELD = 160
"""Characters that are held back: longer than anything that is recognised in one piece."""
CONTEXT = 64
"""Characters that are out and still looked at."""


class Blocked(DomainError):
    """The guardrails let nothing more of it out. Fact `categories`."""

    code = "forbidden"
    default = "The guardrails of your organisation stopped this."


class Filter:
    """For one answer of a model. Without DLP words pass at once, and only invisible characters are taken out."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._watches = policy.dlp
        self._held = ""
        self._before = ""
        self.categories: set[str] = set()
        self.removed = 0

    def feed(self, words: str) -> str:
        """What of it may be said now. Raises `Blocked`."""
        cleaned, removed = recognise.stripped(words)
        self.removed += removed
        if not self._watches:
            return cleaned
        self._held += cleaned
        if len(self._held) <= HELD:
            return ""
        return self._release(len(self._held) - HELD)

    def end(self) -> str:
        """The rest."""
        return self._release(len(self._held)) if self._held else ""

    def note(self, ctx: Ctx, state: State, model: str) -> None:
        """Record what was found, without the text."""
        if self.categories:
            action = {"auto_redact": "redact", "block": "block"}.get(self._policy.mode, "alert")
            for kind, named in by_kind(sorted(self.categories)):
                note(ctx, state, kind, named, "output", action, model)
        if self.removed:
            note(ctx, state, "unicode_smuggling", ["invisible"], "output", "stripped", model)

    def _release(self, upto: int) -> str:
        findings = self._findings()
        if upto < len(self._held):  # never in the middle of a word, nor of a finding
            upto = max((m.end() for m in re.finditer(r"\s", self._held[:upto])), default=0)
        for finding in reversed(findings):
            if finding.start < upto < finding.end:
                upto = finding.start
        out, self._held = self._held[:upto], self._held[upto:]
        self._before = (self._before + out)[-CONTEXT:]
        own = [f for f in findings if f.end <= upto]
        if not own:
            return out
        self.categories |= {f.category for f in own}
        if self._policy.mode == "block":
            raise Blocked(categories=sorted(self.categories))
        return recognise.redacted(out, own) if self._policy.mode == "auto_redact" else out

    def _findings(self) -> list[recognise.Finding]:
        """What is in the words that are held; those that are out already still say what a number beside them is."""
        said = len(self._before)
        try:
            found = recognise.find(
                self._before + self._held, terms=self._policy.terms, threshold=self._policy.threshold
            )
        except Exception as problem:
            log.exception("guardrails failed")
            if not self._policy.fails_open:
                raise Blocked("The guardrails could not look at the answer.", categories=[]) from problem
            return []
        return [replace(f, start=f.start - said, end=f.end - said) for f in found if f.start >= said]
