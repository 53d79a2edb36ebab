# ruff: noqa: E501 - the table of hostile files is read as a table
"""Reading files: real ones give text with its places, hostile ones give a reason, and none harms the process."""

from __future__ import annotations

import io
import json
import os
import resource
import struct
import time
import zipfile
import zlib
from pathlib import Path

import psutil
import pytest

from domain.kernel.errors import Unavailable
from domain.knowledge import chunking
from domain.knowledge.extraction import blocks, plain, sandbox
from domain.knowledge.extraction.blocks import Unreadable
from domain.knowledge.rules import Chunking

LIMITS = sandbox.Limits(memory=400 << 20, seconds=20)
SITE = Path(zipfile.__file__).parents[1]


def read(tmp_path, content, kind, limits=LIMITS):
    path = tmp_path / f"file.{kind}"
    path.write_bytes(content)
    found = sandbox.read(path, kind, limits)
    return blocks.unpacked(found.content), found


def zipped(members, **more):
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as container:
        for name, content in members.items():
            container.writestr(name, content)
    return made.getvalue()


# --- real files -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path", ["/usr/share/doc/libtasn1-doc/libtasn1.pdf", "/usr/share/doc/shared-mime-info/shared-mime-info-spec.pdf"]
)
def test_a_pdf_that_ships_with_the_system_keeps_pages_and_headings(path):
    if not Path(path).exists():
        pytest.skip(f"{path} is not on this machine")
    found = sandbox.read(Path(path), "pdf")
    made = blocks.unpacked(found.content)
    assert found.page_count > 10
    assert found.language == "en"
    pages = [block.page for block in made]
    assert pages == sorted(pages)
    assert {1, found.page_count} <= set(pages)
    assert sum(block.kind == "heading" for block in made) > 10
    assert sum(len(block.text) for block in made) > 20_000


def test_licences_and_metadata_of_installed_packages_are_read():
    texts = [
        path
        for path in Path(pytest.__file__).parents[1].glob("*.dist-info/licenses/LICENSE*")
        if path.stat().st_size > 500
    ][:12]
    assert len(texts) > 5
    for path in texts:
        found = sandbox.read(path, "txt")
        assert found.characters > 400
        assert found.language in ("en", None)


def test_a_word_document_keeps_headings_tables_and_pages(tmp_path):
    import docx

    document = docx.Document()
    document.core_properties.title = "The contract"
    document.add_heading("Contract", 1)
    document.add_paragraph("Between Ada and Babbage.")
    document.add_heading("Notice", 2)
    document.add_paragraph("Three months.")
    table = document.add_table(rows=2, cols=2)
    for number, words in enumerate(("Part", "Price", "Engine", "10")):
        table.cell(number // 2, number % 2).text = words
    document.save(tmp_path / "real.docx")
    found = sandbox.read(tmp_path / "real.docx", "docx")
    made = blocks.unpacked(found.content)
    assert [(b.kind, b.level, b.text) for b in made] == [
        ("heading", 1, "Contract"),
        ("text", 0, "Between Ada and Babbage."),
        ("heading", 2, "Notice"),
        ("text", 0, "Three months."),
        ("row", 0, "Part | Price"),
        ("row", 0, "Engine | 10"),
    ]
    assert found.title == "The contract"


def test_a_workbook_keeps_sheets_and_cells(tmp_path):
    import openpyxl

    book = openpyxl.Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet["B2"], sheet["C2"], sheet["B3"], sheet["C3"] = "Part", "Price", "Engine", 1200
    other = book.create_sheet("Notes")
    other["A1"] = "All prices without taxes"
    book.save(tmp_path / "real.xlsx")
    made = blocks.unpacked(sandbox.read(tmp_path / "real.xlsx", "xlsx").content)
    assert [(b.kind, b.sheet, b.cells, b.text) for b in made] == [
        ("heading", "Prices", None, "Prices"),
        ("row", "Prices", "B2:C2", "Part | Price"),
        ("row", "Prices", "B3:C3", "Part: Engine; Price: 1200"),
        ("heading", "Notes", None, "Notes"),
        ("row", "Notes", "A1:A1", "All prices without taxes"),
    ]


def test_a_passage_of_several_sheets_says_where_it_begins_and_which_cells_hold_its_rows_there():
    rows = [
        blocks.Block("Prices", "heading", 1, sheet="Prices"),
        blocks.Block("Part: Engine; Price: 1200", "row", sheet="Prices", cells="B9:C9"),
        blocks.Block("Note: without taxes", "row", sheet="Prices", cells="A10:A10"),
        blocks.Block("Part: Wheel; Stock: many", "row", sheet="Prices", cells="B11:AA11"),
        blocks.Block("Notes", "heading", 1, sheet="Notes"),
        blocks.Block("All of it is old", "row", sheet="Notes", cells="A1:A1"),
    ]
    whole = list(chunking.cut(rows, Chunking()))
    told = [(each.heading, each.position["sheet"], each.position["cells"]) for each in whole]
    assert told == [("Prices", "Prices", "A9:AA11")]
    parts = list(chunking.cut(rows, Chunking(unit="characters", size=100, overlap=0)))
    told = [(each.heading, each.position["sheet"], each.position["cells"]) for each in parts]
    assert told == [("Prices", "Prices", "A9:AA11"), ("Notes", "Notes", "A1:A1")]


def test_a_presentation_keeps_slides_and_notes(tmp_path):
    import pptx

    presentation = pptx.Presentation()
    slide = presentation.slides.add_slide(presentation.slide_layouts[1])
    slide.shapes.title.text = "Plan"
    slide.placeholders[1].text = "Build the engine"
    slide.notes_slide.notes_text_frame.text = "Speak slowly"
    presentation.save(tmp_path / "real.pptx")
    found = sandbox.read(tmp_path / "real.pptx", "pptx")
    assert [(b.page, b.text) for b in blocks.unpacked(found.content)] == [
        (1, "Plan"),
        (1, "Build the engine"),
        (1, "Notes: Speak slowly"),
    ]


@pytest.mark.parametrize(
    ("said", "encoding"),
    [
        ("Die Käsespätzle schmecken in Tübingen vorzüglich.", "cp1252"),
        ("Nom;Prénom;Ville\nLefèvre;François;Nîmes\nBérénice;Hélène;Besançon\n", "cp1252"),
        ("Mañana también comió jamón el niño, ¿verdad?", "cp1252"),
        ("Coördinatie van één geïnteresseerde", "cp1252"),
        ("Größe", "cp1252"),
        ("Wczoraj byłem w Łodzi i kupiłem książkę, która jest na stole.", "cp1250"),
        ("Съешь ещё этих мягких французских булок, да выпей чаю.", "cp1251"),
        ("こんにちは世界。これは日本語の文章です。", "shift_jis"),
    ],
)
def test_a_text_without_a_mark_is_read_in_the_encoding_that_its_letters_make_sense_in(tmp_path, said, encoding):
    path = tmp_path / "file.txt"
    path.write_bytes(said.encode(encoding))
    assert " ".join(block.text for block in plain.text(path).blocks).split() == said.split()


def test_tables_of_text_keep_cells_whatever_their_separator_and_encoding(tmp_path):
    for separator, encoding in ((",", "utf-8"), (";", "cp1252"), ("\t", "utf-16")):
        lines = ["Name,City,Note", "Müller,Zürich,grüßt", "Ångström,Malmö,hälsar", "Núñez,León,señala"]
        content = "\r\n".join(lines).replace(",", separator).encode(encoding)
        made, _ = read(tmp_path, content, "csv")
        assert (made[1].cells, made[1].text) == ("A2:C2", "Name: Müller; City: Zürich; Note: grüßt")


@pytest.mark.parametrize("main", ["main", "article", "div"])
def test_a_short_page_is_read_without_its_menus_and_with_its_heading(tmp_path, main):
    source = f"""<html><head><title>Hours</title></head><body><header><a href=/>Home</a></header><nav>Products</nav>
    <{main}><header><h1>Opening hours</h1></header><p>We are open from nine to five.</p></{main}>
    <aside>Have a look at our offers.</aside><footer>All rights reserved.</footer></body></html>"""
    made, _ = read(tmp_path, source.encode(), "html")
    assert [block.text for block in made] == ["Opening hours", "We are open from nine to five."]
    assert made[0].level == 1


def test_a_page_that_is_all_menu_is_still_read(tmp_path):
    made, _ = read(tmp_path, b"<html><body><nav><a href=/a>Products and prices</a></nav></body></html>", "html")
    assert [block.text for block in made] == ["Products and prices"]


def test_a_page_keeps_its_words_and_leaves_its_scripts(tmp_path):
    source = b"""<html><head><title>Guide</title><script>alert(1)</script></head><body><nav><a href=/>Home</a></nav>
    <h1>Guide</h1><p>First words of the guide that matter to a reader.</p><h2>More</h2><p>And the rest of it.</p>
    <script>steal()</script></body></html>"""
    made, found = read(tmp_path, source, "html")
    words = " ".join(block.text for block in made)
    assert "matter to a reader" in words
    assert "steal" not in words
    assert found.title == "Guide"


def test_mails_books_rich_text_json_and_open_documents_are_read(tmp_path):
    mail = b"From: ada@example.org\r\nTo: b@example.org\r\nSubject: Notice\r\n\r\nThree months it is.\r\n"
    made, found = read(tmp_path, mail, "eml")
    assert found.title == "Notice"
    assert made[-1].text == "Three months it is."
    made, _ = read(tmp_path, rb"{\rtf1\ansi Some \b bold\b0  words.\par More.}", "rtf")
    assert [block.text for block in made] == ["Some bold words.", "More."]
    made, _ = read(tmp_path, json.dumps([{"name": "Ada", "born": 1815, "works": ["Notes"]}]).encode(), "json")
    assert made[0].text == "[0]: name: Ada; born: 1815"
    book = zipped(
        {
            "mimetype": "application/epub+zip",
            "META-INF/container.xml": "<container><rootfiles><rootfile full-path='O/p.opf'/></rootfiles></container>",
            "O/p.opf": "<package><metadata><title>Book</title></metadata><manifest><item id='a' href='a.xhtml'/></manifest>"
            "<spine><itemref idref='a'/></spine></package>",
            "O/a.xhtml": "<html><body><h1>One</h1><p>It was a dark night.</p></body></html>",
        }
    )
    made, found = read(tmp_path, book, "epub")
    assert found.title == "Book"
    assert "dark night" in made[-1].text
    content = (
        "<office:document-content xmlns:office='o' xmlns:text='urn:oasis:names:tc:opendocument:xmlns:text:1.0'>"
        "<text:h text:outline-level='2'>Head</text:h><text:p>Some<text:s/>words</text:p></office:document-content>"
    )
    made, _ = read(tmp_path, zipped({"content.xml": content}), "odt")
    assert [(block.kind, block.level, block.text) for block in made] == [
        ("heading", 2, "Head"),
        ("text", 0, "Some words"),
    ]


def test_an_old_word_document_is_read_by_its_pieces(tmp_path):
    words = "Old words.\rSecond paragraph with ümlauts.\r"
    found, _ = read(tmp_path, word97(words), "doc")
    assert [block.text for block in found] == ["Old words.", "Second paragraph with ümlauts."]


# --- hostile files --------------------------------------------------------------------------------------------


def ole(streams):
    """A compound file ([MS-CFB]) with these streams; each is padded to the size that keeps it out of the mini stream."""
    sector = 512
    data, fat, entries = b"", [], []
    for name, content in streams.items():
        padded = content.ljust(max(4096, -(-len(content) // sector) * sector), b"\0")
        start, count = len(fat), len(padded) // sector
        fat += [*range(start + 1, start + count), 0xFFFFFFFE]
        data += padded
        entries.append((name, 2, start, len(padded)))
    directory_at = len(fat)
    rows = [("Root Entry", 5, 0xFFFFFFFE, 0), *entries]
    directory = b""
    for number, (name, kind, start, size) in enumerate(rows):
        encoded = name.encode("utf-16-le") + b"\0\0"
        right = number + 1 if 0 < number < len(rows) - 1 else 0xFFFFFFFF
        child = 1 if number == 0 and len(rows) > 1 else 0xFFFFFFFF
        directory += encoded.ljust(64, b"\0") + struct.pack("<HBBIII", len(encoded), kind, 1, 0xFFFFFFFF, right, child)
        directory += b"\0" * 36 + struct.pack("<IQ", start, size)
    directory = directory.ljust(-(-len(directory) // sector) * sector, b"\0")
    count = len(directory) // sector
    fat += [*range(directory_at + 1, directory_at + count), 0xFFFFFFFE]
    fat_at = len(fat)
    fat.append(0xFFFFFFFD)
    assert len(fat) <= 128
    table = struct.pack(f"<{len(fat)}I", *fat).ljust(sector, b"\xff")
    header = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + b"\0" * 16 + struct.pack("<HHHHH", 0x3E, 3, 0xFFFE, 9, 6) + b"\0" * 6
    header += struct.pack("<IIIIIIIII", 0, 1, directory_at, 0, 4096, 0xFFFFFFFE, 0, 0xFFFFFFFE, 0)
    header += struct.pack("<I", fat_at) + b"\xff" * (512 - 80)
    return header + data + directory + table


def word97(words, flags=0x0200, **more):
    body = words.encode("utf-16-le")
    main = bytearray(2048)
    main[0:2] = b"\xec\xa5"
    struct.pack_into("<H", main, 0x0A, flags)
    struct.pack_into("<i", main, 0x4C, len(words))
    clx = (
        b"\x02"
        + struct.pack("<I", 16)
        + struct.pack("<II", 0, len(words))
        + b"\0\0"
        + struct.pack("<I", 2048)
        + b"\0\0"
    )
    struct.pack_into("<II", main, 0x01A2, 0, len(clx))
    return ole({"WordDocument": bytes(main) + body, "1Table": clx, **more})


def pdf(objects, trailer=b"/Root 1 0 R"):
    content = b"%PDF-1.7\n"
    for number, body in objects.items():
        content += b"%d 0 obj\n%s\nendobj\n" % (number, body)
    return content + b"trailer\n<< %s >>\nstartxref\n0\n%%%%EOF" % trailer


def locked_pdf():
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    writer.encrypt("secret", algorithm="RC4-128")
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def blank_pdf():
    import pypdf

    writer = pypdf.PdfWriter()
    writer.add_blank_page(200, 200)
    made = io.BytesIO()
    writer.write(made)
    return made.getvalue()


def bomb_pdf():
    stream = zlib.compress(b"(boom) Tj " * 30_000_000, 9)
    return pdf(
        {
            1: b"<< /Type /Catalog /Pages 2 0 R >>",
            2: b"<< /Type /Pages /Kids [3 0 R] /Count 1 >>",
            3: b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 9 9] /Contents 4 0 R >>",
            4: b"<< /Length %d /Filter /FlateDecode >> stream\n%s\nendstream" % (len(stream), stream),
        }
    )


DOCX = {
    "[Content_Types].xml": "<Types xmlns='http://schemas.openxmlformats.org/package/2006/content-types'>"
    "<Default Extension='rels' ContentType='application/vnd.openxmlformats-package.relationships+xml'/>"
    "<Override PartName='/word/document.xml' ContentType="
    "'application/vnd.openxmlformats-officedocument.wordprocessingml.document.main+xml'/></Types>",
    "_rels/.rels": "<Relationships xmlns='http://schemas.openxmlformats.org/package/2006/relationships'><Relationship "
    "Id='r' Type='http://schemas.openxmlformats.org/officeDocument/2006/relationships/officeDocument' "
    "Target='word/document.xml'/></Relationships>",
}
W = "xmlns:w='http://schemas.openxmlformats.org/wordprocessingml/2006/main'"
LAUGHS = (
    "<!DOCTYPE x [<!ENTITY a 'haha'>"
    + "".join(f"<!ENTITY {chr(98 + n)} '{('&' + chr(97 + n) + ';') * 10}'>" for n in range(9))
    + "]>"
)


def docx_of(document, **more):
    return zipped(DOCX | {"word/document.xml": document} | more)


def forged_docx(tmp):
    made = bytearray(docx_of(f"<w:document {W}/>"))
    at = made.rfind(b"PK\x01\x02")
    struct.pack_into("<I", made, at + 24, 0xFFFFFFF0)  # claims to unpack to 4 GB
    return bytes(made)


def twice_docx():
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w") as container:
        for name, content in (DOCX | {"word/document.xml": f"<w:document {W}/>"}).items():
            container.writestr(name, content)
        with pytest.warns(UserWarning, match="Duplicate name"):
            container.writestr("word/document.xml", "<other/>")
    return made.getvalue()


def wide_xlsx():
    import openpyxl

    book = openpyxl.Workbook()
    book.active["A1"], book.active["XFD1048576"] = "first", "last"
    made = io.BytesIO()
    book.save(made)
    return made.getvalue()


def xlsx_with(sheet):
    import openpyxl

    made = io.BytesIO()
    openpyxl.Workbook().save(made)
    with zipfile.ZipFile(made) as container:
        members = {name: container.read(name) for name in container.namelist()}
    return zipped(members | {"xl/worksheets/sheet1.xml": sheet})


HOSTILE = {
    "an empty pdf": ("pdf", lambda: b"", "unreadable"),
    "a pdf that is cut off": ("pdf", lambda: Path("/usr/share/doc/libtasn1-doc/libtasn1.pdf").read_bytes()[:900], "unreadable"),
    "a pdf of noise": ("pdf", lambda: b"%PDF-1.7\n" + os.urandom(20_000), "unreadable"),
    "a pdf with a password": ("pdf", locked_pdf, "encrypted"),
    "a pdf without text": ("pdf", blank_pdf, "empty"),
    "a pdf whose pages lead in a circle": ("pdf", lambda: pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [2 0 R] /Count 1 >>"}), None),
    "a pdf that claims a billion pages": ("pdf", lambda: pdf({1: b"<< /Type /Catalog /Pages 2 0 R >>", 2: b"<< /Type /Pages /Kids [] /Count 999999999 >>"}), None),
    "a pdf whose page unpacks to 300 MB": ("pdf", bomb_pdf, None),
    "a docx that is cut off": ("docx", lambda: docx_of(f"<w:document {W}/>")[:-60], "unreadable"),
    "a docx bomb": ("docx", lambda: docx_of(b"<a>" + b" " * 200_000_000), "too_long"),
    "a docx that lies about its size": ("docx", lambda: forged_docx(None), None),
    "a docx with a billion laughs": ("docx", lambda: docx_of(f"{LAUGHS}<w:document {W}><w:body><w:p><w:r><w:t>&j;</w:t></w:r></w:p></w:body></w:document>"), None),
    "a docx that reads the server's files": ("docx", lambda: docx_of(f"<!DOCTYPE x [<!ENTITY a SYSTEM 'file:///etc/passwd'>]><w:document {W}><w:body><w:p><w:r><w:t>&a;</w:t></w:r></w:p></w:body></w:document>"), None),
    "a docx with macros": ("docx", lambda: docx_of(f"<w:document {W}/>", **{"word/vbaProject.bin": b"x"}), "unreadable"),
    "a docx with a password": ("docx", lambda: ole({"EncryptedPackage": b"x" * 5000, "EncryptionInfo": b"y" * 5000}), "encrypted"),
    "a docx without a document": ("docx", lambda: zipped(DOCX), "unreadable"),
    "a docx nested 100,000 deep": ("docx", lambda: docx_of(f"<w:document {W}><w:body>" + "<w:p>" * 100_000 + "</w:p>" * 100_000 + "</w:body></w:document>"), None),
    "a docx with a part twice": ("docx", twice_docx, "unreadable"),
    "a docx without words": ("docx", lambda: docx_of(f"<w:document {W}><w:body/></w:document>"), None),
    "an xlsx bomb": ("xlsx", lambda: xlsx_with(b"<worksheet>" + b"0" * 150_000_000), "too_long"),
    "an xlsx of 17 billion cells": ("xlsx", wide_xlsx, None),
    "an xlsx that is cut off": ("xlsx", lambda: wide_xlsx()[:3000], "unreadable"),
    "an xlsx of broken xml": ("xlsx", lambda: xlsx_with("<worksheet><sheetData><row r='1'><c r='A1'"), None),
    "an xls of noise": ("xls", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + os.urandom(9_000), "unreadable"),
    "an xls with macros": ("xls", lambda: ole({"Workbook": b"x", "_VBA_PROJECT_CUR": b"y"}), "unreadable"),
    "a workbook that is a document": ("xls", lambda: word97("words"), "unreadable"),
    "a doc of noise": ("doc", lambda: b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + os.urandom(9_000), "unreadable"),
    "a doc with a password": ("doc", lambda: word97("words", 0x0300), "encrypted"),
    "a doc with macros": ("doc", lambda: word97("words", Macros=b"m"), "unreadable"),
    "a doc whose pieces point nowhere": ("doc", lambda: word97("words").replace(struct.pack("<I", 2048) + b"\0\0", b"\xff\xff\xff\x3f\0\0"), None),
    "a pptx without slides' parts": ("pptx", lambda: zipped(DOCX), "unreadable"),
    "an odt with a password": ("odt", lambda: zipped({"content.xml": "x", "META-INF/manifest.xml": "<m:encryption-data/>"}), "encrypted"),
    "an odt with a billion laughs": ("odt", lambda: zipped({"content.xml": f"{LAUGHS}<a>&j;</a>"}), None),
    "an epub without a table of contents": ("epub", lambda: zipped({"mimetype": "application/epub+zip"}), "unreadable"),
    "an epub that climbs out of itself": ("epub", lambda: zipped({"META-INF/container.xml": "<c><rootfile full-path='../../etc/passwd'/></c>"}), "unreadable"),
    "a container of 30,000 members": ("odt", lambda: zipped({f"m{n}": "" for n in range(30_000)}), "too_long"),
    "rtf nested without an end": ("rtf", lambda: b"{\\rtf1" + b"{" * 600_000, "too_long"),
    "html nested 100,000 deep": ("html", lambda: b"<div>" * 100_000 + b"deep" + b"</div>" * 100_000, None),
    "html of unclosed tags": ("html", lambda: b"<p><b><table><tr><td>" * 60_000, None),
    "html with a billion laughs": ("html", lambda: f"{LAUGHS}<html><body>&j;</body></html>".encode(), None),
    "a csv of binary data": ("csv", lambda: b"a,b\n\x00\x01,\x02\n" * 100, "unreadable"),
    "a csv of a single giant cell": ("csv", lambda: b'"' + b"x" * 3_000_000, "unreadable"),
    "json nested 200,000 deep": ("json", lambda: b"[" * 200_000 + b"]" * 200_000, "unreadable"),
    "json that is none": ("json", lambda: b"{'a': 1}", "unreadable"),
    "a text of 45 million characters": ("txt", lambda: b"words and more\n\n" * 2_900_000, "too_long"),
    "a text of lone surrogates": ("txt", lambda: b"\xff\xfe" + b"\x00\xd8" * 4000, "unreadable"),
    "a mail that is none": ("eml", lambda: b"just words\n" * 50, "unreadable"),
    "a mail of mails without an end": ("eml", lambda: b"Subject: x\n" + b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(800)), None),
    "markdown of a million brackets": ("md", lambda: b"[" * 1_000_000, None),
    "markdown that never closes its code": ("md", lambda: b"```\n" + b"code\n" * 200_000, None),
}  # fmt: skip


@pytest.mark.parametrize("what", HOSTILE)
def test_a_hostile_file_ends_in_a_reason_or_in_text(tmp_path, what):
    kind, make, code = HOSTILE[what]
    content = make()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.monotonic()
    why = None
    try:
        made, _ = read(tmp_path, content, kind)
    except Unreadable as refused:
        why = refused
    if why is not None:
        assert code in (None, why.code), why.message
        assert 20 < len(why.message) < 300
        assert why.message[0].isupper()
        assert "Error" not in why.message
        assert str(tmp_path) not in why.message
    else:
        assert code is None, f"{what} was read as {len(made)} blocks"
        words = " ".join(block.text for block in made[:100])
        assert "root:" not in words
        assert len(words) < 5_000_000
    assert time.monotonic() - started < LIMITS.seconds + 5
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200 * 1024, "the parent paid for it"


def test_there_are_enough_kinds_of_hostile_files():
    assert len(HOSTILE) >= 30


def test_a_reader_that_takes_all_memory_or_time_ends_with_a_reason(tmp_path, monkeypatch):
    from domain.knowledge.extraction import sandbox as module

    (tmp_path / "a.txt").write_bytes(b"x")

    def greedy(path):
        return bytearray(4 << 30)

    def slow(path):
        while True:
            pass

    def dying(path):
        os.kill(os.getpid(), 11)

    def writing(path):
        (tmp_path / "written").write_bytes(b"x" * 100)

    for reader, code, seconds in (
        (greedy, "too_long", 10),
        (slow, "too_long", 1),
        (dying, "unreadable", 10),
        (writing, "unreadable", 10),
    ):
        monkeypatch.setattr(module, "READERS", {"txt": reader})
        with pytest.raises(Unreadable) as why:
            sandbox.read(tmp_path / "a.txt", "txt", sandbox.Limits(memory=256 << 20, seconds=seconds))
        assert why.value.code == code
    assert not (tmp_path / "written").exists() or (tmp_path / "written").stat().st_size == 0


def test_a_reader_that_is_killed_from_outside_is_no_verdict_on_its_file(tmp_path, monkeypatch):
    (tmp_path / "a.txt").write_bytes(b"words")

    def patient(path):
        time.sleep(60)

    before = psutil.Process().children()  # the servers of this run among them

    def kill():
        for child in psutil.Process().children():
            if child not in before:
                child.kill()

    monkeypatch.setattr(sandbox, "READERS", {"txt": patient})
    with pytest.raises(Unavailable):
        sandbox.read(tmp_path / "a.txt", "txt", LIMITS, beat=kill)


def test_no_child_is_left_behind(tmp_path):
    (tmp_path / "a.txt").write_bytes(b"words")
    before = {child.pid for child in psutil.Process().children()}
    sandbox.read(tmp_path / "a.txt", "txt")
    assert {child.pid for child in psutil.Process().children()} <= before
