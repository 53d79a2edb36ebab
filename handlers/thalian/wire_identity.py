"""API keys as Thalian shows them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, cast

from handlers.wiring import timestamp

if TYPE_CHECKING:
    from collections.abc import Sequence

    from domain.identity import ApiKey
    from generated.thalian import responses


def _scope(key: ApiKey) -> Literal["read", "write"]:
    return cast("Literal['read', 'write']", key.scopes[0])


def api_key(key: ApiKey) -> responses.ApiKey:
    return {
        "id": str(key.id),
        "name": key.name,
        "prefix": key.prefix,
        "scope": _scope(key),
        "created_at": timestamp(key.created_at),
        "last_used_at": timestamp(key.last_used_at),
    }


def api_key_list(keys: Sequence[ApiKey]) -> responses.ApiKeyList:
    return {"keys": [api_key(key) for key in keys]}


def created_api_key(key: ApiKey, plain: str) -> responses.CreatedApiKey:
    return {
        "id": str(key.id),
        "key": plain,
        "prefix": key.prefix,
        "name": key.name,
        "scope": _scope(key),
        "created_at": timestamp(key.created_at),
    }


def revoked_api_key(key: ApiKey) -> responses.RevokedApiKey:
    assert key.revoked_at is not None
    return {"revoked": True, "revoked_at": timestamp(key.revoked_at)}
