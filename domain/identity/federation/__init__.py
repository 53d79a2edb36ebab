"""Signing in through others: OAuth and OpenID Connect providers, and SAML identity providers.

`flows` and `saml_flow` are the verbs; `registry.bind(settings)` is called once at start-up. Nothing else of it is for
other contexts.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from domain.kernel.lazily import offers

if TYPE_CHECKING:
    from domain.identity.federation import flows, registry, saml_flow
else:
    __getattr__ = offers(__name__, __file__)

__all__ = ["flows", "registry", "saml_flow"]
