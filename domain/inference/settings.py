"""What an installation may say about its models. Checked with marshmallow: it comes from files and the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from marshmallow import RAISE, Schema, ValidationError, fields, post_load, validate, validates_schema

MODELS = ("extractive", "demo", "openai", "anthropic")
SIZES = (384, 768, 1024, 1536)
"""Numbers that a vector may have here."""
KNOWN = {"text-embedding-3-small": 1536, "text-embedding-3-large": 1536, "text-embedding-ada-002": 1536}
"""Sizes of models whose name says enough. What is larger by nature (`3-large`: 3072) is asked for in this one."""


@dataclass(frozen=True, slots=True)
class VectorModel:
    """A provider's embedding model, as `openai:<model>` or `openai:<model>@<size>` names it."""

    model: str
    dimensions: int

    @property
    def name(self) -> str:
        """What collections keep and partners read. Vectors of another size are another model's."""
        usual = KNOWN.get(self.model) == self.dimensions
        return f"openai:{self.model}" if usual else f"openai:{self.model}@{self.dimensions}"

    @classmethod
    def of(cls, entry: str) -> VectorModel:
        """Raises `ValueError` that says what is missing."""
        driver, _, rest = entry.partition(":")
        model, _, size = rest.rpartition("@")
        if not (model and size.isdecimal()):  # a name may hold an `@` of its own
            model, size = rest, str(KNOWN.get(rest, ""))
        if driver != "openai" or not model or len(model) > 100:
            raise ValueError("each is `minilm`, `openai:<name>` or `openai:<name>@<size>`")
        if not size:
            raise ValueError(f"the size of the vectors of {model} has to be said: `{entry}@<size>`")
        if int(size) not in SIZES:
            raise ValueError(f"vectors have {', '.join(map(str, SIZES[:-1]))} or {SIZES[-1]} numbers here, not {size}")
        return cls(model, int(size))


@dataclass(frozen=True, slots=True)
class InferenceSettings:
    model: str = "extractive"
    """The language model that roles run on unless a brain or an invocation names another."""
    openai_api_key: str | None = field(default=None, repr=False)
    openai_base_url: str | None = None
    openai_model: str = "gpt-4.1-mini"
    anthropic_api_key: str | None = field(default=None, repr=False)
    anthropic_base_url: str | None = None
    anthropic_model: str = "claude-haiku-4-5"
    images: bool = False
    """The provider's model sees images."""
    embeddings: tuple[str, ...] = ("minilm",)
    """Embedding models of collections, the first that of new ones: `minilm`, `openai:<name>`, `openai:<name>@<size>`.
    What else has vectors (memory, conversations, intents) has them of `minilm`."""
    embeddings_api_key: str | None = field(default=None, repr=False)
    embeddings_base_url: str | None = None
    """Where the embedding models are, if not where `openai_base_url` says."""
    speech: str = "auto"
    """`auto` or `whisper`: the extra's model; `off`; `openai:<name>`; or a name or folder that faster-whisper knows."""
    voice: str = "off"
    """What says answers aloud: `off` or `openai:<name>`."""
    threads: int = 2
    """Threads of each model that runs in this process."""


class _Settings(Schema):
    class Meta:
        unknown = RAISE

    model = fields.String(validate=validate.OneOf(MODELS))
    openai_api_key = fields.String(allow_none=True, validate=validate.Length(min=1, max=500))
    openai_base_url = fields.Url(allow_none=True, schemes={"http", "https"}, require_tld=False)
    openai_model = fields.String(validate=validate.Length(min=1, max=200))
    anthropic_api_key = fields.String(allow_none=True, validate=validate.Length(min=1, max=500))
    anthropic_base_url = fields.Url(allow_none=True, schemes={"http", "https"}, require_tld=False)
    anthropic_model = fields.String(validate=validate.Length(min=1, max=200))
    images = fields.Boolean()
    embeddings = fields.List(fields.String(validate=validate.Length(1, 120)), validate=validate.Length(1, 8))
    embeddings_api_key = fields.String(allow_none=True, validate=validate.Length(min=1, max=500))
    embeddings_base_url = fields.Url(allow_none=True, schemes={"http", "https"}, require_tld=False)
    speech = fields.String(validate=validate.Length(min=1, max=500))
    voice = fields.String(validate=validate.Regexp(r"\A(off|openai:\S{1,200})\Z"))
    threads = fields.Integer(validate=validate.Range(1, 64))

    @validates_schema
    def _keys(self, data: dict[str, Any], **_: Any) -> None:
        chosen = data.get("model")
        # A server of one's own needs no key; the provider's own does.
        if chosen == "openai" and not data.get("openai_api_key") and not data.get("openai_base_url"):
            raise ValidationError("needed for the model `openai`", "openai_api_key")
        if chosen == "anthropic" and not data.get("anthropic_api_key"):
            raise ValidationError("needed for the model `anthropic`", "anthropic_api_key")
        if data.get("images") and chosen not in ("openai", "anthropic"):
            raise ValidationError("only a provider's model can see images", "images")

    @validates_schema
    def _vectors(self, data: dict[str, Any], **_: Any) -> None:
        named = [entry for entry in data.get("embeddings", ()) if entry != "minilm"]
        try:
            names = [VectorModel.of(entry).name for entry in named]
        except ValueError as wrong:
            raise ValidationError(str(wrong), "embeddings") from None
        if len(set(names)) < len(names):
            raise ValidationError("one is named twice", "embeddings")
        if names and not any(
            data.get(key) for key in ("embeddings_api_key", "embeddings_base_url", "openai_api_key", "openai_base_url")
        ):
            raise ValidationError("a provider's model needs embeddings_api_key or openai_api_key", "embeddings")

    @post_load
    def _made(self, data: dict[str, Any], **_: Any) -> InferenceSettings:
        if "embeddings" in data:
            data["embeddings"] = tuple(data["embeddings"])
        return InferenceSettings(**data)


def checked(settings: Mapping[str, Any]) -> InferenceSettings:
    """Raises `ValueError` that names each wrong setting and never repeats its value (it may be a key)."""
    try:
        loaded: InferenceSettings = _Settings().load(
            {key: value for key, value in settings.items() if value is not None}
        )
    except ValidationError as wrong:
        said = "; ".join(f"{name}: {_words(why)}" for name, why in sorted(wrong.messages_dict.items()))
        raise ValueError(f"inference settings: {said}") from None
    return loaded


def _words(messages: Any) -> str:
    return " ".join(map(str, messages)) if isinstance(messages, list) else str(messages)
