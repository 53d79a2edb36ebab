"""SAML requests: sending a browser to the identity provider, and knowing the answer again.

Nothing is stored when a request is made, since anybody may have one made: its ID proves by itself which organisation it
was made for, until when, and for which browser, under a key of this installation. An answer to it is taken once, and
from that browser alone: it cannot be slipped into another person's.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import zlib
from datetime import UTC, datetime
from uuid import UUID

from domain.identity.federation import rules
from domain.identity.federation.saml_metadata import POST, IdentityProvider, ServiceProvider
from domain.identity.federation.xml import SAML, SAMLP, named
from domain.kernel import crypto

_PURPOSE = "saml request"
_MAC = 16


def url(idp: IdentityProvider, sp: ServiceProvider, now: datetime, browser: str, return_to: str = "/") -> str | None:
    """Where to send a browser that wants to sign in (redirect binding); None where the provider takes none.

    `browser`: the secret that its cookie holds.
    """
    if idp.sign_in_url is None:
        return None
    from lxml import etree  # late: only SAML needs it

    root = etree.Element(
        named(SAMLP, "AuthnRequest"),
        {
            "ID": new_id(idp.organisation_id, now, browser),
            "Version": "2.0",
            "IssueInstant": now.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
            "Destination": idp.sign_in_url,
            "AssertionConsumerServiceURL": sp.consumer_url,
            "ProtocolBinding": POST,
        },
        nsmap={"samlp": SAMLP, "saml": SAML},
    )
    etree.SubElement(root, named(SAML, "Issuer")).text = sp.entity_id
    # Bindings 3.4.4.1: raw DEFLATE, base64, percent-encoding.
    packed = zlib.compress(etree.tostring(root), 9)[2:-4]
    given = {"SAMLRequest": base64.b64encode(packed).decode("ascii")}
    if return_to != "/":
        given["RelayState"] = rules.own_path(return_to)
    return rules.with_query(idp.sign_in_url, **given)


def new_id(organisation_id: UUID, now: datetime, browser: str) -> str:
    """An ID that says what it was made for: expiry, organisation, chance, and a proof over these and the browser."""
    expires = int((now + rules.FLOW_LIFE).timestamp())
    told = expires.to_bytes(6, "big") + organisation_id.bytes + secrets.token_bytes(8)
    proof = _proof(crypto.ring().derived(_PURPOSE)[0], told, browser)
    return "_" + base64.urlsafe_b64encode(told + proof).decode("ascii").rstrip("=")


def is_ours(request_id: str, organisation_id: UUID, now: datetime, browser: str | None) -> bool:
    """Whether a request with that ID was made here, for that organisation and browser, and may still be answered."""
    if browser is None or not request_id.startswith("_") or not 2 <= len(request_id) <= 128:
        return False
    plain = request_id[1:]
    try:
        raw = base64.urlsafe_b64decode(plain + "=" * (-len(plain) % 4))
    except (ValueError, binascii.Error):
        return False
    told, proof = raw[:-_MAC], raw[-_MAC:]
    if len(told) != 6 + 16 + 8:
        return False
    if not any(crypto.same(proof, _proof(key, told, browser)) for key in crypto.ring().derived(_PURPOSE)):
        return False
    return told[6:22] == organisation_id.bytes and now.timestamp() < int.from_bytes(told[:6], "big")


def _proof(key: bytes, told: bytes, browser: str) -> bytes:
    # `told` has one length: where it ends and the browser begins is no question.
    return hmac.new(key, told + crypto.digest(browser), hashlib.sha256).digest()[:_MAC]
