"""A turn that needs somebody's word stops here, frees its worker, and is run again when the word has come."""

from __future__ import annotations

from datetime import timedelta
from typing import Any


class Waits(Exception):
    """`what`: `dlp` or `steering`; `event` with `data` tells whoever watches."""

    def __init__(self, what: str, time: timedelta, event: str, **data: Any) -> None:
        super().__init__(what)
        self.what = what
        self.time = time
        self.event = event
        self.data = data
