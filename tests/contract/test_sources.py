"""How contract sources are read."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from thalweg.contract.findings import ContractError
from thalweg.contract.project import Project
from thalweg.contract.sources import Library, means_something_else, parse, place_of_child

OPENAPI = Path(__file__).parents[2] / "openapi"


def differences(ours: Any, theirs: Any, where: str = "") -> Iterator[str]:
    """Where two readings of a source part; an integer as a key (a status that is not quoted) is a difference too."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        yield from (f"{where}: {key!r}" for key in theirs.keys() ^ ours.keys())
        for key in ours.keys() & theirs.keys():
            yield from differences(ours[key], theirs[key], f"{where}/{key}")
    elif isinstance(ours, list) and isinstance(theirs, list) and len(ours) == len(theirs):
        for index, pair in enumerate(zip(ours, theirs, strict=True)):
            yield from differences(*pair, f"{where}/{index}")
    elif isinstance(ours, dict | list) or type(ours) is not type(theirs) or ours != theirs:
        yield f"{where}: {ours!r} and {theirs!r}"


def refusal(text: str) -> str:
    with pytest.raises(ContractError) as caught:
        parse(text, "a.yaml")
    assert len(caught.value.findings) == 1
    return str(caught.value.findings[0])


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("on", "on"),
        ("yes", "yes"),
        ("No", "No"),
        ("2026-01-01", "2026-01-01"),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z"),
        ("12:30:45", "12:30:45"),
        ("1_000", "1_000"),
        ("0777", 777),
        ("0o17", 15),
        ("0xff", 255),
        ("-3", -3),
        ("1e3", 1000.0),
        (".5", 0.5),
        ("1.0", 1.0),
        ("true", True),
        ("False", False),
        ("~", None),
        ("null", None),
        ("", None),
        ("'1'", "1"),
        ('"true"', "true"),
        ("|-\n  1", "1"),
        ("!!str 5", "5"),
        ("v1.2.3", "v1.2.3"),
        ("=", "="),
    ],
)
def test_plain_scalars_mean_what_yaml_1_2_says(text: str, value: object) -> None:
    read = parse(f"key: {text}\n", "a.yaml")["key"]
    assert read == value
    assert type(read) is type(value)


def test_keys_are_always_text() -> None:
    assert parse("{200: a, null: b, true: c, 1.0: d, on: e}", "a.yaml") == {
        "200": "a",
        "null": "b",
        "true": "c",
        "1.0": "d",
        "on": "e",
    }


def test_a_duplicate_key_is_refused_with_both_lines() -> None:
    said = refusal("a: 1\nb:\n  c: 1\n  d: 2\n  c: 3\n")
    assert said.startswith("a.yaml:5 ")
    assert "'c' stands twice (first in line 3)" in said


def test_keys_that_are_the_same_text_are_duplicates() -> None:
    assert "stands twice" in refusal("200: a\n'200': b\n")


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("a: [1, 2\nb: 3\n", "a.yaml:"),
        ("a: &x {b: 1}\nc:\n  <<: *x\n", "merge keys"),
        ("a: .inf\n", "not a JSON number"),
        ("a: .NaN\n", "not a JSON number"),
        ("a: !thing 3\n", "means nothing here"),
        ("a: !!map {b: 1}\n", "means nothing here"),
        ("? [a, b]\n: 1\n", "a key must be a string"),
        ("a: &x [*x]\n", "alias refers to a node that contains it"),
        ("a: *unknown\n", "undefined alias"),
        ("a: 1\n---\nb: 2\n", "document"),
        ("a: \x07\n", "not YAML"),
        ("a:\n\t- b\n", "a.yaml:2"),
    ],
)
def test_what_is_no_contract_source_is_refused_with_its_place(text: str, part: str) -> None:
    assert part in refusal(text)


def test_an_alias_is_the_value_it_names() -> None:
    assert parse("a: &x {b: 1}\nc: *x\n", "a.yaml") == {"a": {"b": 1}, "c": {"b": 1}}


def test_values_know_their_lines() -> None:
    content = parse("a: 1\nb:\n  - x\n  - y: 2\n    z: 3\n", "a.yaml")
    default = place_of_child(content, "a", place_of_child(content, "b", None))  # type: ignore[arg-type]
    assert str(default) == "a.yaml:1"
    assert str(place_of_child(content["b"], 1, default)) == "a.yaml:4"
    assert str(place_of_child(content["b"][1], "z", default)) == "a.yaml:5"


def test_an_empty_file_is_an_empty_mapping() -> None:
    assert parse("", "a.yaml") == {}
    assert parse("# nothing\n", "a.yaml") == {}


def test_a_file_that_is_not_utf8_is_refused_with_its_line(shop: Project) -> None:
    file = shop.root / "openapi" / "bad.yaml"
    file.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(ContractError, match=r"openapi/bad.yaml:2 .*not UTF-8"):
        Library(shop.root).read(file)


@pytest.mark.parametrize("text", ["1e3", "null", "true", "0o7", "12", ".5", "~", ".inf", ""])
def test_strings_that_look_like_something_else_are_known(text: str) -> None:
    assert means_something_else(text)


@pytest.mark.parametrize("text", ["on", "2026-01-01", "a", "1.2.3", "-", "1_0"])
def test_strings_that_stay_strings_are_known(text: str) -> None:
    assert not means_something_else(text)


@pytest.mark.parametrize("source", sorted(OPENAPI.rglob("*.yaml")), ids=lambda file: str(file.relative_to(OPENAPI)))
def test_a_reader_of_yaml_1_1_reads_every_source_as_we_do(source: Path) -> None:
    text = source.read_text("utf-8")
    read = yaml.load(text, yaml.SafeLoader)  # in Python: the loader in C forgives more
    assert list(differences(parse(text, source.name), read)) == []


@pytest.mark.parametrize(
    "text",
    ["a: on", "no: 1", "a: 2026-01-01", "a: 12:30:45", "200: a", "Null: 1", "a: 0o17", "a: 0777", "a: 1_000", "a: 1e3"],
)
def test_what_the_two_versions_of_yaml_read_differently_is_seen(text: str) -> None:
    assert list(differences(parse(text, "a.yaml"), yaml.safe_load(text))) != []
