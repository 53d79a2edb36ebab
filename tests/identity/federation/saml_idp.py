"""A SAML identity provider on loopback: pysaml2's server makes the answers, libxmlsec signs them. Neither has anything
in common with what checks them."""

from __future__ import annotations

import base64
import warnings
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import flask
import xmlsec
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.x509.oid import NameOID
from lxml import etree

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from saml2 import BINDING_HTTP_POST, BINDING_HTTP_REDIRECT
    from saml2.config import IdPConfig
    from saml2.saml import NAMEID_FORMAT_PERSISTENT, NameID
    from saml2.server import Server
    from saml2.sigver import CryptoBackend

ALGORITHMS = {
    "sha256": (xmlsec.Transform.RSA_SHA256, xmlsec.Transform.SHA256),
    "sha512": (xmlsec.Transform.RSA_SHA512, xmlsec.Transform.SHA512),
    "sha1": (xmlsec.Transform.RSA_SHA1, xmlsec.Transform.SHA1),
}
TAGS = {
    "response": "{urn:oasis:names:tc:SAML:2.0:protocol}Response",
    "assertion": "{urn:oasis:names:tc:SAML:2.0:assertion}Assertion",
}


def key_pair(folder: Path, name: str, *, expired: bool = False) -> tuple[Path, Path]:
    """An RSA key and a certificate for it, as PEM files."""
    key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    ends = now - timedelta(days=1) if expired else now + timedelta(days=30)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(who)
        .issuer_name(who)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=30))
        .not_valid_after(ends)
        .sign(key, hashes.SHA256())
    )
    private, public = folder / f"{name}.key", folder / f"{name}.crt"
    private.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption()
        )
    )
    public.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return private, public


def sign(root: Any, what: str, key: Path, certificate: Path, algorithm: str = "sha256", *, mark: bool = True) -> None:
    """Sign an element of `root` (`response` or `assertion`) in place, with libxmlsec."""
    target = root if root.tag == TAGS[what] else root.find(f".//{TAGS[what]}")
    method, digest = ALGORITHMS[algorithm]
    signature = xmlsec.template.create(target, xmlsec.Transform.EXCL_C14N, method)
    issuer = target.find("{urn:oasis:names:tc:SAML:2.0:assertion}Issuer")
    issuer.addnext(signature)
    reference = xmlsec.template.add_reference(signature, digest, uri=f"#{target.get('ID')}")
    xmlsec.template.add_transform(reference, xmlsec.Transform.ENVELOPED)
    xmlsec.template.add_transform(reference, xmlsec.Transform.EXCL_C14N)
    if mark:
        xmlsec.template.add_x509_data(xmlsec.template.ensure_key_info(signature))
    xmlsec.tree.add_ids(root, ["ID"])
    context = xmlsec.SignatureContext()
    context.key = xmlsec.Key.from_file(str(key), xmlsec.KeyFormat.PEM)
    context.key.load_cert_from_file(str(certificate), xmlsec.KeyFormat.PEM)
    context.sign(signature)


class _NoSignatures(CryptoBackend):  # type: ignore[misc]
    """pysaml2 builds and reads; what it would sign with the command `xmlsec1` is signed by `sign` above."""

    version = "0"


class SamlIdp:
    """An identity provider that knows one service provider. `respond()` answers, `app` is its server."""

    def __init__(self, folder: Path, url: str, metadata: bytes | None = None) -> None:
        self.url = url
        self.key, self.certificate = key_pair(folder, "idp")
        self.entity_id = f"{url}/idp"
        settings = {
            "entityid": self.entity_id,
            "service": {
                "idp": {
                    "endpoints": {"single_sign_on_service": [(f"{url}/sso", BINDING_HTTP_REDIRECT)]},
                    "policy": {"default": {"lifetime": {"minutes": 5}, "name_form": None}},
                    "want_authn_requests_signed": False,
                }
            },
            "key_file": str(self.key),
            "cert_file": str(self.certificate),
            "crypto_backend": "XMLSecurity",
        }
        if metadata is not None:
            settings["metadata"] = {"inline": [metadata.decode()]}
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            self.server = Server(config=IdPConfig().load(settings))
        self.server.sec.crypto = _NoSignatures()
        self.app = flask.Flask("saml-idp")
        self.attributes: dict[str, Any] = {"mail": "ada@lovelace.example", "displayName": "Ada Lovelace"}
        self.app.add_url_rule("/sso", "sso", self._sso)
        self.app.add_url_rule("/metadata", "metadata", lambda: (self.metadata(), {"Content-Type": "text/xml"}))

    def metadata(self) -> bytes:
        lines = self.certificate.read_text().splitlines()[1:-1]
        return f"""<?xml version="1.0"?>
<md:EntityDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata" entityID="{self.entity_id}">
  <md:IDPSSODescriptor WantAuthnRequestsSigned="false"
      protocolSupportEnumeration="urn:oasis:names:tc:SAML:2.0:protocol">
    <md:KeyDescriptor use="signing"><ds:KeyInfo xmlns:ds="http://www.w3.org/2000/09/xmldsig#"><ds:X509Data>
      <ds:X509Certificate>{"".join(lines)}</ds:X509Certificate></ds:X509Data></ds:KeyInfo></md:KeyDescriptor>
    <md:SingleSignOnService Binding="urn:oasis:names:tc:SAML:2.0:bindings:HTTP-Redirect" Location="{self.url}/sso"/>
  </md:IDPSSODescriptor>
</md:EntityDescriptor>""".encode()

    def respond(
        self,
        sp_entity: str,
        acs: str,
        in_response_to: str | None = None,
        *,
        subject: str = "ada-persistent",
        change: Any = None,
        signed: tuple[str, ...] = ("assertion",),
        algorithm: str = "sha256",
        key: tuple[Path, Path] | None = None,
        after: Any = None,
    ) -> str:
        """A posted `SAMLResponse`. `change(root)` before it is signed, `after(root)` once it is."""
        made = self.server.create_authn_response(
            identity=self.attributes,
            in_response_to=in_response_to or "",
            destination=acs,
            sp_entity_id=sp_entity,
            name_id=NameID(format=NAMEID_FORMAT_PERSISTENT, text=subject),
            authn={"class_ref": "urn:oasis:names:tc:SAML:2.0:ac:classes:PasswordProtectedTransport"},
            sign_assertion=False,
            sign_response=False,
        )
        root = etree.fromstring(str(made).encode())
        if in_response_to is None:
            for node in root.iter():
                node.attrib.pop("InResponseTo", None)
        if change is not None:
            change(root)
        for what in signed:
            sign(root, what, *(key or (self.key, self.certificate)), algorithm)
        if after is not None:
            root = after(root)
        return base64.b64encode(root if isinstance(root, bytes) else etree.tostring(root)).decode()

    def _sso(self) -> Any:
        """Takes a request of the service provider, and posts the answer through the browser."""
        given = flask.request.args
        request = self.server.parse_authn_request(given["SAMLRequest"], BINDING_HTTP_REDIRECT)
        message = request.message
        acs = message.assertion_consumer_service_url
        answer = self.respond(message.issuer.text, acs, message.id)
        return {"action": acs, "SAMLResponse": answer, "RelayState": given.get("RelayState"), "post": BINDING_HTTP_POST}


def request_id(url: str) -> str:
    """The ID of the request in a redirect to the identity provider."""
    import zlib

    packed = parse_qs(urlsplit(url).query)["SAMLRequest"][0]
    return str(etree.fromstring(zlib.decompress(base64.b64decode(packed), -15)).get("ID"))
