"""ECMA-262 patterns (unicode mode) for the Rust engines behind jsonschema-rs.

There are two of them: a fast one, and one for look-around and back references, which reads `\\d`, `\\w` and `\\s` by
Unicode. So everything that either reads differently from ECMA-262 is spelled out. Compared with V8 on random patterns.
"""

from __future__ import annotations

_LAST = "\\u{10FFFF}"
_SETS = {
    "d": "0-9",
    "D": f"\\x00-\\x2F\\x3A-{_LAST}",
    "w": "0-9A-Za-z_",
    "W": f"\\x00-\\x2F\\x3A-\\x40\\x5B-\\x5E\\x60\\x7B-{_LAST}",
    "s": "\\x09-\\x0D\\x20\\xA0\\u1680\\u2000-\\u200A\\u2028\\u2029\\u202F\\u205F\\u3000\\uFEFF",
    "S": (
        "\\x00-\\x08\\x0E-\\x1F\\x21-\\x9F\\xA1-\\u167F\\u1681-\\u1FFF\\u200B-\\u2027\\u202A-\\u202E\\u2030-\\u205E"
        f"\\u2060-\\u2FFF\\u3001-\\uFEFE\\uFF00-{_LAST}"
    ),
}
_WORD = "[0-9A-Za-z_]"
_BOUNDARY = f"(?:(?<={_WORD})(?!{_WORD})|(?<!{_WORD})(?={_WORD}))"
_NO_BOUNDARY = f"(?:(?<={_WORD})(?={_WORD})|(?<!{_WORD})(?!{_WORD}))"
_DOT = "[^\\n\\r\\u2028\\u2029]"
_ANY = f"[\\x00-{_LAST}]"
_NONE = f"[^\\x00-{_LAST}]"
_IN_CLASS = {"[": "\\[", "&": "\\x26", "~": "\\x7E"}
"""Nested classes and set operations there, plain characters here."""


def ecma_pattern(pattern: str) -> str:
    """The same language for the Rust engines. What is no ECMA-262 pattern stays none, and fails when it is compiled."""
    out: list[str] = []
    in_class = after_set = False
    index = 0
    while index < len(pattern):
        char = pattern[index]
        if char == "\\" and index + 1 < len(pattern):
            after_set = pattern[index + 1] in _SETS
            piece, index = _escape(pattern, index, in_class)
            out.append(piece)
            continue
        if in_class:
            in_class = char != "]"
            if char == "-" and (after_set or _set_at(pattern, index + 1)):
                char = "\\-"  # no range has a set as its end: a plain hyphen (ECMA-262, Annex B)
            out.append(_IN_CLASS.get(char, char))
        elif pattern.startswith("[]", index):
            out.append(_NONE)
            index += 1
        elif pattern.startswith("[^]", index):
            out.append(_ANY)
            index += 2
        elif char == "[":
            in_class = True
            out.append(char)
            if pattern.startswith("^", index + 1):
                out.append("^")
                index += 1
        else:
            out.append(_DOT if char == "." else char)
        after_set = False
        index += 1
    return "".join(out)


def _set_at(pattern: str, index: int) -> bool:
    return pattern[index : index + 1] == "\\" and pattern[index + 1 : index + 2] in _SETS


def _escape(pattern: str, index: int, in_class: bool) -> tuple[str, int]:
    char = pattern[index + 1]
    after = index + 2
    if char in _SETS:
        return (_SETS[char] if in_class else f"[{_SETS[char]}]"), after
    if char == "b":
        return ("\\x08" if in_class else _BOUNDARY), after
    if char == "B" and not in_class:
        return _NO_BOUNDARY, after
    if char in "<>":
        return char, after
    if char == "0" and not pattern[after : after + 1].isdigit():
        return "\\x00", after
    if char == "c" and (letter := pattern[after : after + 1]).isascii() and letter.isalpha():
        return f"\\x{ord(letter) % 32:02X}", after + 1
    if char == "u" and (pair := _surrogate_pair(pattern, index)) is not None:
        return f"\\u{{{pair:X}}}", index + 12
    return pattern[index:after], after


def _surrogate_pair(pattern: str, index: int) -> int | None:
    if pattern[index + 6 : index + 8] != "\\u":
        return None
    try:
        high, low = int(pattern[index + 2 : index + 6], 16), int(pattern[index + 8 : index + 12], 16)
    except ValueError:
        return None
    if not (0xD800 <= high < 0xDC00 <= low < 0xE000):
        return None
    return 0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)
