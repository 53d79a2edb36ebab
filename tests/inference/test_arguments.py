"""Arguments of tools, read from plain words."""

from __future__ import annotations

import pytest

from domain.inference.drivers.chat_arguments import arguments

PROGRAM = {"required": ["code"], "properties": {"code": {"type": "string", "maxLength": 60}}}


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ("Run this program:\n```python\nimport os\nprint(6*7, 'hello')\n```", "import os\nprint(6*7, 'hello')\n"),
        ("Run:\n```\nprint(1)\n```\nand tell me.", "print(1)\n"),
        ("Run `print('a')`, please", "print('a')"),
        ("Run the program 'hello'", None),
        ("Run:\n```\n\n```", None),
        ("Run:\n```\n" + "print(1)\n" * 10 + "```", None),
    ],
)
def test_a_program_is_taken_whole_as_it_is_marked_or_not_at_all(words, code):
    given, missing = arguments(words, PROGRAM)
    assert (given.get("code"), missing) == (code, [] if code else ["code"])
