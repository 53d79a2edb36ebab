"""XML from strangers: no DTD, no entities, no instructions, no network, UTF-8 alone, of a bearable size."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from lxml import etree

    Element = etree._Element

MAX_BYTES = 256 * 1024
MAX_ELEMENTS = 5_000

SAML = "urn:oasis:names:tc:SAML:2.0:assertion"
SAMLP = "urn:oasis:names:tc:SAML:2.0:protocol"
MD = "urn:oasis:names:tc:SAML:2.0:metadata"
DS = "http://www.w3.org/2000/09/xmldsig#"


class Unreadable(ValueError):
    """Not XML that is taken from strangers."""


def parse(data: bytes, most: int = MAX_BYTES) -> Element:
    """The root element. Raises `Unreadable`.

    A document type is refused before the parser sees it: with it would come entities, and with those expansion and
    files. Other encodings are refused with it, because they could hide one.
    """
    if not 0 < len(data) <= most or b"\x00" in data or b"<!DOCTYPE" in data.upper() or b"<!ENTITY" in data.upper():
        raise Unreadable
    from lxml import etree  # 4 MiB that only SAML needs

    try:
        data.decode("utf-8")
        root = etree.fromstring(data, parser())
    except (UnicodeDecodeError, etree.XMLSyntaxError, ValueError):
        raise Unreadable from None
    info = root.getroottree().docinfo
    if info.internalDTD is not None or info.externalDTD is not None:
        raise Unreadable
    for number, node in enumerate(root.iter()):
        if number > MAX_ELEMENTS or isinstance(node, etree._ProcessingInstruction | etree._Entity):
            raise Unreadable
    return root


def parser() -> etree.XMLParser:
    """A fresh parser: they keep state and are not shared between threads."""
    from lxml import etree  # late, as in `parse`

    return etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
    )


def named(namespace: str, name: str) -> str:
    """lxml's name of an element."""
    return f"{{{namespace}}}{name}"


def children(parent: Element, namespace: str, name: str) -> list[Element]:
    """Direct children of that name."""
    return parent.findall(named(namespace, name))


def text(element: Element | None) -> str | None:
    """The text of an element that holds nothing else, stripped; None for an absent, empty or mixed one."""
    if element is None or len(element) > 0:
        return None
    return (element.text or "").strip() or None
