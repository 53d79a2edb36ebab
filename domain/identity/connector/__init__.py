"""The Nextcloud connector: first contact, tokens for its users, what happens to them, and their consent.

`bind(settings)` once at start-up.
"""

from __future__ import annotations

from typing import Protocol

from domain.identity.connector import claims, consents, events, instances, signature, users
from domain.kernel.settings import SecretSetting

__all__ = ["bind", "claims", "consents", "events", "instances", "signature", "users"]


class ConnectorSettings(Protocol):
    @property
    def connector_enrolment_key(self) -> SecretSetting | None: ...
    @property
    def privacy_notice(self) -> str | None: ...


def bind(settings: ConnectorSettings) -> None:
    """Give this process the enrolment key and the notice that people agree to."""
    key = settings.connector_enrolment_key
    signature.enrol_with(None if key is None else key.reveal())
    consents.ask_for(settings.privacy_notice)
