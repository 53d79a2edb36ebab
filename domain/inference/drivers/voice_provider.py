"""Text to speech with OpenAI, or a server that speaks its protocol (`/audio/speech`); and the driver of an installation
that has no voice."""

from __future__ import annotations

from domain.inference.ports import Deadline, TimedOut
from domain.kernel.errors import Unavailable, Unprocessable

USUAL = "alloy"
"""The voice where nobody chooses one: every model of the protocol has it."""
MOST_BYTES = 1_400_000
"""Of one piece: what still fits an event."""


class ProviderVoice:
    """Speaker. Nothing is sent before the first words."""

    media_type = "audio/mpeg"

    def __init__(self, model: str, key: str, base_url: str | None) -> None:
        self._model = model
        self._key = key
        self._base_url = base_url

    def available(self) -> None:
        """A provider is: whether it can be reached shows when it is asked."""

    def say(self, text: str, deadline: Deadline, *, voice: str | None = None) -> bytes:
        deadline.check()
        import openai

        client = openai.OpenAI(
            api_key=self._key, base_url=self._base_url, timeout=max(0.1, deadline.remaining()), max_retries=0
        )
        try:
            with client:
                spoken = client.audio.speech.create(
                    model=self._model, voice=voice or USUAL, input=text, response_format="mp3"
                ).content
        except openai.APITimeoutError:
            raise TimedOut from None
        except (openai.BadRequestError, openai.UnprocessableEntityError, openai.NotFoundError):
            raise Unprocessable("The provider's model does not speak this, or not with this voice.") from None
        except openai.OpenAIError:
            # Its text may repeat the key or the address.
            raise Unavailable("The provider that speaks is not available right now.") from None
        if len(spoken) > MOST_BYTES:
            raise Unprocessable("The provider's sound is larger than a piece may be.")
        return spoken


class Mute:
    """Speaker of an installation without a voice."""

    media_type = "audio/mpeg"

    def available(self) -> None:
        raise Unprocessable("This server has no voice: set `voice` to a provider's model, such as `openai:tts-1`.")

    def say(self, text: str, deadline: Deadline, *, voice: str | None = None) -> bytes:
        self.available()
        raise AssertionError
