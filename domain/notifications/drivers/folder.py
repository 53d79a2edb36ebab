"""The development mailbox: each mail a file `<id>.eml`, where any mail program and the portal can read it."""

from __future__ import annotations

import os
import re
import tempfile
from email.message import EmailMessage
from email.policy import SMTP
from pathlib import Path

from domain.notifications.ports import Refused, TryLater


class Folder:
    """Writes into `folder`, which is made when the first mail comes. Writing a mail again replaces the same file."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def deliver(self, message: EmailMessage, *, sender: str, recipient: str) -> None:
        name = re.fullmatch(r"<([0-9A-Za-z-]+)@[^<>]+>", str(message["Message-ID"]))
        if name is None:
            raise Refused("its Message-ID cannot be a file's name")
        policy = SMTP.clone(utf8=not recipient.isascii())
        try:
            # It holds links that let someone in: for the platform's own user alone.
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            handle, temporary = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(message.as_bytes(policy=policy))
                    file.flush()
                    os.fsync(file.fileno())
                Path(temporary).replace(self.folder / f"{name[1]}.eml")
            except BaseException:
                Path(temporary).unlink(missing_ok=True)
                raise
        except OSError as problem:
            raise TryLater(f"the mail folder cannot be written: {problem.strerror or type(problem).__name__}") from None
