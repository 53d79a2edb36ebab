"""What must not pass: blocked terms, over-long input, personal data. Pure; findings are counted, never repeated.

Personal data is found by pattern, and by check digit where the kind of number has one, so that an order number is not
taken for a bank account.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from re import Pattern

MAX_UNREMARKED = 50_000
"""Characters; a longer input is remarked on."""
MASK = "[removed]"


@dataclass(frozen=True, slots=True)
class Finding:
    rule: str
    count: int


def blocked(text: str, terms: Iterable[str]) -> int:
    """How often a blocked term stands in `text`, whatever its case, spacing, width or hidden characters."""
    known = [_flat(term) for term in terms]
    flat = _flat(text)
    return sum(len(_whole(term).findall(flat)) for term in known if term)


def _flat(text: str) -> str:
    composed = unicodedata.normalize("NFKC", text).casefold()
    return " ".join(_HIDDEN.sub("", composed).split())


_HIDDEN = re.compile("[\u00ad\u200b-\u200f\u2060-\u2064\ufeff]")


def _whole(term: str) -> Pattern[str]:
    return re.compile(rf"(?<!\w){re.escape(term)}(?!\w)")


def personal_data(text: str) -> list[Finding]:
    """Kinds of personal data in `text` and how often."""
    taken: list[tuple[int, int]] = []
    found = []
    for kind, pattern, check in _KINDS:
        hits = _hits(text, pattern, check, taken)
        if hits:
            found.append(Finding(kind, len(hits)))
            taken += hits
    return found


def without_personal_data(text: str) -> str:
    """`text` with each piece of personal data masked: what may be kept for good."""
    taken: list[tuple[int, int]] = []
    for _, pattern, check in _KINDS:
        taken += _hits(text, pattern, check, taken)
    for start, end in sorted(taken, reverse=True):
        text = text[:start] + MASK + text[end:]
    return text


def _hits(
    text: str, pattern: Pattern[str], check: Callable[[str], bool], taken: Sequence[tuple[int, int]]
) -> list[tuple[int, int]]:
    return [
        match.span()
        for match in pattern.finditer(text)
        if check(match[0]) and not any(match.start() < end and start < match.end() for start, end in taken)
    ]


def _digits(text: str) -> list[int]:
    return [int(c) for c in text if c in "0123456789"]


def luhn(text: str) -> bool:
    """ISO/IEC 7812 check digit of payment cards."""
    digits = _digits(text)
    if not 13 <= len(digits) <= 19 or len(set(digits)) == 1:
        return False
    doubled = [d if i % 2 == 0 else (d * 2 - 9 if d > 4 else d * 2) for i, d in enumerate(reversed(digits))]
    return sum(doubled) % 10 == 0


def iban(text: str) -> bool:
    """ISO 13616: rearranged and read as a number, modulo 97 is 1."""
    compact = re.sub(r"\s", "", text).upper()
    if not 15 <= len(compact) <= 34:
        return False
    return int("".join(str(int(c, 36)) for c in compact[4:] + compact[:4])) % 97 == 1


def bsn(text: str) -> bool:
    """The Dutch citizen service number's test of eleven."""
    digits = _digits(text)
    if len(digits) != 9 or not any(digits):
        return False
    weights = (9, 8, 7, 6, 5, 4, 3, 2, -1)
    return sum(d * w for d, w in zip(digits, weights, strict=True)) % 11 == 0


def nhs(text: str) -> bool:
    """The British NHS number's modulo 11 check digit."""
    digits = _digits(text)
    if len(digits) != 10:
        return False
    check = 11 - sum(d * w for d, w in zip(digits, range(10, 1, -1), strict=False)) % 11
    return (0 if check == 11 else check) == digits[9]


def steuer_id(text: str) -> bool:
    """The German tax id: ISO 7064 MOD 11,10, and exactly one digit that occurs more than once in the first ten."""
    digits = _digits(text)
    if len(digits) != 11 or digits[0] == 0:
        return False
    repeated = [digits[:10].count(d) for d in set(digits[:10]) if digits[:10].count(d) > 1]
    if len(repeated) != 1 or repeated[0] > 3:
        return False
    product = 10
    for d in digits[:10]:
        total = (d + product) % 10 or 10
        product = total * 2 % 11
    return (11 - product) % 10 == digits[10]


def ssn(text: str) -> bool:
    """US social security numbers have no check digit, but areas, groups and serials that are never given out."""
    area, group, serial = text.split("-")
    return area not in ("000", "666") and area < "900" and group != "00" and serial != "0000"


def phone(text: str) -> bool:
    return 8 <= len(_digits(text)) <= 15


def _always(_: str) -> bool:
    return True


# In this order: the first kind that claims a stretch of text has it.
_KINDS: tuple[tuple[str, Pattern[str], Callable[[str], bool]], ...] = (
    ("email", re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[A-Za-z0-9-]{1,63}\.){1,8}[A-Za-z]{2,24}(?![\w-])"), _always),
    ("iban", re.compile(r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{1,4}){3,8}\b"), iban),
    ("payment_card", re.compile(r"(?<![\d-])\d(?:[ -]?\d){12,18}(?![\d-])"), luhn),
    ("us_ssn", re.compile(r"(?<![\d-])\d{3}-\d{2}-\d{4}(?![\d-])"), ssn),
    ("german_tax_id", re.compile(r"(?<!\d)\d{2} ?\d{3} ?\d{3} ?\d{3}(?!\d)"), steuer_id),
    ("nhs_number", re.compile(r"(?<!\d)\d{3}[ -]\d{3}[ -]\d{4}(?!\d)"), nhs),
    (
        "dutch_bsn",
        re.compile(
            r"(?<=BSN )\d{9}(?!\d)|(?<=BSN: )\d{9}(?!\d)|(?<=bsn )\d{9}(?!\d)|(?<=burgerservicenummer )\d{9}(?!\d)"
        ),
        bsn,
    ),
    (
        "phone",
        re.compile(
            r"(?<![\w.+-])(?<!\d )(?:\+\d{1,3}[ ./-]?|\(?0(?=0?[1-9]))\(?\d{1,5}\)?(?:[ ./-]?\d{2,5}){2,5}(?![\w-])"
        ),
        phone,
    ),
    (
        "ip_address",
        re.compile(r"(?<![\d.])(?:(?:25[0-5]|2[0-4]\d|1?\d?\d)\.){3}(?:25[0-5]|2[0-4]\d|1?\d?\d)(?![\d.])"),
        _always,
    ),
)
