"""An API process of the platform with a few operations beside its own that differ in their credentials alone.

    signed.py --fd N         # settings from the environment, as `thalweg serve` takes them

`/bench/open`, `/bench/signed` and `/bench/keyed` have the same handler and the same reply. They are served as
operations of Thallus: whoever asks is verified by what verifies its callers.
"""

from __future__ import annotations

import argparse
import gc
import socket
import sys
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT), str(ROOT / "src"), str(ROOT / "benchmarks")]

from thalweg.sparing import spare  # noqa: E402

BASE = "/bench"
SURFACE = "thallus"
SCHEMES: dict[str, Any] = {
    "bearerAuth": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-API-Key"},
}
CASES: dict[str, list[dict[str, list[str]]]] = {"open": [], "signed": [{"bearerAuth": []}], "keyed": [{"apiKey": []}]}


def document() -> dict[str, Any]:
    from peers import contract

    name = contract.name_of(contract.MIDDLE)
    bundle = contract.document()
    shown = bundle["paths"][f"/v1/{contract.MIDDLE}/{{id}}"]
    paths = {}
    for case, security in CASES.items():
        # Connexion completes security schemes in the document itself.
        operation = {**shown["get"], "operationId": f"{case}Item", "security": security}
        paths[f"/{case}/{{id}}"] = {"parameters": shown["parameters"], "get": operation}
    components = {**bundle["components"], "securitySchemes": SCHEMES}
    components["schemas"] = {key: bundle["components"]["schemas"][key] for key in (name, f"{name}Contact", "Error")}
    return {**bundle, "paths": paths, "components": components}


def application() -> Any:
    from connexion.resolver import Resolution, Resolver

    from peers.ours import Envelope, Handlers
    from thalweg.edge.plan import Surface
    from thalweg.edge.schema import Compiler
    from thalweg.edge.serve import create
    from thalweg.edge.specification import BundledSpecification

    class Same(Resolver):  # type: ignore[misc]
        def resolve(self, operation: Any) -> Resolution:
            return Resolution(Handlers.get, operation.operation_id)

    process = create()
    bundle = document()
    surface = Surface(SURFACE, BASE, Envelope, Compiler(bundle), lambda operation_id: None)
    process.edge.add_api(BundledSpecification(bundle), base_path=BASE, surface=surface, resolver=Same())
    return process


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--fd", type=int, required=True)
    given = parser.parse_args()
    gc.disable()
    spare()
    from uvicorn.config import Config
    from uvicorn.server import Server

    from thalweg import logs
    from thalweg.connection import Connection

    logs.configure("warning", "json")
    config = Config(
        application(),
        loop="uvloop",
        http=Connection,
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=65,
    )
    Server(config).run(sockets=[socket.socket(fileno=given.fd)])


if __name__ == "__main__":
    main()
