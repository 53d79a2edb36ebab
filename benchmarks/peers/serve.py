"""One server process: `serve.py NAME --fd N [--database URL] [--access-log] [--freeze]`; uvicorn set as ours is."""

from __future__ import annotations

import argparse
import gc
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

import uvicorn  # noqa: E402

NAMES = ("thalweg", "fastapi-def", "fastapi-async", "litestar", "raw")


def application(name: str, database_url: str | None, access_log: bool) -> Any:
    if name == "thalweg":
        from peers.ours import Application

        return Application(database_url=database_url, access_log=access_log)
    if name.startswith("fastapi"):
        from peers import fastapi_app

        return fastapi_app.build(asynchronous=name.endswith("async"), database_url=database_url)
    if name == "litestar":
        from peers import litestar_app

        return litestar_app.build(database_url=database_url)
    from peers.raw_app import app

    return app


def _protocol(name: str) -> Any:
    """uvicorn's on httptools; ours with its limits on the head of a request."""
    if name != "thalweg":
        return "httptools"
    from thalweg.connection import Connection

    return Connection


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--database")
    parser.add_argument("--access-log", action="store_true")
    parser.add_argument("--freeze", action="store_true", help="for peers, what an API process of ours does anyway")
    given = parser.parse_args()
    served = application(given.name, given.database, given.access_log)
    if given.freeze:
        from thalweg.edge.serve import GC_THRESHOLDS  # not before: a peer's start is measured, too

        gc.collect()
        gc.freeze()
        gc.set_threshold(*GC_THRESHOLDS)
    config = uvicorn.Config(
        served,
        loop="uvloop",
        http=_protocol(given.name),
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=65,
    )
    uvicorn.Server(config).run(sockets=[socket.socket(fileno=given.fd)])


if __name__ == "__main__":
    main()
