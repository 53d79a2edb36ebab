"""Identity: organisations, accounts and what ties them together, and every proof of who somebody is.

Verbs stand in modules by noun: `accounts`, `signin`, `sessions`, `memberships`, `keys`, ... Every change leaves an
audit entry; a revocation reaches every process with its commit.
"""

from __future__ import annotations

from domain.identity import (
    accounts,
    captcha,
    clients,
    invites,
    links,
    memberships,
    nonces,
    onetime,
    organisations,
    passwords,
    policies,
    revocations,
    roles,
    rules,
    service_accounts,
    sessions,
    signin,
    tokens,
    upkeep,
)
from domain.identity.keys import (
    VerifiedKey,
    get_api_key,
    issue_api_key,
    list_api_keys,
    revoke_api_key,
    verify_api_key,
)
from domain.identity.models import Account, ApiKey, Membership, Organisation, UserSession
from domain.identity.organisations import (
    close_organisation,
    create_organisation,
    find_organisation,
    get_organisation,
)

__all__ = [
    "Account",
    "ApiKey",
    "Membership",
    "Organisation",
    "UserSession",
    "VerifiedKey",
    "accounts",
    "captcha",
    "clients",
    "close_organisation",
    "create_organisation",
    "find_organisation",
    "get_api_key",
    "get_organisation",
    "invites",
    "issue_api_key",
    "links",
    "list_api_keys",
    "memberships",
    "nonces",
    "onetime",
    "organisations",
    "passwords",
    "policies",
    "revocations",
    "revoke_api_key",
    "roles",
    "rules",
    "service_accounts",
    "sessions",
    "signin",
    "tokens",
    "upkeep",
    "verify_api_key",
]
