"""A child process ends when its supervisor has ended."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time

__all__ = ["follow"]


def follow(parent: int) -> None:
    """Where the kernel has no leash (macOS), a thread that ends this process when its supervisor has ended."""
    if sys.platform == "linux":
        return

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os.kill(os.getpid(), signal.SIGKILL)

    threading.Thread(target=watch, name="leash", daemon=True).start()
