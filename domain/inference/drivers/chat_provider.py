"""Chat with a provider's model through pydantic-ai: OpenAI, Anthropic, Gemini, Mistral, xAI, OpenRouter, Azure OpenAI,
Vertex AI, and any server that speaks OpenAI's protocol.

Imported with the first use (1.6 s, 145 MB) or when a worker warms up. Calls share an event loop and certificates; each
has a client of its own. The client's own retries are off: what may be tried again is decided in
`domain.inference.chat`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import math
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from domain.inference.chat import ChatRequest, Emit, End, Message, Passing, Refused, ToolCall
from domain.inference.drivers import addresses, shared_loop
from domain.inference.ports import Deadline, TimedOut, Usage
from domain.kernel.errors import DomainError, LimitExceeded

XAI = "https://api.x.ai/v1"
_ALL = (
    "pydantic_ai.direct", "pydantic_ai.messages", "pydantic_ai.tools", "domain.inference.drivers.guarded_http",
    "anyio._backends._asyncio", "genai_prices.data",
)  # fmt: skip
_NEEDED = {
    "openai": (
        *_ALL,
        "pydantic_ai.models.openai",
        "pydantic_ai.providers.openai",
        "openai.resources.chat.completions.completions",
    ),
    "anthropic": (
        *_ALL,
        "pydantic_ai.models.anthropic",
        "pydantic_ai.providers.anthropic",
        "anthropic.resources.beta.messages.messages",
    ),
    **dict.fromkeys(("gemini", "vertex_ai"), (*_ALL, "pydantic_ai.models.google", "pydantic_ai.providers.google")),
    "mistral": (*_ALL, "pydantic_ai.models.mistral", "pydantic_ai.providers.mistral"),
}
"""Modules by vendor; those that are not named speak OpenAI's protocol."""
_THEIR_OWN = ("gemini", "vertex_ai", "mistral", "openrouter")
"""Make their client themselves, and close it when they are left."""
_importing = threading.Lock()
"""Turns run beside each other: two that import halves of one library at once could each meet the other's."""
MAX_TOKENS = 4096
"""Of an answer, where nobody says otherwise: Anthropic's protocol needs a number."""
GO_ON = (
    "The connection broke while you were answering. Your answer so far is your last message. Go on exactly behind its "
    "last character. Repeat nothing and do not mention this."
)


@dataclass(frozen=True)
class ProviderChat:
    """`key` is the API key, or the JSON of a service account with `vertex_ai`."""

    vendor: str
    model: str
    key: str = field(repr=False)
    base_url: str | None = None
    api_version: str | None = None
    project: str | None = None
    location: str | None = None
    guarded: bool = False
    """The address is a stranger's word: it is called only when outgoing requests may go there."""

    capable = True
    """It plans and judges as it is told, and what it is shown leaves the machine."""

    @property
    def name(self) -> str:
        return f"{self.vendor}:{self.model}"

    def warm(self) -> None:
        """Import what a call needs. Thread-safe."""
        with _importing:
            for name in _NEEDED.get(self.vendor, _NEEDED["openai"]):
                importlib.import_module(name)

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        self.warm()
        from pydantic_ai import exceptions

        if self.guarded and self.base_url is not None:
            addresses.judge(self.base_url)

        async def bounded() -> End:
            running = asyncio.ensure_future(self._stream(request, deadline, emit))
            while not running.done():
                await asyncio.wait([running], timeout=min(0.5, deadline.remaining() or 0.01))
                if deadline.over and not running.done():
                    running.cancel()
                    await asyncio.wait([running], timeout=0.5)
                    raise TimedOut
            return running.result()

        try:
            return shared_loop.run(bounded())
        except DomainError:
            raise
        except (exceptions.ModelTimeoutError, TimeoutError) as late:
            raise (TimedOut() if deadline.over else Passing()) from late
        except exceptions.ModelAPIError as problem:
            judged = _judged(problem)
            if self.guarded:
                judged.facts["own"] = True  # it is the person's key that was looked at
            raise judged from problem
        except exceptions.UserError as wrong:
            raise Refused("The provider cannot take a model of this name.", reason="unknown_model") from wrong
        except Exception as problem:  # what a garbled answer raises is the client library's affair: JSON, SSE, types
            raise Passing from problem

    async def _stream(self, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        from domain.inference.drivers import guarded_http

        seconds = max(1.0, deadline.remaining())
        if self.vendor in _THEIR_OWN:
            async with self._model() as model:
                return await self._speak(model, request, deadline, emit)
        guarded = self.guarded and self.base_url is not None
        async with guarded_http.client(seconds) if guarded else guarded_http.open_client(seconds) as http:
            return await self._speak(self._model(http), request, deadline, emit)

    async def _speak(self, model: Any, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        from pydantic_ai import messages as said
        from pydantic_ai.models import ModelRequestParameters
        from pydantic_ai.tools import ToolDefinition

        settings: Any = {
            "max_tokens": request.max_tokens or MAX_TOKENS,
            "timeout": deadline.remaining(),
            "max_retries": 0,
        }
        if request.temperature is not None:
            settings["temperature"] = request.temperature
        tools = [
            ToolDefinition(name=t.name, description=t.description, parameters_json_schema=dict(t.parameters))
            for t in request.tools
        ]
        from pydantic_ai.direct import model_request_stream

        async with model_request_stream(
            model,
            _history(request),
            model_settings=settings,
            model_request_parameters=ModelRequestParameters(function_tools=tools),
        ) as stream:
            async for event in stream:
                part = getattr(event, "part", None) if isinstance(event, said.PartStartEvent) else None
                delta = event.delta if isinstance(event, said.PartDeltaEvent) else None
                if isinstance(part, said.TextPart) and part.content:
                    emit("text", part.content)
                elif isinstance(delta, said.TextPartDelta) and delta.content_delta:
                    emit("text", delta.content_delta)
                elif isinstance(part, said.ThinkingPart) and part.content:
                    emit("reasoning", part.content)
                elif isinstance(delta, said.ThinkingPartDelta) and delta.content_delta:
                    emit("reasoning", delta.content_delta)
            response = stream.get()
        calls = tuple(
            ToolCall(p.tool_call_id, p.tool_name, _arguments(p))
            for p in response.parts
            if isinstance(p, said.ToolCallPart)
        )
        usage = Usage(self.name, int(response.usage.input_tokens or 0), int(response.usage.output_tokens or 0))
        finish = response.finish_reason
        # A connection that closes between two words looks like an end; a real one says why it is one. (The library
        # takes the first for `stop`; what the server itself has said stands in the details.)
        if finish is None or "finish_reason" not in (response.provider_details or {}):
            raise Passing
        return End(
            usage,
            calls,
            "tools" if calls else "length" if finish == "length" else "end",
            response.provider_response_id,
        )

    def _model(self, http: Any = None) -> Any:
        """`http`: what carries the calls; None for the library's own."""
        if self.vendor == "anthropic":
            from pydantic_ai.models.anthropic import AnthropicModel
            from pydantic_ai.providers.anthropic import AnthropicProvider

            return AnthropicModel(
                self.model, provider=AnthropicProvider(base_url=self.base_url, api_key=self.key, http_client=http)
            )
        if self.vendor in ("gemini", "vertex_ai"):
            return self._google()
        if self.vendor == "mistral":
            from pydantic_ai.models.mistral import MistralModel
            from pydantic_ai.providers.mistral import MistralProvider

            return MistralModel(self.model, provider=MistralProvider(api_key=self.key, base_url=self.base_url))
        from pydantic_ai.models.openai import OpenAIChatModel

        return OpenAIChatModel(self.model, provider=self._openai(http))

    def _openai(self, http: Any) -> Any:
        if self.vendor == "azure_openai":
            from pydantic_ai.providers.azure import AzureProvider

            return AzureProvider(
                azure_endpoint=self.base_url,
                api_version=self.api_version or "2024-10-21",
                api_key=self.key,
                http_client=http,
            )
        if self.vendor == "openrouter":
            from pydantic_ai.providers.openrouter import OpenRouterProvider

            return OpenRouterProvider(api_key=self.key)
        from pydantic_ai.providers.openai import OpenAIProvider

        base = XAI if self.vendor == "xai" and self.base_url is None else self.base_url
        return OpenAIProvider(base_url=base, api_key=self.key, http_client=http)

    def _google(self) -> Any:
        from pydantic_ai.models.google import GoogleModel

        if self.vendor == "gemini":
            from pydantic_ai.providers.google import GoogleProvider

            return GoogleModel(self.model, provider=GoogleProvider(api_key=self.key, base_url=self.base_url))
        from google.oauth2.service_account import Credentials
        from pydantic_ai.providers.google_cloud import GoogleCloudProvider

        try:
            account = Credentials.from_service_account_info(  # type: ignore[no-untyped-call]
                json.loads(self.key), scopes=["https://www.googleapis.com/auth/cloud-platform"]
            )
        except (ValueError, KeyError) as wrong:
            raise Refused("The service account's key file cannot be read.", reason="invalid_key") from wrong
        provider = GoogleCloudProvider(credentials=account, project=self.project, location=self.location)
        return GoogleModel(self.model, provider=provider)


def _history(request: ChatRequest) -> Sequence[Any]:
    from pydantic_ai import messages as said

    head: list[Any] = [said.SystemPromptPart(request.instructions)] if request.instructions else []
    history: list[Any] = []
    asked: list[Any] = list(head)
    for message in _alternating(request):
        if message.role == "assistant":
            if asked:
                history.append(said.ModelRequest(parts=asked))
                asked = []
            parts: list[Any] = [said.TextPart(message.text)] if message.text else []
            parts += [said.ToolCallPart(c.name, dict(c.arguments), c.id) for c in message.calls]
            history.append(said.ModelResponse(parts=parts))
        elif message.role == "tool":
            asked.append(said.ToolReturnPart(message.tool, message.text, message.call_id))
        else:
            asked.append(said.UserPromptPart(message.text))
    if asked:
        history.append(said.ModelRequest(parts=asked))
    return history


def _alternating(request: ChatRequest) -> list[Message]:
    messages = [m for m in request.messages if m.text or m.calls or m.role == "tool"]
    if request.partial:
        messages += [Message("assistant", request.partial), Message("user", GO_ON)]
    return messages


def _arguments(part: Any) -> Mapping[str, Any]:
    """What a model wrote as arguments; what is no JSON object goes on as one that no schema takes."""
    try:
        given = part.args_as_dict()
    except (ValueError, AssertionError):
        return {"": "not JSON"}
    return given if isinstance(given, dict) else {"": "not an object"}


def _judged(problem: Any) -> DomainError:
    """A provider's refusal in our words. Its own message may hold a credential, and stays behind."""
    from pydantic_ai import exceptions

    if isinstance(problem, exceptions.ModelQuotaExceededError):
        return Refused("The account with the model's provider is used up.", reason="quota_exceeded")
    if isinstance(problem, exceptions.ModelRateLimitError):
        wait = math.ceil(getattr(problem, "retry_after", None) or 5)
        return LimitExceeded("The model's provider is limiting requests.", retry_after=wait)
    if isinstance(problem, exceptions.ModelServerError | exceptions.ModelConnectionError):
        return Passing()
    status = getattr(problem, "status_code", 0)
    if status == 403:  # the key is known, and may not
        return Refused("The key has no access to the model.", reason="no_access")
    if isinstance(problem, exceptions.ModelAuthenticationError) or status == 401:
        return Refused("The model's provider does not take the key.", reason="invalid_key")
    if isinstance(problem, exceptions.ModelNotFoundError) or status == 404:
        return Refused("The model's provider knows no such model.", reason="unknown_model")
    if status == 429:
        return LimitExceeded("The model's provider is limiting requests.", retry_after=5)
    if status >= 500 or status == 0:
        return Passing()
    return Refused(reason="refused")
