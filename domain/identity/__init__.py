"""Identity: organisations, accounts and what ties them together, and every proof of who somebody is.

Verbs stand in modules by noun: `accounts`, `signin`, `sessions`, `memberships`, `keys`, ... Every change leaves an
audit entry; a revocation reaches every process with its commit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.identity import (
        accounts,
        captcha,
        clients,
        erasure,
        frames,
        groups,
        invites,
        languages,
        links,
        me,
        member_passwords,
        members,
        memberships,
        newcomers,
        nonces,
        onetime,
        operators,
        organisation_settings,
        organisations,
        passwords,
        personal_keys,
        pictures,
        policies,
        revocations,
        roles,
        rules,
        service_accounts,
        sessions,
        settings_tenant,
        setup,
        signin,
        signup,
        signup_settings,
        tokens,
        upkeep,
        vault,
        waitlist,
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
else:
    __getattr__ = offers(__name__, __file__)

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
    "erasure",
    "find_organisation",
    "frames",
    "get_api_key",
    "get_organisation",
    "groups",
    "invites",
    "issue_api_key",
    "languages",
    "links",
    "list_api_keys",
    "me",
    "member_passwords",
    "members",
    "memberships",
    "newcomers",
    "nonces",
    "onetime",
    "operators",
    "organisation_settings",
    "organisations",
    "passwords",
    "personal_keys",
    "pictures",
    "policies",
    "revocations",
    "revoke_api_key",
    "roles",
    "rules",
    "service_accounts",
    "sessions",
    "settings_tenant",
    "setup",
    "signin",
    "signup",
    "signup_settings",
    "tokens",
    "upkeep",
    "vault",
    "verify_api_key",
    "waitlist",
]
