"""Vectors of a provider's model over OpenAI's protocol (`/embeddings`), and whether such a model answers at all.

`ProviderVectors` is the embedder of collections: many texts go in requests that any server of the protocol takes,
faults that pass are tried again as long as the deadline lets them, and every vector is checked before it is believed.
"""

from __future__ import annotations

import json
import random
import threading
import time
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import orjson

from domain.inference.chat import Passing, Refused
from domain.inference.drivers import addresses
from domain.inference.ports import Deadline, InvalidOutput, TimedOut, Vector
from domain.kernel import outgoing
from domain.kernel.errors import DomainError, LimitExceeded, Unavailable

OPENAI = "https://api.openai.com/v1"
GEMINI = "https://generativelanguage.googleapis.com/v1beta/openai"
TEXTS, CHARACTERS = 32, 60_000
"""Of one request: what the smallest of the usual servers take (Text Embeddings Inference: 32 texts), and far below the
300,000 tokens that OpenAI takes."""
SHORTEST = 500
"""Characters that no model finds too long: what is refused at this length is refused for another reason."""
SECONDS = 60.0
"""For one call where nobody says less."""
TRIES = 5
CACHED = 512
"""Questions that are remembered."""
SHORTENED = ("text-embedding-3-", "gemini-embedding-")
"""Models whose vectors have the size that is asked for."""


class ProviderVectors:
    """Embedder. Nothing is sent before the first text. `base_url` is the operator's own and may be private."""

    def __init__(self, name: str, model: str, dimensions: int, key: str, base_url: str | None = None) -> None:
        self.name, self.dimensions = name, dimensions
        self._url = f"{(base_url or OPENAI).rstrip('/')}/embeddings"
        self._headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        self._body: dict[str, Any] = {"model": model, "encoding_format": "float"}
        if model.removeprefix("models/").startswith(SHORTENED):
            self._body["dimensions"] = dimensions
        # A client of its own: a slow provider takes no place from calls to others.
        self._client = outgoing.Client(allow=("0.0.0.0/0", "::/0"), seconds=SECONDS, at_once=32)
        self._cache: OrderedDict[str, Vector] = OrderedDict()
        self._lock = threading.Lock()

    def warm(self) -> None:
        """Nothing is loaded here, and no provider is called before there is something to ask."""

    def embed(self, texts: Sequence[str], deadline: Deadline | None = None) -> Vector:
        """As `Embedder.embed`. Raises `Refused`, `LimitExceeded` (fact `retry_after`), `Unavailable` (also `Passing`),
        `InvalidOutput` for vectors that are none or of another size, `TimedOut`. No message repeats the provider's."""
        deadline = deadline or Deadline(SECONDS)
        asked = [text.encode("utf-8", "replace").decode().replace("\0", " ").strip() or "." for text in texts]
        if len(asked) == 1:
            return self._remembered(asked[0], deadline)
        rows = np.zeros((len(asked), self.dimensions), np.float32)
        start = 0
        while start < len(asked):
            end, size = start + 1, len(asked[start])
            while end < len(asked) and end - start < TEXTS and size + len(asked[end]) <= CHARACTERS:
                size += len(asked[end])
                end += 1
            rows[start:end] = self._some(asked[start:end], deadline)
            start = end
        return rows

    def _remembered(self, text: str, deadline: Deadline) -> Vector:
        with self._lock:
            if (known := self._cache.get(text)) is not None:
                self._cache.move_to_end(text)
                return known.copy()
        made = self._some([text], deadline)
        with self._lock:
            self._cache[text] = made
            if len(self._cache) > CACHED:
                self._cache.popitem(last=False)
        return made.copy()

    def _some(self, texts: list[str], deadline: Deadline) -> Vector:
        """Texts that fit a request. What the server finds too much is asked for in halves."""
        try:
            return self._asked(texts, deadline)
        except _TooMuch:
            if len(texts) > 1:
                middle = len(texts) // 2
                return np.vstack([self._some(texts[:middle], deadline), self._some(texts[middle:], deadline)])
            if len(texts[0]) <= SHORTEST:
                raise Refused("The embedding model does not take this text.", reason="refused") from None
            # A text longer than the model sees: the mean of its parts, each as much as it is long.
            first, second = _halves(texts[0])
            parts = np.vstack([self._some([first], deadline), self._some([second], deadline)])
            return _unit(np.average(parts, axis=0, weights=[len(first), len(second)])[None, :].astype(np.float32))

    def _asked(self, texts: list[str], deadline: Deadline) -> Vector:
        body = orjson.dumps(self._body | {"input": texts})
        for attempt in range(1, TRIES + 1):
            if deadline.over:
                raise TimedOut("The embedding model did not answer in time.")
            try:
                return self._once(body, len(texts), deadline)
            except (LimitExceeded, Unavailable, Passing, outgoing.UpstreamFailed) as fault:
                if deadline.over:
                    raise TimedOut("The embedding model did not answer in time.") from None
                wait = _pause(attempt, fault)
                # Waiting until the deadline would leave no time to ask: whoever called may come back later.
                if attempt == TRIES or wait >= deadline.remaining() / 2:
                    if isinstance(fault, outgoing.UpstreamFailed):
                        raise Unavailable("The embedding model's server cannot be reached.") from None
                    raise
                time.sleep(wait)
        raise AssertionError

    def _once(self, body: bytes, count: int, deadline: Deadline) -> Vector:
        answer = self._client.post(
            self._url,
            headers=self._headers,
            content=body,
            seconds=max(0.05, min(deadline.remaining(), SECONDS)),
            max_bytes=(1 << 16) + 40 * self.dimensions * count,
        )
        if answer.status in (400, 413, 422):
            raise _TooMuch
        if answer.status == 429 and not _spent(answer):
            raise LimitExceeded("The embedding model's provider is limiting requests.", **_later(answer))
        if answer.status in (408, 409, 425) or answer.status >= 500:
            raise Unavailable("The embedding model is not available right now.", **_later(answer))
        if not answer.ok:
            raise _refused(answer)
        return self._vectors(answer, count)

    def _vectors(self, answer: outgoing.Answer, count: int) -> Vector:
        rows = np.zeros((count, self.dimensions), np.float32)
        seen = set()
        try:
            for place, item in enumerate(answer.json()["data"]):
                index = int(item.get("index", place))
                with np.errstate(over="ignore"):  # what is too large becomes infinite, and is seen below
                    vector = np.asarray(item["embedding"], np.float32)
                if vector.ndim == 1 and vector.size != self.dimensions:
                    raise InvalidOutput(
                        f"The embedding model {self.name} answers vectors of {vector.size} numbers, "
                        f"not {self.dimensions}. See the setting `embeddings`."
                    )
                if not 0 <= index < count:
                    raise InvalidOutput
                rows[index] = vector
                seen.add(index)
        except outgoing.UpstreamFailed:
            raise Passing from None  # not JSON: a page of a proxy, or half an answer
        except (KeyError, TypeError, ValueError, AttributeError, OverflowError):
            raise InvalidOutput("The embedding model's answer was not usable.") from None
        if len(seen) != count or not np.isfinite(rows).all():
            raise InvalidOutput("The embedding model's answer was not usable.")
        return _unit(rows)


class _TooMuch(DomainError):
    """The server does not take this many texts, or a text this long; or it refuses for a reason of its own."""


def _unit(rows: Vector) -> Vector:
    lengths = np.linalg.norm(rows, axis=1, keepdims=True)
    if (lengths < 1e-9).any():
        raise InvalidOutput("The embedding model answered a vector without a direction.")
    unit: Vector = rows / lengths
    return unit


def _halves(text: str) -> tuple[str, str]:
    middle = len(text) // 2
    blank = text.rfind(" ", middle // 2, middle)
    cut = blank if blank > 0 else middle
    return text[:cut].strip() or ".", text[cut:].strip() or "."


def _pause(attempt: int, fault: DomainError) -> float:
    """Seconds before the next attempt: as long as the provider says, else doubling, spread."""
    said = fault.facts.get("retry_after")
    return float(said) if said else 0.25 * 2.0 ** (attempt - 1) * random.uniform(0.75, 1.25)  # noqa: S311


def _later(answer: outgoing.Answer) -> dict[str, int]:
    """The fact `retry_after`, where the provider says it."""
    return {} if (said := answer.retry_after) is None else {"retry_after": said}


def _spent(answer: outgoing.Answer) -> bool:
    """Money ran out, which no waiting mends; OpenAI says it with the status of a limit."""
    return b'"insufficient_quota"' in answer.content


def _refused(answer: outgoing.Answer) -> Refused:
    if answer.status == 401:
        return Refused("The embedding model's provider does not take the key.", reason="invalid_key")
    if answer.status == 403:
        return Refused("The key has no access to the embedding model.", reason="no_access")
    if answer.status == 404:
        return Refused("The provider knows no such embedding model.", reason="unknown_model")
    if answer.status in (402, 429):
        return Refused("The provider's quota for embeddings is used up.", reason="quota_exceeded")
    return Refused("The embedding model's provider refused the request.", reason="refused")


# --- on trial ---------------------------------------------------------------------------------------------


def dimensions_of(given: Mapping[str, Any], deadline: Deadline) -> int:
    """Send one short text. `given`: provider, key, address, model. Raises `Refused`, `Passing`, `LimitExceeded`."""
    url, headers = _place(given)
    addresses.judge(url)
    answer = outgoing.client().post(
        url,
        headers=headers | {"Content-Type": "application/json"},
        content=json.dumps({"model": given["model"], "input": "ok"}).encode(),
        seconds=deadline.remaining(),
        max_bytes=1 << 20,
    )
    if answer.status == 401:
        raise Refused("The model's provider does not take the key.", reason="invalid_key")
    if answer.status == 403:
        raise Refused("The key has no access to the model.", reason="no_access")
    if answer.status == 404:
        raise Refused("The model's provider knows no such model.", reason="unknown_model")
    if answer.status == 429:
        raise LimitExceeded("The model's provider is limiting requests.", reason="quota_exceeded", retry_after=5)
    if not answer.ok:
        raise Passing if answer.status >= 500 else Refused(reason="refused")
    try:
        return len(answer.json()["data"][0]["embedding"])
    except (KeyError, IndexError, TypeError) as wrong:
        raise Passing from wrong


def _place(given: Mapping[str, Any]) -> tuple[str, dict[str, str]]:
    address = given["address"]
    if given["provider"] == "azure_openai":
        base = str(address["endpoint"]).rstrip("/")
        version = address.get("api_version") or "2024-10-21"
        return f"{base}/openai/deployments/{given['model']}/embeddings?api-version={version}", {"api-key": given["key"]}
    if given["provider"] == "vertex_ai":
        raise Refused("Embeddings of Vertex AI cannot be used with a key file here yet.", reason="no_access")
    base = GEMINI if given["provider"] == "gemini" else str(address.get("base_url") or OPENAI).rstrip("/")
    return f"{base}/embeddings", {"Authorization": f"Bearer {given['key']}"}
