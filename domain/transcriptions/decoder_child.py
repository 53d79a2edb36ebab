"""A recording to samples: run as a program of its own, because strangers' files meet a large C library here.

    decoder_child.py <format> <seconds to skip> < recording > samples (16 kHz, mono, 16 bit, little endian)

Writes the length that the container tells as its first line on stderr. Ends with 3 for what cannot be decoded. Reads
nothing but its input: containers that point to other files or addresses find neither.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from typing import Any

from domain.kernel.confine import bounds, seccomp

RATE = 16_000
MEMORY = 1 << 30
CPU = 1800


def main() -> int:
    bounds.bound(seconds=CPU, files=64)
    import av
    from av.audio.resampler import AudioResampler

    mapped = bounds.mapped()
    bounds.bound(memory=mapped + MEMORY if mapped else None)
    seccomp.renounce()
    skip = int(float(sys.argv[2]) * RATE) * 2
    out = sys.stdout.buffer
    written = 0
    try:
        with av.open(sys.stdin.buffer, format=sys.argv[1], metadata_errors="ignore") as container:
            if not container.streams.audio:
                return 3
            stream = container.streams.audio[0]
            seconds = float(container.duration or 0) / 1_000_000
            print(seconds, file=sys.stderr, flush=True)
            resampler = AudioResampler(format="s16", layout="mono", rate=RATE)
            for sound in _frames(av, container, stream, resampler):
                piece = sound
                if skip:
                    piece, skip = piece[skip:], max(0, skip - len(piece))
                if piece:
                    out.write(piece)
                written += len(sound)
        out.flush()
    except BrokenPipeError:  # whoever listened has heard enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        return 0
    except (av.FFmpegError, ValueError, MemoryError, IndexError):
        out.flush()
        return 0 if written else 3  # what stands before a damaged place is worth hearing
    return 0 if written else 3


def _frames(av: Any, container: Any, stream: Any, resampler: Any) -> Iterator[bytes]:
    damaged = 0
    for packet in container.demux(stream):
        try:
            decoded = packet.decode()
        except av.FFmpegError:
            damaged += 1
            if damaged > 1000:
                raise
            continue
        for frame in decoded:
            for sound in resampler.resample(frame):
                yield bytes(sound.planes[0])[: sound.samples * 2]
    for sound in resampler.resample(None):
        yield bytes(sound.planes[0])[: sound.samples * 2]


if __name__ == "__main__":
    sys.exit(main())
