"""Text, Markdown, JSON, CSV, RTF and mails."""

from __future__ import annotations

import csv
import email
import email.policy
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson

from domain.knowledge import languages
from domain.knowledge.extraction.blocks import Block, Extracted, Gathering, Unreadable, paragraphs, tidy

_META = re.compile(rb"<meta[^>]{0,200}?charset\s*=\s*[\"']?\s*([A-Za-z0-9_-]{2,40})", re.I)
MAX_COLUMNS = 512


def decoded(content: bytes) -> str:
    """Bytes as text: by their mark, as UTF-8, by what an HTML head says, or by the look of them."""
    for mark, encoding in (
        (b"\xef\xbb\xbf", "utf-8-sig"),
        (b"\xff\xfe\x00\x00", "utf-32"),
        (b"\xff\xfe", "utf-16"),
        (b"\xfe\xff", "utf-16"),
    ):
        if content.startswith(mark):
            return content.decode(encoding, "replace")
    try:
        return content.decode()
    except UnicodeDecodeError:
        pass
    said = _META.search(content[:4096])
    if said is not None:
        try:
            return content.decode(said[1].decode("ascii"), "replace")
        except LookupError:
            pass
    if (windows := _windows(content[:200_000])) is not None:
        return content.decode(windows, "replace")
    from charset_normalizer import from_bytes

    best = from_bytes(content[:200_000], cp_exclusion=_NOT_GUESSED).best()
    return content.decode(best.encoding if best is not None else "cp1252", "replace")


_WESTERN = frozenset("äöüßÄÖÜéèêëÉÈÊËàâáãåæÀÂÁÃÅÆçÇîïíìÎÏÍÌôóòõøœÔÓÒÕØŒùûúÙÛÚñÑÿŸ")
_IN_A_WORD = re.compile("[A-Za-z][\u00a1-\u00bf\ufffd][a-z]")
_OTHER_WINDOWS = {"pl": "cp1250", "cs": "cp1250", "hu": "cp1250", "ro": "cp1250", "tr": "cp1254"}
# fmt: off
_NOT_GUESSED = [
    "cp437", "cp775", "cp850", "cp852", "cp855", "cp857", "cp858", "cp860", "cp861", "cp862", "cp863", "cp864",
    "cp865", "cp866", "cp869", "cp1125", "cp037", "cp273", "cp424", "cp500", "cp875", "cp1026", "cp1140", "hp_roman8",
    "mac_iceland", "mac_latin2", "mac_roman", "mac_turkish",
]
# fmt: on
"""Of DOS, mainframes and old Macs: what is short is taken for them far more often than it is of them."""


def _windows(content: bytes) -> str | None:
    """Windows' encoding of a text in Latin letters, as spreadsheets save it; None where it does not look like one.

    A guess by the bytes alone mixes up those of Western and Central Europe, in which `è` and `č` are one byte.
    """
    said = content.decode("cp1252", "replace")
    letters = [letter for letter in said if letter.isalpha()]
    high = [letter for letter in letters if not letter.isascii()]
    if len(high) * 2 > len(letters):
        return None
    if (other := _OTHER_WINDOWS.get(languages.detect(said) or "")) is not None:
        return other
    return "cp1252" if _WESTERN.issuperset(high) and _IN_A_WORD.search(said) is None else None


def text(path: Path) -> Extracted:
    gathered = Gathering()
    words = decoded(path.read_bytes())
    gathered.measure(len(words) // 2)
    if words.count("\ufffd") * 3 > len(words):
        raise Unreadable("unreadable", "The file is not text, or of an encoding that cannot be told.")
    gathered.extend(paragraphs(words))
    return Extracted(gathered.blocks)


_ATX = re.compile(r" {0,3}(#{1,6})[ \t]+(.+?)[ \t#]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_SETEXT = re.compile(r" {0,3}(=+|-{3,})[ \t]*$")
_LINK = re.compile(r"!?\[([^\[\]\n]{0,500})\]\([^()\n]{0,2000}\)")


def markdown(path: Path) -> Extracted:
    gathered = Gathering()
    gathered.extend(markdown_blocks(decoded(path.read_bytes())))
    title = next((block.text for block in gathered.blocks if block.kind == "heading" and block.level == 1), None)
    return Extracted(gathered.blocks, title=title)


def markdown_blocks(source: str, **place: Any) -> Iterator[Block]:
    """Headings, paragraphs and code of Markdown. Links keep their words."""
    lines = source.replace("\r\n", "\n").replace("\r", "\n").split("\n")
    if lines and lines[0].strip() == "---":  # front matter
        end = next((number for number, line in enumerate(lines[1:200], 1) if line.strip() in ("---", "...")), None)
        lines = lines[end + 1 :] if end is not None else lines
    waiting: list[str] = []
    fence: str | None = None

    def flush(kind: Any = "text") -> Iterator[Block]:
        said = "\n".join(waiting) if kind == "code" else tidy(_LINK.sub(r"\1", "\n".join(waiting)))
        waiting.clear()
        if said.strip():
            yield Block(tidy(said) if kind != "code" else _without_control(said), kind, **place)

    for line in lines:
        if fence is not None:
            if line.strip().startswith(fence) and not line.strip().strip(fence[0]):
                fence = None
                yield from flush("code")
            else:
                waiting.append(line)
        elif (opening := _FENCE.match(line)) is not None:
            yield from flush()
            fence = opening[1]
        elif (heading := _ATX.match(line)) is not None:
            yield from flush()
            if words := tidy(_LINK.sub(r"\1", heading[2])):
                yield Block(words, "heading", len(heading[1]), **place)
        elif len(waiting) == 1 and waiting[0].strip() and (under := _SETEXT.match(line)) is not None:
            words = tidy(_LINK.sub(r"\1", waiting.pop()))
            if words:
                yield Block(words, "heading", 1 if under[1][0] == "=" else 2, **place)
        elif not line.strip():
            yield from flush()
        else:
            waiting.append(line)
    yield from flush("code" if fence is not None else "text")


def _without_control(said: str) -> str:
    """Code keeps its blanks."""
    return "".join(character for character in said if character.isprintable() or character in "\n\t")


def json(path: Path) -> Extracted:
    content = path.read_bytes()
    gathered = Gathering()
    try:
        values = [orjson.loads(content)]
    except orjson.JSONDecodeError:
        try:
            values = [orjson.loads(line) for line in content.splitlines() if line.strip()]
        except orjson.JSONDecodeError as wrong:
            raise Unreadable("unreadable", f"The file is not valid JSON: {str(wrong)[:120]}.") from None
    for number, value in enumerate(values):
        place = f"[{number}]" if len(values) > 1 else ""
        for part in _leaves(value, place):
            gathered.add(Block(tidy(part), "row"))
    return Extracted(gathered.blocks)


def _leaves(value: Any, path: str) -> Iterator[str]:
    """Records of plain values as one line, so that what belongs together stays together."""
    if isinstance(value, dict):
        plain = {k: v for k, v in value.items() if not isinstance(v, dict | list)}
        if plain:
            said = "; ".join(f"{key}: {item}" for key, item in plain.items() if item is not None)
            yield f"{path}: {said}" if path else said
        for key, item in value.items():
            if isinstance(item, dict | list):
                yield from _leaves(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        plain_items = [item for item in value if not isinstance(item, dict | list)]
        if plain_items:
            yield f"{path}: {', '.join(map(str, plain_items))}" if path else ", ".join(map(str, plain_items))
        for number, item in enumerate(value):
            if isinstance(item, dict | list):
                yield from _leaves(item, f"{path}[{number}]")
    else:
        yield f"{path}: {value}" if path else str(value)


def table(path: Path) -> Extracted:
    """CSV, whatever its separator. A row becomes `heading: value; ...`, with its cells."""
    source = decoded(path.read_bytes())
    gathered = Gathering()
    if "\x00" in source[:10_000]:
        raise Unreadable("unreadable", "The file is not a table of text: it holds binary data.")
    try:
        dialect: Any = csv.Sniffer().sniff(source[:65_536], delimiters=",;\t|")
    except csv.Error:
        dialect = csv.excel
    csv.field_size_limit(1_000_000)
    try:
        gathered.extend(rows(csv.reader(io.StringIO(source, newline=""), dialect), None))
    except csv.Error as wrong:
        raise Unreadable("unreadable", f"The table cannot be read: {str(wrong)[:120]}.") from None
    return Extracted(gathered.blocks)


def rows(source: Any, sheet: str | None, first: int = 1, left: int = 0) -> Iterator[Block]:
    """Rows as blocks. The first row with words in most of its cells names the columns."""
    names: list[str] | None = None
    for number, row in enumerate(source, first):
        cells = [_cell(value) for value in row[:MAX_COLUMNS]]
        filled = [column for column, value in enumerate(cells) if value]
        if not filled:
            continue
        place = f"{column_name(left + filled[0])}{number}:{column_name(left + filled[-1])}{number}"
        if names is None:
            names = cells if len(filled) > 1 and not any(_number(cells[column]) for column in filled) else []
            said = " | ".join(cells[column] for column in filled)
        elif names:
            said = "; ".join(
                f"{names[column]}: {cells[column]}" if column < len(names) and names[column] else cells[column]
                for column in filled
            )
        else:
            said = " | ".join(cells[column] for column in filled)
        yield Block(tidy(said), "row", sheet=sheet, cells=place)


def _cell(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, float) and value.is_integer() and abs(value) < 1e15:
        return str(int(value))
    return tidy(str(value)).replace("\n", " ")


def _number(value: str) -> bool:
    return bool(re.fullmatch(r"[-+]?[\d.,' %€$£]+", value))


def column_name(number: int) -> str:
    """0 is A, 26 is AA."""
    name = ""
    number += 1
    while number > 0:
        number, rest = divmod(number - 1, 26)
        name = chr(65 + rest) + name
    return name


def rich_text(path: Path) -> Extracted:
    from striprtf.striprtf import rtf_to_text

    source = path.read_bytes().decode("latin-1")
    if source.count("{") > 500_000:
        raise Unreadable("too_long", "The RTF file is nested beyond what can be read.")
    gathered = Gathering()
    words = str(rtf_to_text(source, errors="replace"))  # type: ignore[no-untyped-call]
    gathered.extend(paragraphs(re.sub(r"\n(?!\n)", "\n\n", words)))
    return Extracted(gathered.blocks)


def mail(path: Path) -> Extracted:
    """A mail: its heading lines, its text, and the names of what is attached."""
    from domain.knowledge.extraction import web

    message = email.message_from_bytes(path.read_bytes(), policy=email.policy.default)
    gathered = Gathering()
    subject = tidy(str(message.get("subject") or ""))
    if not subject and message.get("from") is None:
        raise Unreadable("unreadable", "The file is not a mail: it has neither a subject nor a sender.")
    if subject:
        gathered.add(Block(subject, "heading", 1))
    head = [
        f"{name.capitalize()}: {tidy(str(message[name]))}" for name in ("from", "to", "cc", "date") if message[name]
    ]
    gathered.add(Block("\n".join(head)))
    body = message.get_body(("plain", "html"))
    if body is not None:
        content = body.get_content()
        said = content if isinstance(content, str) else decoded(bytes(content))
        if body.get_content_subtype() == "html":
            gathered.extend(web.blocks_of(said))
        else:
            gathered.extend(paragraphs(said))
    attached = [tidy(part.get_filename() or "") for part in message.iter_attachments()]
    if any(attached):
        gathered.add(Block("Attached: " + ", ".join(name for name in attached if name)))
    return Extracted(gathered.blocks, title=subject or None)
