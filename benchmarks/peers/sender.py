"""Sends large files to an API as fast as they are taken: one for each line `<size> <number>` of its input. Answers
the seconds that each took. A process of its own, with nothing to load: to send is work too, and what a client's start
costs is not the upload's.

    TOKEN="Bearer ..." python -I benchmarks/peers/sender.py <port> <path>
"""

from __future__ import annotations

import http.client
import os
import sys
import time
from collections.abc import Iterator

BOUNDARY = "uploads-benchmark"


def send(port: int, path: str, token: str, size: int, number: int) -> float:
    """Upload text of `size` bytes; seconds."""
    head = (
        f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="file"; filename="large-{number}.txt"\r\n'
        "Content-Type: text/plain\r\n\r\n"
    ).encode()
    tail = f"\r\n--{BOUNDARY}--\r\n".encode()
    line = f"File {number}: what goes in comes out.\n".encode()
    piece = line * (65_536 // len(line))

    def pieces() -> Iterator[bytes]:
        yield head
        left = size
        while left > 0:
            yield piece[:left]
            left -= len(piece)
        yield tail

    headers = {
        "Authorization": token,
        "Content-Type": f"multipart/form-data; boundary={BOUNDARY}",
        "Content-Length": str(len(head) + size + len(tail)),
    }
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=120)
    began = time.monotonic()
    connection.request("POST", path, body=pieces(), headers=headers)
    reply = connection.getresponse()
    said = reply.read()
    seconds = time.monotonic() - began
    connection.close()
    if reply.status != 201:
        raise SystemExit(f"an upload was answered {reply.status}: {said[:300]!r}")
    return seconds


def main() -> None:
    port, path = int(sys.argv[1]), sys.argv[2]
    for line in sys.stdin:
        size, number = map(int, line.split())
        print(send(port, path, os.environ["TOKEN"], size, number), flush=True)


if __name__ == "__main__":
    main()
