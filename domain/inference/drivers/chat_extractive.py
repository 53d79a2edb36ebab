"""The extractive assistant in conversation: it looks things up, quotes what it finds with its number, and says that it
does not know when nothing found supports an answer. Not a word of an answer is its own but the frame around quotes.

Deterministic; needs no key, no network and no language model. Tools are chosen by rules: searching for a question, the
calculator for a sum, an action when its name is called and its arguments can be read from the words.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from domain.inference.chat import ChatRequest, Emit, End, Message, Source, ToolCall
from domain.inference.drivers.chat_arguments import arguments
from domain.inference.ports import Deadline, Embedder, Usage
from domain.inference.sentences import sentences

UNKNOWN = "I found nothing about this in what you may see, so I do not know."
SUPPORTS = 0.42
"""From this worth on, a sentence supports an answer; measured in docs/conversations.md."""
ALONE = 0.28
"""Similarity below which shared words alone prove nothing."""
QUOTES = 4
BEHIND = 0.75
"""A further quote is worth at least this share of the best one."""
LOOKED_AT = 64
"""Sentences that are embedded for one answer at most: about 0.2 s."""

SEARCHES = ("search_documents", "search_memory")


class ExtractiveChat:
    name = "extractive"

    def __init__(self, embedder: Callable[[], Embedder]) -> None:
        self._embedder = embedder

    def generate(self, request: ChatRequest, deadline: Deadline, emit: Emit) -> End:
        deadline.check()
        calls = self.planned(request, deadline)
        if calls:
            return End(Usage(self.name), calls, "tools")
        text = self.composed(request, deadline)
        if request.partial:  # the same task has the same answer: go on where it broke off
            text = text[len(request.partial) :] if text.startswith(request.partial) else ""
        for piece in re.findall(r"\S+\s*|\s+", text):
            deadline.check()
            emit("text", piece)
        return End(Usage(self.name))

    def planned(self, request: ChatRequest, deadline: Deadline) -> tuple[ToolCall, ...]:
        """The tools to call before anything is said; empty when they have answered."""
        if request.messages and request.messages[-1].role == "tool":
            return ()
        offered = {tool.name: tool for tool in request.tools}
        question = request.question
        turn = sum(1 for m in request.messages if m.role == "user")
        calls: list[ToolCall] = []

        def call(name: str, given: Mapping[str, object]) -> None:
            calls.append(ToolCall(f"call_{turn}_{len(calls) + 1}", name, given))

        for name, tool in offered.items():
            if name not in _PLAIN and _orders(question, name):
                given, missing = arguments(question, tool.parameters)
                if not missing:
                    call(name, given)
                    return tuple(calls)
        if "calculator" in offered and (sum_ := _sum(question)):
            call("calculator", {"expression": sum_})
            return tuple(calls)
        if "current_time" in offered and _TIME.search(question):
            call("current_time", {})
            return tuple(calls)
        if "fetch_page" in offered and (url := _URL.search(question)):
            call("fetch_page", {"url": url[0].rstrip(".,;)")})
        query = _query(request.messages, question)
        for name in SEARCHES:
            if name in offered and query:
                call(name, {"query": query[:1000]})
        return tuple(calls)

    def composed(self, request: ChatRequest, deadline: Deadline) -> str:
        """The answer: what tools have said, and quotes from the sources that support one."""
        said = _said(request.messages)
        if said and not request.sources:
            return "\n\n".join(said)
        if (missing := _missing(request)) and not said:
            return missing
        quotes = self.quotes(request.question, request.sources, deadline)
        if not quotes:
            return "\n\n".join(said) or UNKNOWN
        return "\n\n".join([*said, _framed(quotes)])

    def quotes(self, question: str, sources: Sequence[Source], deadline: Deadline) -> list[Quote]:
        """The sentences that support an answer to `question`, the best first, none twice."""
        wanted = _words(question)
        found = [
            (source, heading, text)
            for source in sources
            for heading, text in quotable(source.text)
            if len(text) >= 12 and not text.endswith(("?", ":"))
        ]
        # Shared words decide which are looked at closely; a source's own rank breaks ties.
        found.sort(key=lambda each: (-len(wanted & _words(each[2])), each[0].number))
        found = found[:LOOKED_AT]
        if not found:
            return []
        vectors = self._embedder().embed([question, *(text for _, _, text in found)], deadline)
        near = vectors[1:] @ vectors[0]
        scored = []
        for (source, heading, text), similarity in zip(found, near, strict=True):
            shared = _words(text) | _words(heading) | _words(source.title)
            covered = len(wanted & shared) / len(wanted) if wanted else 0.0
            worth = 0.65 * float(similarity) + 0.35 * covered
            if worth >= SUPPORTS and float(similarity) >= ALONE:
                scored.append(Quote(source, text, round(worth, 4)))
        scored.sort(key=lambda q: (-q.worth, q.source.number))
        chosen: list[Quote] = []
        for quote in scored:
            if len(chosen) == QUOTES or quote.worth < BEHIND * scored[0].worth:
                break
            if all(_apart(quote.text, other.text) for other in chosen):
                chosen.append(quote)
        return chosen


def quotable(text: str) -> list[tuple[str, str]]:
    """The sentences of a passage, each with the heading it stands under. Lines that were broken to fit a page are one
    sentence again; headings and code are nothing to quote. Pure."""
    found: list[tuple[str, str]] = []
    heading = ""
    paragraph: list[str] = []
    fenced = False

    def end() -> None:
        found.extend((heading, each.text.strip()) for each in sentences(" ".join(paragraph), 200))
        paragraph.clear()

    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith("```"):
            end()
            fenced = not fenced
        elif fenced:
            continue
        elif bare.startswith("#"):
            end()
            heading = bare.lstrip("# ")
        elif bare.startswith("|"):
            end()
            if not re.fullmatch(r"[|\s:-]*", bare):
                found.append((heading, bare.strip("| ").replace(" | ", ": ", 1)))
            elif found:
                found.pop()  # the line above the rule names the columns
        else:
            # A line that begins like an item, or follows one that ended, begins anew.
            if not bare or re.match(r"(?:[-*•]|\d+[.)])\s", bare):
                end()
            if bare:
                paragraph.append(bare)
    end()
    return found


@dataclass(frozen=True, slots=True)
class Quote:
    source: Source
    text: str
    worth: float


def _framed(quotes: Sequence[Quote]) -> str:
    lines = []
    for number in dict.fromkeys(q.source.number for q in quotes):
        own = [q for q in quotes if q.source.number == number]
        words = " ".join(f"“{q.text}” [{number}]" for q in own)
        lines.append(f"{own[0].source.title}: {words}" if own[0].source.title else words)
    return "\n\n".join(lines)


def _said(messages: Sequence[Message]) -> list[str]:
    """What tools other than searches have answered since the question."""
    said = []
    for message in reversed(messages):
        if message.role == "user":
            break
        if message.role == "tool" and message.tool not in (*SEARCHES, "fetch_page") and message.text:
            said.append(message.text)
    return said[::-1]


def _missing(request: ChatRequest) -> str | None:
    """The person has called an action by its name, and its arguments cannot be read from the words."""
    for tool in request.tools:
        if tool.name not in _PLAIN and _orders(request.question, tool.name):
            _, missing = arguments(request.question, tool.parameters)
            if missing:
                return f"For {tool.name.replace('_', ' ')} I need: {', '.join(missing)}."
    return None


_PLAIN = frozenset({*SEARCHES, "calculator", "current_time", "fetch_page", "query_data"})
_TIME = re.compile(
    r"\b(?:what(?:'s| is) the (?:time|date)|what time is it|what day is it|today's date|which day is)\b", re.I
)
_URL = re.compile(r"https?://[^\s<>\"“”]{4,2000}")
_SUM = re.compile(
    r"(?:(?:what is|what's|calculate|compute|how much is)\s+)?([-+(]*\d[\d\s.,()+*/^%×÷x-]*\d[)\s]*)\??\s*=?\s*$", re.I
)
_OPERATION = re.compile(r"\d\s*[-+*/^%×÷x]\s*[-(\d]")
_BACK = re.compile(
    r"\b(?:it|that|this|they|them|those|these|he|she|there|then)\b|^(?:and|what about|how about)\b", re.I
)


def _sum(question: str) -> str | None:
    found = _SUM.match(question.strip())
    if found is None or not _OPERATION.search(found[1]):
        return None
    text = found[1].replace("×", "*").replace("÷", "/").replace("x", "*").replace("X", "*").replace("^", "**")
    return re.sub(r"(?<=\d),(?=\d{3}\b)", "", text).strip()


def _orders(question: str, name: str) -> bool:
    """Whether the words call the action `name`: its verb near the beginning, its other words somewhere behind."""
    verb, *rest = name.split("_")
    words = [_stem(w) for w in re.findall(r"[a-z]+", question.lower())]
    start = words[:8]
    if _stem(verb) not in start or (
        question.rstrip().endswith("?") and words[:1] in (["how"], ["what"], ["why"], ["when"])
    ):
        return False
    behind = words[start.index(_stem(verb)) + 1 :]
    return all(_stem(word) in behind for word in rest if word not in ("user", "app"))


def _query(messages: Sequence[Message], question: str) -> str:
    """What to search for: the question, and the one before where it points back."""
    asked = [m.text for m in messages if m.role == "user"]
    if len(asked) > 1 and (len(_words(question)) < 3 or _BACK.search(question)):
        return f"{asked[-2][:400]} {question}"
    return question


def _apart(one: str, other: str) -> bool:
    a, b = _words(one), _words(other)
    return not a or not b or len(a & b) / min(len(a), len(b)) < 0.9


_STOP = frozenset(
    re.findall(
        r"\w+",
        """
        a about an and any are as at be been but by can could describe did do does explain find for from give had has
        have how i if in into is it its many may me much my of on or our please shall she should show so tell that the
        their them then there these they this those to was we were what when where which who whom whose why will with
        would you your
        """,
    )
)


def _words(text: str) -> frozenset[str]:
    """The content words, without their endings."""
    return frozenset(
        _stem(w) for w in re.findall(r"[^\W_]+", text.lower()) if w not in _STOP and (len(w) > 1 or w.isdigit())
    )


def _stem(word: str) -> str:
    for ending in ("ations", "ation", "ingly", "ings", "ing", "edly", "ied", "ies", "ed", "es", "s", "ly", "e"):
        if word.endswith(ending) and len(word) - len(ending) >= 3:
            return word[: -len(ending)]
    return word
