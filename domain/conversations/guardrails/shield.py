"""The privacy shield: personal data leaves as `[email_1]`, and comes back as what it was when the model repeats it.

One shield serves one turn. Numbers are given in the order in which things are met, the oldest message first, so a value
has the same placeholder in every turn of a conversation.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from domain.conversations.guardrails import recognise
from domain.conversations.guardrails.policy import Policy

MOST = 500
"""Values of one turn; what comes after is replaced by its bare category."""
_PLACEHOLDER = re.compile(r"\[[a-z_]{2,32}_\d{1,3}\]")
_OPEN = re.compile(r"\[[a-z_0-9]{0,36}$")


class Shield:
    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._placeholders: dict[str, str] = {}
        self._values: dict[str, str] = {}
        self._counts: dict[str, int] = {}
        self._tail = ""

    def hide(self, text: str) -> str:
        """`text` as a model may see it."""
        level = self._policy.shield
        findings = recognise.find(
            text,
            terms=self._policy.terms if level == "custom" else (),
            threshold=self._policy.threshold,
            categories=recognise.STANDARD if level == "standard" else None,
        )
        parts: list[str] = []
        at = 0
        for finding in findings:
            value = text[finding.start : finding.end]
            parts += [text[at : finding.start], self._placeholder(finding.category, value)]
            at = finding.end
        return "".join(parts) + text[at:]

    def show(self, text: str) -> str:
        """Placeholders put back."""
        return _PLACEHOLDER.sub(lambda found: self._values.get(found[0], found[0]), text)

    def feed(self, words: str) -> str:
        """The same for words that come piece by piece: what may be the beginning of a placeholder waits."""
        text = self._tail + words
        opened = _OPEN.search(text)
        cut = opened.start() if opened else len(text)
        self._tail = text[cut:]
        return self.show(text[:cut])

    def end(self) -> str:
        rest, self._tail = self._tail, ""
        return rest

    def arguments(self, value: Any) -> Any:
        """A tool's arguments with the real values."""
        if isinstance(value, str):
            return self.show(value)
        if isinstance(value, Mapping):
            return {key: self.arguments(each) for key, each in value.items()}
        return [self.arguments(each) for each in value] if isinstance(value, list | tuple) else value

    def _placeholder(self, category: str, value: str) -> str:
        known = self._placeholders.get(value)
        if known is not None:
            return known
        if len(self._placeholders) >= MOST:
            return f"[{category}]"
        self._counts[category] = self._counts.get(category, 0) + 1
        made = f"[{category}_{self._counts[category]}]"
        self._placeholders[value], self._values[made] = made, value
        return made
