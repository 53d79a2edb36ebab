"""What parent and jail say to each other: frames of one letter, a length and bytes, over a pipe."""

from __future__ import annotations

import os
import struct
from typing import Final

HEAD: Final = struct.Struct("<cI")
MOST: Final = 1 << 20
"""Bytes of one frame."""

BLOCK: Final = 4096
"""Bytes in whole multiples of which a file takes room in a workspace."""

REQUEST, FILE, DATA, FOLDER, END = b"R", b"F", b"D", b"O", b"Z"
"""In: the request (JSON), then files and folders: each its path, a file's followed by its bytes, then the end."""
FAILED, ENDED, STDOUT, STDERR, SAME = b"!", b"X", b"1", b"2", b"S"
"""Out: why it could not begin (JSON); or how it ended (JSON), output, and then files; `SAME`: unchanged."""


def frame(kind: bytes, content: bytes) -> bytes:
    return HEAD.pack(kind, len(content)) + content


def taken(size: int) -> int:
    """Bytes of a workspace that a file of `size` bytes takes."""
    return -(-size // BLOCK) * BLOCK


def write(file: int, content: bytes) -> None:
    """Write all of it to a descriptor: the kernel takes of a pipe what has room in it."""
    view = memoryview(content)
    while view:
        view = view[os.write(file, view) :]


class Frames:
    """Takes bytes as they come and gives whole frames. Raises ValueError for a length beyond `MOST`."""

    def __init__(self) -> None:
        self._held = bytearray()

    def feed(self, piece: bytes) -> list[tuple[bytes, bytes]]:
        self._held += piece
        found = []
        at = 0
        while len(self._held) - at >= HEAD.size:
            kind, length = HEAD.unpack_from(self._held, at)
            if length > MOST:
                raise ValueError("a frame is too long")
            end = at + HEAD.size + length
            if len(self._held) < end:
                break
            found.append((kind, bytes(self._held[at + HEAD.size : end])))
            at = end
        del self._held[:at]
        return found
