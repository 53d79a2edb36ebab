"""The floor: ASGI and orjson, no routing worth the name, no checks."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs
from uuid import UUID

import orjson

from peers import work


class Attributes:
    def __init__(self, values: dict[str, Any]) -> None:
        self.__dict__.update(values)


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
        return
    if scope["method"] == "POST":
        values = orjson.loads((await receive())["body"])
        values["contact"] = Attributes(values["contact"])
        status, answer = 201, work.created(Attributes(values))
    else:
        query = parse_qs(scope["query_string"].decode())
        item_id = UUID(scope["path"].rpartition("/")[2])
        status, answer = 200, work.shown(item_id, query["expand"][0], int(query["revision"][0]))
    body = orjson.dumps(answer)
    headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
