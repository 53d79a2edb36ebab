"""A mail read without a language model: by words that tell, by likeness, by quotation. Pure but for the embedder that
it is handed, and deterministic. Cues are known in English, German, Dutch and French.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from domain.inference import sentences
from domain.knowledge import languages

MODEL: Final = "extractive"
CATEGORIES: Final[Mapping[str, tuple[str, str]]] = {
    "billing": (
        "An invoice, a payment, a refund, a charge or a price is wrong or asked about.",
        r"invoic\w*|bill(?:ed|ing|s)?|payments?|paid|refund\w*|charged?|debit\w*|rechnung\w*|zahlung\w*|erstatt\w*|"
        r"abgebucht|factu\w+|betaling\w*|terugbetal\w*|paiement\w*|rembours\w*",
    ),
    "technical": (
        "Something does not work: an error, a crash, a fault, a system that is slow or down.",
        r"errors?|bugs?|crash\w*|broken|outage|fault\w*|(?:does|do|is|did)(?:n[o'’]t| not) (?:work|open|load|start)\w*|"
        r"fails?|failed|fehler\w*|funktioniert nicht|kaputt|abgestürzt|storing|werkt niet|kapot|panne|erreur\w*",
    ),
    "access": (
        "Somebody cannot sign in: a password, a locked account, a permission that is missing.",
        r"passwords?|(?:sign|log)(?:ging|ing)?[ -]?in|login|locked out|two-factor|permissions?|passwor[dt]\w*|kennwort|"
        r"anmeld\w*|einloggen|zugang\w*|wachtwoord\w*|inloggen|mot de passe|connexion",
    ),
    "order": (
        "An order, a delivery, a parcel that is late, a return.",
        r"orders?|ordered|deliver\w*|shipp\w+|parcels?|returns?|bestell\w*|liefer\w*|paket\w*|rücksend\w*|levering\w*|"
        r"pakket\w*|commandes?|livraison\w*|colis",
    ),
    "contract": (
        "A contract, its term, a cancellation, a renewal, a change of plan.",
        r"contracts?|cancel\w*|terminat\w*|renew\w*|subscriptions?|vertr[aä]g\w*|kündig\w*|verläng\w*|opzeg\w*|"
        r"abonnement\w*|contrat\w*|résili\w*",
    ),
    "privacy": (
        "Personal data: what is kept about somebody, having it erased, data protection.",
        r"personal data|gdpr|dsgvo|avg|privacy|data protection|datenschutz\w*|personenbezogen\w*|persoonsgegevens|rgpd",
    ),
    "security": (
        "Something suspicious: phishing, a breach, a stolen account, malware.",
        r"phishing|breach\w*|hack\w*|malware|ransomware|suspicious|compromised|gehackt|schadsoftware|verdächtig\w*|"
        r"verdacht\w*|pirat[ée]\w*",
    ),
    "complaint": (
        "Somebody is unhappy with the service and complains.",
        r"complain\w*|unacceptable|disappoint\w*|unhappy|beschwer\w*|enttäusch\w*|inakzeptabel|klacht\w*|teleurgesteld|"
        r"plainte|réclamation|déçue?",
    ),
}
"""What kinds of tickets there are, each by a sentence and by words that tell; beside them `question` and `other`."""
NAMES: Final = (*CATEGORIES, "question", "other")
_CUES: Final = {name: re.compile(rf"\b(?:{cues})\b", re.IGNORECASE) for name, (_, cues) in CATEGORIES.items()}
_ANCHORS: Final = tuple(sentence for sentence, _ in CATEGORIES.values())
TELLS: Final = 0.30
"""What a word that tells is worth beside likeness, which is known of English alone."""
MORE: Final = 0.10
"""What a further one is worth; two of them at most count."""
LIKE: Final = 0.30
"""From this worth on, a mail is of a category."""

_CALM: Final = re.compile(
    r"\b(?:no (?:hurry|rush)|not urgent|isn['’]t urgent|whenever you|when(?:ever)? you (?:have|find) (?:the )?time|low "
    r"priority|just (?:curious|wondering)|for your information|fyi|keine eile|nicht (?:dringend|eilig)|eilt nicht|geen "
    r"haast|niet dringend|pas urgent|rien ne presse)\b",
    re.IGNORECASE,
)
_URGENT: Final = re.compile(
    r"\b(?:urgent(?:ly)?|asap|as soon as possible|immediately|emergency|right away|right now|critical|dringend|"
    r"sofort\w*|unverzüglich|notfall|umgehend|spoed\w*|onmiddellijk|noodgeval|d['’]urgence|immédiatement)\b",
    re.IGNORECASE,
)
_PRESSING: Final = re.compile(
    r"\b(?:(?:is|are|went) down|outage|nobody can|no one can|cannot work|can['’]?t work|locked out|data loss|"
    r"lost (?:all )?(?:our|my) data|breach\w*|hack(?:ed|t)|ransomware|deadline|today|by tomorrow|third time|"
    r"still (?:no|not|waiting)|ausgefallen|ausfall|niemand kann|nicht arbeiten|gesperrt|gehackt|frist|heute|"
    r"noch (?:immer|keine)|storing|niemand kan|vandaag|en panne|aujourd['’]hui)\b",
    re.IGNORECASE,
)

QUESTIONS: Final = 3
LOOKED_AT: Final = 40
"""Sentences of a mail that are looked at."""
SUMMARY: Final = 500

Embed = Callable[[Sequence[str]], Any]


def language(text: str) -> str | None:
    """ISO 639-1; None where too few words tell."""
    return languages.detect(text)


def priority(text: str) -> str:
    """How urgent a mail sounds."""
    if _CALM.search(text):
        return "low"
    urgent, pressing = bool(_URGENT.search(text)), bool(_PRESSING.search(text))
    return "urgent" if urgent and pressing else "high" if urgent or pressing else "normal"


def category(text: str, embed: Embed) -> str:
    """One of `NAMES`."""
    vectors = embed([*_ANCHORS, text[:2000]])
    worth = {
        name: max(0.0, float(vectors[number] @ vectors[-1])) + _told(len(_CUES[name].findall(text)))
        for number, name in enumerate(CATEGORIES)
    }
    best = max(worth, key=lambda name: worth[name])
    if worth[best] >= LIKE:
        return best
    return "question" if any(each.text.endswith("?") for each in sentences(text, LOOKED_AT)) else "other"


def _told(cues: int) -> float:
    return TELLS + MORE * min(2, cues - 1) if cues else 0.0


def summary(text: str, embed: Embed) -> str:
    """The sentence that is closest to what all of the mail is about, word for word."""
    said = [each.text for each in sentences(text, LOOKED_AT)]
    long_enough = [each for each in said if len(each.split()) >= 4] or said
    if not long_enough:
        return ""
    if len(long_enough) == 1:
        return long_enough[0][:SUMMARY]
    vectors = embed(long_enough)
    worth = vectors @ vectors.mean(axis=0)
    return long_enough[int(worth.argmax())][:SUMMARY]


def questions(subject: str, text: str, central: str) -> tuple[str, ...]:
    """What to look for in the knowledge bases: what is asked, else what it is about."""
    said = sentences(text, LOOKED_AT)
    asked = [each.text for each in said if each.asks and len(each.text.split()) >= 3]
    wanted = [*asked[:QUESTIONS], central, subject]
    return tuple(dict.fromkeys(each.strip()[:1000] for each in wanted if re.search(r"\w", each)))[: QUESTIONS + 2]
