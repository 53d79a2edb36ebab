"""Chat with the demo model: SmolLM2-135M in this process. It writes fluently and often wrongly, calls no tools of its
own accord, and is called a demo wherever its name appears."""

from __future__ import annotations

from typing import Any

from domain.inference.chat import ChatRequest, Emit, End, Passing, ToolCall
from domain.inference.drivers.chat_extractive import ExtractiveChat
from domain.inference.drivers.demo import Demo
from domain.inference.ports import Deadline, TimedOut, Usage

MATERIAL = 4000
"""Characters of passages that it is shown: its window is small."""


class DemoChat:
    """Searches as the extractive assistant does, for the model itself cannot choose tools; then it writes."""

    def __init__(self, demo: Demo, searcher: ExtractiveChat) -> None:
        self._demo = demo
        self._searcher = searcher

    @property
    def name(self) -> str:
        return self._demo.name

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        calls: tuple[ToolCall, ...] = () if request.partial else self._searcher.planned(request, deadline)
        if calls:
            return End(Usage(self.name), calls, "tools")
        usage: dict[str, Any] = {}
        broken: list[bool] = []

        def each(chunk: dict[str, Any]) -> bool:
            if "error" in chunk or "code" in chunk:
                broken.append(True)
            for choice in chunk.get("choices", ()):
                if words := choice.get("delta", {}).get("content"):
                    emit("text", words)
                usage["stop"] = choice.get("finish_reason") or usage.get("stop")
            usage.update(chunk.get("usage") or {})
            return deadline.over

        self._demo.chat(
            _messages(request), min(request.max_tokens or 400, 400), request.temperature or 0.0, each, deadline
        )
        if deadline.over:
            raise TimedOut
        if broken:
            raise Passing("The demo model could not take the question.")
        spent = Usage(self.name, int(usage.get("prompt_tokens", 0)), int(usage.get("completion_tokens", 0)))
        return End(spent, (), "length" if usage.get("stop") == "length" else "end")


def _messages(request: ChatRequest) -> list[dict[str, str]]:
    told = request.instructions[:1500]
    found = "\n".join(f"[{s.number}] {s.title}: {s.text}" for s in request.sources)[:MATERIAL]
    if found:
        told += f"\n\nPassages to answer from, with their numbers:\n{found}"
    said = [m for m in request.messages if m.role in ("user", "assistant") and m.text][-6:]
    messages = [{"role": "system", "content": told}]
    messages += [{"role": m.role, "content": m.text[-2000:]} for m in said]
    if request.partial:
        messages += [{"role": "assistant", "content": request.partial[-2000:]}, {"role": "user", "content": "Go on."}]
    return messages
