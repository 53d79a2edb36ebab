"""What the settings of several contexts are made of: each says in a protocol of its own what it reads of them."""

from __future__ import annotations

from typing import Protocol


class SecretSetting(Protocol):
    """A value that is never shown by accident."""

    def reveal(self) -> str: ...
