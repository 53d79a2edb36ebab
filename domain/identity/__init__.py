"""Identity: organisations and their API keys. (Users, sessions and roles come with the surfaces that have them.)

Every change leaves an audit entry; a revocation reaches every process with its commit.
"""

from __future__ import annotations

from domain.identity import revocations
from domain.identity.keys import (
    VerifiedKey,
    get_api_key,
    issue_api_key,
    list_api_keys,
    revoke_api_key,
    verify_api_key,
)
from domain.identity.models import ApiKey, Organisation
from domain.identity.organisations import (
    close_organisation,
    create_organisation,
    find_organisation,
    get_organisation,
)

__all__ = [
    "ApiKey",
    "Organisation",
    "VerifiedKey",
    "close_organisation",
    "create_organisation",
    "find_organisation",
    "get_api_key",
    "get_organisation",
    "issue_api_key",
    "list_api_keys",
    "revocations",
    "revoke_api_key",
    "verify_api_key",
]
