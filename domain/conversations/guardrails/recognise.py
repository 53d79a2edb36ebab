"""Finding what should not go out, by pattern and checksum. Pure and local: nothing is downloaded, nothing is learnt.

A number that its checksum proves counts 0.95; one that only looks like it counts less, and more again when a word
beside it says what it is.
"""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

Kind = Literal["pii", "custom_term", "unicode_smuggling"]


@dataclass(frozen=True, slots=True)
class Finding:
    """`text[start:end]` is of `category`, as sure as `score` (0 to 1)."""

    category: str
    start: int
    end: int
    score: float
    kind: Kind = "pii"


@dataclass(frozen=True, slots=True)
class _Recogniser:
    category: str
    pattern: re.Pattern[str]
    score: float
    proof: Callable[[str], bool] | None = None
    """A checksum: with it the score is `PROVED`, without it nothing is found."""
    words: re.Pattern[str] | None = None
    """Words close by that make a weak pattern sure."""
    group: int = 0


PROVED = 0.95
SURE = 0.9
_NEAR = 48
"""Characters before and after in which words count."""


def _luhn(text: str) -> bool:
    from stdnum import luhn

    digits = re.sub(r"\D", "", text)
    return 13 <= len(digits) <= 19 and len(set(digits)) > 1 and bool(luhn.is_valid(digits))


def _stdnum(module: str) -> Callable[[str], bool]:
    def valid(text: str) -> bool:
        from importlib import import_module

        return bool(import_module(f"stdnum.{module}").is_valid(text))

    return valid


def _ip(text: str) -> bool:
    import ipaddress

    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _words(text: str) -> re.Pattern[str]:
    return re.compile(rf"\b(?:{text})\b", re.IGNORECASE)


RECOGNISERS: tuple[_Recogniser, ...] = (
    _Recogniser(
        "email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{2,63}){1,4}\b"), 0.95
    ),
    _Recogniser(
        "phone",
        re.compile(r"(?<![\w+.-])\+[1-9]\d{0,2}[ .-]?(?:\(\d{1,4}\)[ .-]?)?\d{2,4}(?:[ .-]?\d{2,4}){2,4}(?![\w-])"),
        0.85,
    ),
    _Recogniser(
        "phone",
        re.compile(r"(?<![\w+.-])\(?0\d{1,4}\)?[ .-]?\d{2,4}(?:[ .-]?\d{2,4}){1,3}(?![\w-])"),
        0.5,
        words=_words("phone|tel(?:efoon|ephone|efon)?|mobile|cell|call|fax|gsm|whatsapp"),
    ),
    _Recogniser(
        "iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?\b"), 0.9, _stdnum("iban")
    ),
    _Recogniser("credit_card", re.compile(r"(?<![\d.-])\d(?:[ -]?\d){12,18}(?![\d-])"), 0.9, _luhn),
    _Recogniser(
        "bsn",
        re.compile(r"(?<![\d.-])\d{8,9}(?![\d-])"),
        0.4,
        _stdnum("nl.bsn"),
        _words("bsn|burgerservicenummer|sofinummer|citizen service number"),
    ),
    _Recogniser(
        "tax_id_de",
        re.compile(r"(?<![\d.-])\d{2} ?\d{3} ?\d{3} ?\d{3}(?![\d-])"),
        0.5,
        _stdnum("de.idnr"),
        _words("steuer(?:-?id|identifikationsnummer)?|idnr|tax id"),
    ),
    _Recogniser(
        "nir_fr",
        re.compile(r"(?<![\d.-])[12] ?\d{2} ?[01]\d ?(?:\d{2}|2[AB]) ?\d{3} ?\d{3} ?\d{2}(?!\d)"),
        0.9,
        _stdnum("fr.nir"),
    ),
    _Recogniser(
        "nif_es",
        re.compile(r"\b(?:\d{8}|[XYZ]\d{7})-?[A-Z]\b"),
        0.9,
        lambda t: _stdnum("es.dni")(t) or _stdnum("es.nie")(t),
    ),
    _Recogniser(
        "codice_fiscale_it",
        re.compile(r"\b[A-Z]{6}\d{2}[A-EHLMPRST]\d{2}[A-Z]\d{3}[A-Z]\b", re.IGNORECASE),
        0.9,
        _stdnum("it.codicefiscale"),
    ),
    _Recogniser(
        "national_number_be",
        re.compile(r"(?<![\d.-])\d{2}[.]?\d{2}[.]?\d{2}[- ]?\d{3}[.]?\d{2}(?!\d)"),
        0.5,
        _stdnum("be.nn"),
        _words("rijksregister\\w*|registre national|national number|niss|insz"),
    ),
    _Recogniser(
        "nhs_number_gb", re.compile(r"(?<![\d.-])\d{3} ?\d{3} ?\d{4}(?![\d-])"), 0.4, _stdnum("gb.nhs"), _words("nhs")
    ),
    _Recogniser("nino_gb", re.compile(r"\b[A-CEGHJ-PR-TW-Z][A-CEGHJ-NPR-TW-Z] ?\d{2} ?\d{2} ?\d{2} ?[A-D]\b"), 0.85),
    _Recogniser("ssn_us", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"), 0.85, _stdnum("us.ssn")),
    _Recogniser("pesel_pl", re.compile(r"(?<![\d.-])\d{11}(?![\d-])"), 0.5, _stdnum("pl.pesel"), _words("pesel")),
    _Recogniser(
        "personnummer_se", re.compile(r"(?<![\d.-])(?:19|20)?\d{6}[-+]\d{4}(?!\d)"), 0.85, _stdnum("se.personnummer")
    ),
    _Recogniser("hetu_fi", re.compile(r"\b\d{6}[-+A]\d{3}[0-9A-Y]\b"), 0.9, _stdnum("fi.hetu")),
    _Recogniser("cpr_dk", re.compile(r"(?<![\d.-])\d{6}-\d{4}(?!\d)"), 0.4, _stdnum("dk.cpr"), _words("cpr")),
    _Recogniser("ahv_ch", re.compile(r"\b756[.]?\d{4}[.]?\d{4}[.]?\d{2}\b"), 0.9, _stdnum("ch.ssn")),
    _Recogniser(
        "vat_number",
        re.compile(r"\b(?:AT|BE|DE|DK|ES|FI|FR|IE|IT|LU|NL|PL|PT|SE)[ ]?[A-Z0-9]{8,12}\b"),
        0.8,
        _stdnum("eu.vat"),
    ),
    _Recogniser(
        "passport",
        re.compile(r"\b[A-Z]{1,2}[0-9A-Z]{6,8}\b"),
        0.3,
        words=_words("passport|paspoort|reisepass|passeport"),
    ),
    _Recogniser(
        "date_of_birth",
        re.compile(r"\b(?:\d{1,2}[./-]\d{1,2}[./-](?:19|20)\d{2}|(?:19|20)\d{2}-\d{2}-\d{2})\b"),
        0.3,
        words=_words("born|birth(?:day| ?date)?|dob|geboren|geburtsdatum|geboortedatum|naissance"),
    ),
    _Recogniser(
        "ip_address",
        re.compile(
            r"(?<![\w.])(?:\d{1,3}\.){3}\d{1,3}(?![\w.])"
            r"|(?<![\w:])(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}(?![\w:])",
            re.IGNORECASE,
        ),
        0.75,
        _ip,
    ),
    _Recogniser("mac_address", re.compile(r"\b(?:[0-9A-F]{2}[:-]){5}[0-9A-F]{2}\b", re.IGNORECASE), 0.8),
    _Recogniser("crypto_wallet", re.compile(r"\b(?:bc1[a-z0-9]{25,60}|0x[0-9a-fA-F]{40})\b"), 0.85),
    _Recogniser("private_key", re.compile(r"-----BEGIN [A-Z ]{0,30}PRIVATE KEY-----"), 0.99),
    _Recogniser(
        "access_key",
        re.compile(
            r"\b(?:sk-[A-Za-z0-9_-]{16,200}|AKIA[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{30,100}"
            r"|xox[abpr]-[A-Za-z0-9-]{10,100}|eyJ[\w-]{10,}\.[\w-]{10,}\.[\w-]{10,})"
        ),
        0.95,
    ),
    _Recogniser(
        "password",
        re.compile(r"\b(?:password|passwort|wachtwoord|mot de passe)\s*(?:is|ist|:|=)\s*(\S{4,100})", re.IGNORECASE),
        0.85,
        group=1,
    ),
    _Recogniser(
        "person",
        re.compile(
            r"\b(?:[Mm]y name is|[Ii]ch heiße|[Mm]ijn naam is|Mrs?\.?|Ms\.?|Dr\.?|Herr|Frau|Dhr\.?|Mevr\.?)"
            r"\s+((?:[A-ZÀ-Þ][\w'’-]{1,30}\s?){1,3})"
        ),
        0.72,
        group=1,
    ),
    _Recogniser(
        "address",
        re.compile(
            r"\b\d{1,5}\s+(?:[A-Z][\w'’-]{1,30}\s){1,3}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Boulevard|Court|Square)\b"
            r"|\b[A-ZÀ-Þ][\wà-ÿ'’-]{2,40}(?:straat|laan|weg|plein|straße|strasse|gasse|platz)\s\d{1,5}\w?\b"
        ),
        0.75,
    ),
)

CATEGORIES = tuple(dict.fromkeys(r.category for r in RECOGNISERS))
STANDARD = frozenset(CATEGORIES) - {"person", "address", "ip_address", "mac_address", "vat_number", "date_of_birth"}
"""What the privacy shield replaces at its level `standard`; `strict` replaces everything."""


def find(
    text: str,
    *,
    terms: Sequence[str] = (),
    threshold: float = 0.7,
    categories: frozenset[str] | None = None,
) -> list[Finding]:
    """What is in `text`, in order, none over another. `terms` are words of the organisation, found whole and without
    regard to case."""
    found: list[Finding] = []
    for recogniser in RECOGNISERS:
        if categories is not None and recogniser.category not in categories:
            continue
        found += [f for f in _found(recogniser, text) if f.score >= threshold]
    if terms:
        found += [
            Finding("custom_term", m.start(), m.end(), 1.0, "custom_term") for m in _terms(tuple(terms)).finditer(text)
        ]
    return _apart(found)


def redacted(text: str, findings: Sequence[Finding]) -> str:
    """`text` with each finding replaced by `[category]`."""
    parts: list[str] = []
    at = 0
    for finding in findings:
        parts += [text[at : finding.start], f"[{finding.category}]"]
        at = finding.end
    return "".join(parts) + text[at:]


def stripped(text: str) -> tuple[str, int]:
    """`text` without characters that nobody sees and that can carry a message, and how many there were.

    Joiners stay where a script or an emoji needs them.
    """
    if text.isascii():
        return text, 0
    kept = []
    removed = 0
    for index, character in enumerate(text):
        if _invisible(character) and not _needed(text, index):
            removed += 1
        else:
            kept.append(character)
    return "".join(kept), removed


def _found(recogniser: _Recogniser, text: str) -> Iterator[Finding]:
    for match in recogniser.pattern.finditer(text):
        start, end = match.span(recogniser.group)
        value = text[start:end].rstrip()
        end = start + len(value)
        score = recogniser.score
        near = text[max(0, start - _NEAR) : start] + " " + text[end : end + _NEAR]
        if recogniser.proof is not None:
            if not recogniser.proof(value):
                continue
            score = score if recogniser.words is not None else PROVED
        if recogniser.words is not None and recogniser.words.search(near):
            score = max(score, SURE)
        yield Finding(recogniser.category, start, end, score)


def _apart(found: list[Finding]) -> list[Finding]:
    """Of findings that overlap the surest stays, and of equals the longest."""
    chosen: list[Finding] = []
    for finding in sorted(found, key=lambda f: (-f.score, f.start - f.end, f.start)):
        at = bisect(chosen, finding.start, key=lambda f: f.start)
        free_before = at == 0 or chosen[at - 1].end <= finding.start
        if free_before and (at == len(chosen) or chosen[at].start >= finding.end):
            chosen.insert(at, finding)
    return chosen


@lru_cache(maxsize=64)
def _terms(terms: tuple[str, ...]) -> re.Pattern[str]:
    ways = "|".join(re.escape(term) for term in sorted(set(terms), key=len, reverse=True) if term.strip())
    return re.compile(rf"(?<!\w)(?:{ways})(?!\w)" if ways else r"(?!)", re.IGNORECASE)


def _invisible(character: str) -> bool:
    code = ord(character)
    return (
        code in (0x00AD, 0x034F, 0x061C, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x180E, 0x3164, 0xFEFF, 0xFFA0)
        or 0x200B <= code <= 0x200F
        or 0x2060 <= code <= 0x206F
        or 0xFE00 <= code <= 0xFE0F
        or 0xE0000 <= code <= 0xE0FFF
    )


def _needed(text: str, index: int) -> bool:
    code = ord(text[index])
    before = text[index - 1] if index else ""
    after = text[index + 1] if index + 1 < len(text) else ""
    if code in (0x200C, 0x200D) and before and after:
        joins = ("ARABIC", "DEVANAGARI", "BENGALI", "TAMIL", "TELUGU", "KANNADA", "MALAYALAM", "SINHALA", "GUJARATI")
        names = (unicodedata.name(before, ""), unicodedata.name(after, ""))
        return any(name.startswith(joins) for name in names) or (_pictured(before) and _pictured(after))
    if code in (0x200E, 0x200F):  # direction marks beside letters that are written from the right
        return any(unicodedata.bidirectional(c) in ("R", "AL") for c in (before, after) if c)
    if code in (0xFE0E, 0xFE0F):
        return bool(before) and (_pictured(before) or before in "#*0123456789©®™")
    return False


def _pictured(character: str) -> bool:
    return unicodedata.category(character) in ("So", "Sk") or ord(character) in (0xFE0F, 0x2764)
