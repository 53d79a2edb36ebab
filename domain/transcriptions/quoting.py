"""Notes without a language model: sentences of the recording that summarise, decide or assign, quoted word for word.

Pure but for the embedder that it is handed. Cues are known in English, German and Dutch; in another language there is a
summary, and no decisions or tasks are claimed.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Any

MODEL = "extractive"
SUMMARY = 6
LOOKED_AT = 600
"""Sentences that are embedded at most; of a longer recording, every so many."""
MOST = 100

Embed = Callable[[Sequence[str]], Any]


@dataclass(frozen=True, slots=True)
class Task:
    text: str
    assignee: str | None = None
    due: date | None = None


@dataclass(frozen=True, slots=True)
class Notes:
    summary: str
    topics: tuple[str, ...] = ()
    decisions: tuple[str, ...] = ()
    tasks: tuple[Task, ...] = field(default=())
    model: str = MODEL

    def stored(self) -> dict[str, Any]:
        tasks = [{"text": t.text, "assignee": t.assignee, "due": t.due and t.due.isoformat()} for t in self.tasks]
        return {
            "summary": self.summary,
            "topics": list(self.topics),
            "decisions": list(self.decisions),
            "tasks": tasks,
            "model": self.model,
        }


_DECIDES = re.compile(
    r"\b(?:"
    r"(?:we|they|it(?:'s| is| was| has been)?|the (?:board|committee|team|group)) (?:have |has |had )?(?:all )?"
    r"(?:decided|agreed|resolved|concluded|approved|settled)|"
    r"(?:is|was|are|were|been) (?:now )?(?:approved|decided|agreed|accepted|adopted|rejected)|"
    r"let's go with|we(?:'ll| will) go (?:with|ahead)|the decision is|motion (?:is )?carried|"
    r"wir (?:haben|hatten) (?:uns )?.{0,60}(?:entschieden|beschlossen|geeinigt)|"
    r"(?:ist|wurde|wird) .{0,40}(?:beschlossen|genehmigt|angenommen|entschieden)|"
    r"we hebben .{0,60}(?:besloten|afgesproken)|"
    r"(?:is|wordt) .{0,40}(?:besloten|goedgekeurd|aangenomen)"
    r")\b",
    re.IGNORECASE,
)
_UNDECIDED = re.compile(
    r"\b(?:not (?:yet )?(?:decided|agreed|approved)|n't (?:decided|agreed|approved)|undecided|should we|if we)\b|"
    r"\?\s*$",
    re.IGNORECASE,
)
_NAME = r"(?P<who>[A-ZÄÖÜ][\w'’-]+(?: [A-ZÄÖÜ][\w'’-]+)?)"
_NOBODY = frozenset(
    re.findall(
        r"\w+",
        """
        i we you he she it they this that there here the a an who what which when where everybody everyone
        somebody nobody today tomorrow monday tuesday wednesday thursday friday saturday sunday january
        february march april may june july august september october november december then so and but maybe
        budget project meeting next ich wir er sie es das die der man ik wij hij zij het dat dit also
        """,
    )
)
_ASSIGNS = (
    re.compile(
        rf"^(?:(?:and|so|then|ok(?:ay)?),? )?{_NAME},? (?:will|is going to|shall|has to|needs to|should|must|is to) "
    ),
    re.compile(rf"^{_NAME},? (?:could|can|would|will) you (?:please )?", re.IGNORECASE),
    re.compile(rf"^{_NAME} (?:wird|soll|muss|kümmert sich|übernimmt) "),
    re.compile(rf"^{_NAME} (?:zal|gaat|moet|zorgt) "),
)
_OWN = re.compile(
    r"^(?:(?:and|so|then|ok(?:ay)?|yes),? )?(?:i(?:'ll| will| am going to|'m going to)|we (?:need|have) to|"
    r"action item|to ?do:|please |ich (?:werde|kümmere)|ik (?:zal|ga) )",
    re.IGNORECASE,
)
_IDLE = re.compile(
    r"\b(?:will|shall|should|to) "
    r"(?:be (?:fine|good|ok|great|interesting|nice|hard|difficult)|see|say|know|think|agree)\b",
    re.IGNORECASE,
)
_WEEKDAYS = {
    name: number
    for number, names in enumerate(
        (
            ("monday", "montag", "maandag"),
            ("tuesday", "dienstag", "dinsdag"),
            ("wednesday", "mittwoch", "woensdag"),
            ("thursday", "donnerstag", "donderdag"),
            ("friday", "freitag", "vrijdag"),
            ("saturday", "samstag", "zaterdag"),
            ("sunday", "sonntag", "zondag"),
        )
    )
    for name in names
}
_MONTHS = {
    name: number
    for number, names in enumerate(
        (
            ("january", "januar", "januari"),
            ("february", "februar", "februari"),
            ("march", "märz", "maart"),
            ("april",),
            ("may", "mai", "mei"),
            ("june", "juni"),
            ("july", "juli"),
            ("august", "augustus"),
            ("september",),
            ("october", "oktober"),
            ("november",),
            ("december", "dezember"),
        ),
        1,
    )
    for name in names
}
_ISO = re.compile(r"\b(20\d\d)-(\d\d)-(\d\d)\b")
_DAY_MONTH = re.compile(rf"\b(\d{{1,2}})(?:st|nd|rd|th|\.)?(?: of)? ({'|'.join(_MONTHS)})\b", re.IGNORECASE)
_MONTH_DAY = re.compile(rf"\b({'|'.join(_MONTHS)}) (\d{{1,2}})(?:st|nd|rd|th)?\b", re.IGNORECASE)
_WEEKDAY = re.compile(
    rf"\b(?:by|until|till|before|on|due|next|this|bis|am|nächsten|voor|tegen|op|volgende) (?:next |this |kommenden )?"
    rf"({'|'.join(_WEEKDAYS)})\b",
    re.IGNORECASE,
)


def due(text: str, today: date) -> date | None:
    """The day that a sentence names, seen from `today`; None for none. A day that has passed is next year's."""
    try:
        if found := _ISO.search(text):
            return date(int(found[1]), int(found[2]), int(found[3]))
        if found := _DAY_MONTH.search(text):
            return _coming(_MONTHS[found[2].lower()], int(found[1]), today)
        if found := _MONTH_DAY.search(text):
            return _coming(_MONTHS[found[1].lower()], int(found[2]), today)
    except ValueError:  # 31 February
        return None
    if found := _WEEKDAY.search(text):
        return today + timedelta((_WEEKDAYS[found[1].lower()] - today.weekday() - 1) % 7 + 1)
    lowered = text.lower()
    if re.search(r"\b(?:day after tomorrow|übermorgen|overmorgen)\b", lowered):
        return today + timedelta(2)
    if re.search(r"\b(?:tomorrow|bis morgen|morgen)\b", lowered):
        return today + timedelta(1)
    if re.search(r"\b(?:today|tonight|heute|vandaag)\b", lowered):
        return today
    if re.search(r"\b(?:end of (?:the|this) week|ende der woche|eind van de week)\b", lowered):
        return today + timedelta((4 - today.weekday()) % 7)
    return None


def _coming(month: int, day: int, today: date) -> date:
    this = date(today.year, month, day)
    return this if this >= today else date(today.year + 1, month, day)


def decisions(sentences: Sequence[str]) -> tuple[str, ...]:
    return _distinct(s for s in sentences if _DECIDES.search(s) and not _UNDECIDED.search(s))


def tasks(sentences: Sequence[str], speakers: Sequence[str | None], today: date) -> tuple[Task, ...]:
    """`speakers`: who said each sentence, where that is known: whoever says "I will" is meant."""
    found: dict[str, Task] = {}
    for sentence, speaker in zip(sentences, speakers, strict=True):
        if len(found) == MOST or sentence.endswith("?") or _IDLE.search(sentence):
            continue
        who = next((m["who"] for pattern in _ASSIGNS if (m := pattern.match(sentence))), None)
        if who is not None and who.split()[0].lower() in _NOBODY:
            who = None
        if who is None:
            if not _OWN.match(sentence):
                continue
            own = re.match(r"(?i)^(?:(?:and|so|then|ok(?:ay)?|yes),? )?(?:i\b|ich\b|ik\b)", sentence)
            who = speaker if own else None
        found.setdefault(sentence.lower(), Task(sentence[:1000], who, due(sentence, today)))
    return tuple(found.values())


def summary(sentences: Sequence[str], embed: Embed) -> str:
    """The sentences closest to what all of it is about, not two that say the same, in the order they were said."""
    long_enough = [s for s in sentences if len(s.split()) >= 5 and not s.endswith("?")] or list(sentences)
    step = max(1, -(-len(long_enough) // LOOKED_AT))
    looked_at = long_enough[::step]
    if len(looked_at) <= SUMMARY:
        chosen = list(range(len(looked_at)))
    else:
        vectors = embed(looked_at)
        centre = vectors.mean(axis=0)
        worth = vectors @ centre
        chosen = []
        while len(chosen) < SUMMARY:
            rest = [i for i in range(len(looked_at)) if i not in chosen]
            chosen.append(
                max(
                    rest,
                    key=lambda i: worth[i] - 0.5 * max((float(vectors[i] @ vectors[j]) for j in chosen), default=0),
                )
            )
    lines = "\n".join(f"- “{looked_at[i]}”" for i in sorted(chosen))
    return f"Quoted from the recording:\n\n{lines}"[:20_000]


_STOP = frozenset(
    re.findall(
        r"\w+",
        """
        about above after again against all also and any are because been before being below between both but
        can could did does doing don down during each everybody everyone few for from further get going good
        had has have having her here hers him his how into its just know let like lot made make many maybe
        more morning most much must need new next not now off okay once one only other our ours out over own
        people please really right said same say see she should some such sure take than thank thanks that the
        their them then there these they thing things think this those three time today tomorrow too two under
        until upon use very want was way week well were what when where which while who why will with would
        year yeah yes you your yours und oder aber dass nicht eine einen einer der die das den dem ist sind
        war wir ihr sie ich mit für auf von auch noch schon wird werden haben hat een het van dat niet zijn
        naar maar ook nog voor begin send monday tuesday wednesday thursday friday decided agreed
        """,
    )
)


def topics(sentences: Sequence[str]) -> tuple[str, ...]:
    """Terms that come back: pairs of words before single ones."""
    single: Counter[str] = Counter()
    pairs: Counter[str] = Counter()
    for sentence in sentences:
        before = None
        for word in re.findall(r"[^\W\d_][\w'’-]+|[.,;:!?]", sentence.lower()):
            fits = len(word) > 3 and word not in _STOP and word[0].isalpha()
            if fits:
                single[word] += 1
                if before is not None:
                    pairs[f"{before} {word}"] += 1
            before = word if fits else None
    found = [pair for pair, count in pairs.most_common(20) if count > 1][:5]
    taken = {word for pair in found for word in pair.split()}
    found += [word for word, count in single.most_common(30) if count > 1 and word not in taken][: 8 - len(found)]
    return tuple(topic.capitalize() for topic in found)


def quoted(sentences: Sequence[str], speakers: Sequence[str | None], today: date, embed: Embed) -> Notes:
    return Notes(summary(sentences, embed), topics(sentences), decisions(sentences), tasks(sentences, speakers, today))


def _distinct(sentences: Any) -> tuple[str, ...]:
    found: dict[str, str] = {}
    for sentence in sentences:
        if len(found) < MOST:
            found.setdefault(sentence.lower(), sentence[:1000])
    return tuple(found.values())
