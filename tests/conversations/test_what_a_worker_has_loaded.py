"""A file that comes with a message is read in a fork of a worker with many threads: it must need no import there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pypdf
from pypdf.generic import DecodedStreamObject, DictionaryObject, NameObject

ROOT = Path(__file__).parents[2]

PROGRAM = """
import sys
from pathlib import Path

from domain import inference, startup
from workers.registry import load_jobs

startup.load_tables()
inference.configure({})
for warm in load_jobs().warmers["interactive"]:
    warm()

from domain.conversations import attachments, engine
from domain.knowledge.extraction import paged, sandbox

before = set(sys.modules)
for name in sys.argv[2:]:
    path = Path(sys.argv[1]) / name
    for reader in (paged.pdf, paged._second) if path.suffix == ".pdf" else (sandbox.READERS["txt"],):
        head, content = sandbox._attempt(lambda: sandbox._text_of(reader(path)))
        sandbox._said(head, content)
        print(name, head.get("code", "read"), sorted(set(sys.modules) - before))
"""


def dictionary(entries):
    values = {key: NameObject(value) if isinstance(value, str) else value for key, value in entries.items()}
    return DictionaryObject({NameObject(key): value for key, value in values.items()})


def test_reading_a_file_that_came_with_a_message_imports_nothing(tmp_path):
    pdf = pypdf.PdfWriter()
    page = pdf.add_blank_page(300, 100)
    font = {"/Type": "/Font", "/Subtype": "/Type1", "/BaseFont": "/Helvetica"}
    page[NameObject("/Resources")] = dictionary({"/Font": dictionary({"/F1": dictionary(font)})})
    words = DecodedStreamObject()
    words.set_data(b"BT /F1 12 Tf 10 50 Td (The depot is in Kiel.) Tj ET")
    page[NameObject("/Contents")] = pdf._add_object(words)
    pdf.write(tmp_path / "words.pdf")
    page.compress_content_streams()
    pdf.write(tmp_path / "small.pdf")
    pdf.encrypt("secret")
    pdf.write(tmp_path / "locked.pdf")
    (tmp_path / "broken.pdf").write_bytes(b"%PDF-1.7 no")
    (tmp_path / "plain.txt").write_text("The depot is in Kiel.")
    (tmp_path / "odd.txt").write_bytes("Ветер дует с моря и гонит к берегу волны.".encode("koi8-r") * 5)
    expected = {
        "words.pdf": ["read"] * 2,
        "small.pdf": ["read"] * 2,
        "locked.pdf": ["encrypted"] * 2,
        "broken.pdf": ["unreadable"] * 2,
        "plain.txt": ["read"],
        "odd.txt": ["read"],
    }
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "src")])}
    told = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(tmp_path), *expected],
        env=environment, capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert told.returncode == 0, told.stderr
    assert told.stdout.splitlines() == [f"{name} {code} []" for name, codes in expected.items() for code in codes]
