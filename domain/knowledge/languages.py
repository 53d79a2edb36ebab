"""Which language a text is in, by its commonest words, and what PostgreSQL calls it."""

from __future__ import annotations

import re
from collections import Counter

_COMMON: dict[str, str] = {
    "en": "the of and to in is that for it was with as be on by this are from or have an not which you their has",
    "de": "der die und in den von zu das mit sich des auf für ist im dem nicht ein eine als auch es an werden aus",
    "fr": "de la le et les des en un du une que est pour qui dans par plus pas au sur ne se ce il sont avec aux",
    "es": "de la que el en y los se del las un por con no una su para es al lo como más pero sus le ya este",
    "it": "di e il la che in un per non è una del sono con si da le dei nel della alla come più anche gli al",
    "pt": "de a o que e do da em um para é com não uma os no se na por mais as dos como mas foi ao ele das",
    "nl": "de van een het en in is dat op te zijn met voor niet aan er om ook als dan maar bij door naar werd",
    "sv": "och att det i en som på är av för med till den har inte om ett de vi kan men var från så eller",
    "da": "og at det i en som på er af for med til den har ikke om et de vi kan men var fra så eller blev",
    "no": "og at det i en som på er av for med til den har ikke om et de vi kan men var fra så eller ble",
    "fi": "ja on ei että se oli hän en mutta ovat joka kun myös tai niin sen kuin ole mukaan vuonna sekä",
    "hu": "a az és hogy nem egy is ez volt meg de csak még vagy mint már el amely ki ezt lehet után között",
    "ro": "de și în a la cu o pe care nu din un este că pentru mai sau fi se ca au prin fost sunt al",
    "tr": "ve bir bu için ile da de olarak olan daha çok gibi kadar en ne ancak var sonra her veya göre",
    "id": "yang dan di dari untuk dengan ini itu pada dalam adalah tidak oleh akan ke juga sebagai ada atau",
    "ru": "и в не на что с по как к из это для от за он но был его все так о же которые или также",
    "el": "και το να του η της με που την από για είναι ο οι στο τα των σε δεν στην τον θα ως",
    "ar": "في من على أن إلى عن التي هذا ما الذي مع كان هذه بين أو كما لا قد كل بعد ذلك",
    "pl": "i w na z do się nie że to jest o jak po przez od za dla oraz ale może tym być są jego który",
    "cs": "a v se na je že s z do o i to jako za by ale pro podle které také jeho byl nebo až však",
}
_WORDS = {language: frozenset(words.split()) for language, words in _COMMON.items()}
_TOKEN = re.compile(r"[^\W\d_]+")

CONFIGURATIONS = {
    "ar": "arabic",
    "ca": "catalan",
    "da": "danish",
    "de": "german",
    "el": "greek",
    "en": "english",
    "es": "spanish",
    "eu": "basque",
    "fi": "finnish",
    "fr": "french",
    "ga": "irish",
    "hi": "hindi",
    "hu": "hungarian",
    "hy": "armenian",
    "id": "indonesian",
    "it": "italian",
    "lt": "lithuanian",
    "ne": "nepali",
    "nl": "dutch",
    "no": "norwegian",
    "nb": "norwegian",
    "nn": "norwegian",
    "pt": "portuguese",
    "ro": "romanian",
    "ru": "russian",
    "sr": "serbian",
    "sv": "swedish",
    "ta": "tamil",
    "tr": "turkish",
    "yi": "yiddish",
}


def detect(text: str) -> str | None:
    """The language (ISO 639-1) of running text; None where too few words tell."""
    words = Counter(_TOKEN.findall(text[:60_000].lower()))
    total = sum(words.values())
    if total < 8:
        return None
    scores = {language: sum(words[word] for word in common) for language, common in _WORDS.items()}
    ranked = sorted(scores.items(), key=lambda pair: -pair[1])
    best, hits = ranked[0]
    # One word in twelve is a common one in running text; lists, code and tables have fewer and stay undecided.
    if hits < 3 or hits / total < 0.08:
        return None
    return best


def configuration(language: str | None) -> str:
    """PostgreSQL's text search configuration for a language tag; `simple` for those it has none for."""
    return CONFIGURATIONS.get((language or "").lower().split("-")[0], "simple")
