"""Tables of contracts in documents for people."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from thalweg.contract.cli import app
from thalweg.contract.findings import ContractError
from thalweg.contract.generate import generate
from thalweg.contract.pages import pages
from thalweg.contract.project import Project

PAGE = """# Shop

<!-- table: {kind} shop -->
{content}<!-- end -->

The rest.
"""


@pytest.fixture
def page(shop: Project) -> Path:
    for made in generate(shop, ["shop"]):
        made.write(shop.generated / "shop")
    (shop.root / "docs").mkdir()
    return shop.root / "docs" / "shop.md"


def run(shop: Project, *arguments: str) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["pages", *arguments, "--project", str(shop.root)])
    return done.exit_code, done.output


@pytest.mark.parametrize(
    ("kind", "rows"),
    [
        ("tags", ["| tag | for | operations | work now |", "| `things` | What the shop sells | 2 | none yet |"]),
        ("errors", ["| 404 | The request was refused |", "| 429 | The request was refused |"]),
        ("limits", ["| `read` | 60 a minute | each key | `getThing` |"]),
        ("streams", ["| stream | events | ends with |"]),
        ("once", ["| tag | operations |"]),
        ("sizes", ["| body | operations |"]),
    ],
)
def test_a_table_says_what_the_contract_says(kind: str, rows: list[str], shop: Project, page: Path) -> None:
    page.write_text(PAGE.format(kind=kind, content="| old |\n"))
    assert run(shop) == (0, f"{page}: written\n")
    text = page.read_text()
    assert all(f"\n{row}\n" in text for row in rows), text
    assert "old" not in text
    assert text.startswith("# Shop\n")
    assert text.endswith("<!-- end -->\n\nThe rest.\n")


def test_an_operation_counts_when_its_function_does_more_than_answer_501(shop: Project, page: Path) -> None:
    folder = shop.handlers_folder / "shop"
    folder.mkdir(parents=True)
    (folder / "things.py").write_text("def get_thing(ctx, thing_id):\n    return {}\n")
    page.write_text(PAGE.format(kind="tags", content=""))
    run(shop)
    assert "| `things` | What the shop sells | 2 | 1 |" in page.read_text()


def test_checking_writes_nothing_and_fails_on_a_table_that_is_not_true(shop: Project, page: Path) -> None:
    stale = PAGE.format(kind="tags", content="| old |\n")
    page.write_text(stale)
    status, said = run(shop, "--check")
    assert (status, page.read_text()) == (1, stale)
    assert "not true any more" in said
    run(shop)
    assert run(shop, "--check") == (0, "")


def test_a_mark_that_names_nothing_is_an_error_at_its_line(shop: Project, page: Path) -> None:
    page.write_text(PAGE.format(kind="prices", content=""))
    with pytest.raises(ContractError, match=r"docs/shop\.md:3 .*there is no table prices of shop"):
        pages(shop)
