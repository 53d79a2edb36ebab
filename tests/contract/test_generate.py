"""Models and manifests that a contract becomes."""

# ruff: noqa: E501 - pieces of YAML, one line each, read better whole

from __future__ import annotations

import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from types import ModuleType
from typing import Any, get_type_hints

import pytest
from pydantic import BaseModel, ValidationError

from thalweg.contract.findings import ContractError
from thalweg.contract.generate import generate, response_models
from thalweg.contract.project import Project
from thalweg.contract.shapes import Shapes

MakeProject = Callable[..., Project]

ROOT = """
openapi: 3.0.3
info: {title: Zoo, version: 1.2.3}
paths:
  /pets/{petId}:
    parameters:
      - {name: petId, in: path, required: true, schema: {type: string, format: uuid}}
    post:
      operationId: tameThePet
      tags: [wild-pets]
      x-pagination: cursor
      parameters:
        - {name: limit, in: query, schema: {type: integer, default: 5}}
        - {name: cursor, in: query, schema: {type: string}}
        - {name: sinceDate, in: query, schema: {type: string, format: date}}
        - {name: X-Trace, in: header, schema: {type: string}}
      requestBody:
        required: true
        content:
          application/json:
            schema: {$ref: components.yaml#/Owner}
      responses:
        "200":
          description: Done.
          content: {application/json: {schema: {$ref: components.yaml#/Owner}}}
        "404": {$ref: components.yaml#/Missing}
        "409": {$ref: components.yaml#/Missing}
    put:
      operationId: putPet
      tags: [wild-pets]
      requestBody:
        content:
          application/json:
            schema: {$ref: components.yaml#/Pet}
      responses:
        "201":
          description: Made.
          content:
            application/json:
              schema:
                type: object
                additionalProperties: false
                required: [made]
                properties: {made: {type: boolean}, inner: {type: object, additionalProperties: false, properties: {a-b: {type: integer}}}}
        "204": {description: Nothing.}
    patch:
      operationId: patchPet
      tags: [wild-pets]
      requestBody:
        content:
          application/json:
            schema: {type: array, items: {$ref: components.yaml#/Tree}}
      responses: {"204": {description: Nothing.}}
    get:
      operationId: watchPet
      tags: [wild-pets]
      x-stream:
        terminal: [gone]
        events:
          seen: {$ref: components.yaml#/Tree}
          gone: {type: object, additionalProperties: false, properties: {why: {type: string}}}
      responses:
        "200": {description: Events., content: {text/event-stream: {schema: {type: string}}}}
  /files:
    post:
      operationId: uploadFile
      tags: [files]
      requestBody:
        required: true
        content:
          multipart/form-data:
            schema:
              type: object
              additionalProperties: false
              required: [file, more]
              properties:
                file: {type: string, format: binary}
                more: {type: array, items: {type: string, format: binary}}
                title: {type: string}
                meta: {$ref: components.yaml#/Tree}
      responses: {"204": {description: Nothing.}}
    put:
      operationId: putFile
      tags: [files]
      requestBody:
        content:
          application/octet-stream: {schema: {type: string, format: binary}}
      responses: {"204": {description: Nothing.}}
    patch:
      operationId: eitherFile
      tags: [files]
      requestBody:
        content:
          application/json: {schema: {$ref: components.yaml#/Tree}}
          application/x-www-form-urlencoded: {schema: {$ref: components.yaml#/Cat}}
      responses: {"204": {description: Nothing.}}
"""

COMPONENTS = r"""
Missing:
  description: Not there.
  content:
    application/json:
      schema: {type: object, additionalProperties: false, required: [error], properties: {error: {type: string}}}
Null: {type: string, nullable: true, enum: [null]}
Short: {type: string, maxLength: 5}
Ring: {type: string, enum: [a, b]}
NullRing: {type: string, nullable: true, enum: [a, b, null]}
Cat:
  type: object
  additionalProperties: false
  required: [kind]
  properties:
    kind: {type: string, enum: [cat]}
    model_id: {type: string}
    schema: {type: string}
    modelConfig: {type: string}
    copy: {type: string}
    from: {type: string}
    x-y: {type: string}
    json: {type: integer, default: 3}
Dog:
  type: object
  additionalProperties: false
  required: [kind]
  properties:
    kind: {type: string, enum: [dog, wolf]}
    barks: {type: integer}
Pet:
  oneOf: [{$ref: '#/Cat'}, {$ref: '#/Dog'}]
  discriminator: {propertyName: kind, mapping: {cat: '#/Cat', dog: '#/Dog', wolf: '#/Dog'}}
Tree:
  type: object
  additionalProperties: false
  properties:
    kids: {type: array, items: {$ref: '#/Tree'}}
    name: {$ref: '#/Short'}
Base:
  type: object
  required: [one]
  properties: {one: {type: integer}, both: {type: string}}
Owner:
  type: object
  additionalProperties: false
  description: Somebody. With "quotes" and a \ backslash. Second sentence.
  required: [id, pet, maybe, when, nothing, secret]
  properties:
    id: {type: string, format: uuid, readOnly: true}
    secret: {type: string, writeOnly: true}
    pet: {$ref: '#/Pet'}
    maybe: {oneOf: [{$ref: '#/Cat'}, {$ref: '#/Null'}]}
    perhaps: {anyOf: [{$ref: '#/Ring'}, {$ref: '#/Null'}]}
    eitherOrNull: {oneOf: [{$ref: '#/Cat'}, {$ref: '#/Dog'}, {$ref: '#/Null'}]}
    nothing: {type: string, nullable: true}
    ring: {$ref: '#/Ring'}
    ringToo: {allOf: [{$ref: '#/Ring'}], default: a, description: Which.}
    nullRing: {$ref: '#/NullRing'}
    when: {type: string, format: date-time}
    day: {type: string, format: date, default: '2024-01-01'}
    tree: {$ref: '#/Tree'}
    tags: {type: array, items: {type: string, nullable: true}, default: []}
    counts: {type: object, additionalProperties: {type: integer}, default: {}}
    treesByName: {type: object, additionalProperties: {$ref: '#/Tree'}}
    anything: {description: Whatever.}
    open: {type: object, additionalProperties: true, required: [a], properties: {a: {type: string}}}
    mixed: {type: object, additionalProperties: {type: integer}, properties: {a: {type: string}}}
    merged: {allOf: [{$ref: '#/Base'}, {type: object, required: [two], properties: {two: {type: boolean}}}]}
    word: {type: string, pattern: '^(?=a)a+$', minLength: 3, default: aaa}
    either: {oneOf: [{type: string}, {type: integer}], nullable: true}
    email: {type: string, format: email}
    bytes: {type: string, format: byte}
    createdAt: {type: string}
    inline: {type: object, additionalProperties: false, properties: {deep: {type: object, additionalProperties: false, properties: {er: {type: string}}}}}
    lines: {type: array, items: {type: object, additionalProperties: false, properties: {x: {type: number}}}}
"""


@pytest.fixture(scope="module")
def zoo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[ModuleType, ModuleType, dict[str, Any]]]:
    """`requests`, `responses` and the manifest of the zoo, generated, written and imported."""
    from thalweg.contract import project as projects

    root = tmp_path_factory.mktemp("zoo")
    for name, text in {
        "pyproject.toml": '[tool.thalweg]\ngenerated = "made_models"\n[tool.thalweg.surfaces]\nzoo = "/zoo"\n',
        "openapi/zoo/openapi.yaml": ROOT,
        "openapi/zoo/components.yaml": COMPONENTS,
        "made_models/__init__.py": "",
    }.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    project = projects.find(root)
    (made,) = generate(project, ["zoo"])
    made.write(project.generated / "zoo")
    sys.path.insert(0, str(root))
    try:
        yield (
            importlib.import_module("made_models.zoo.requests"),
            importlib.import_module("made_models.zoo.responses"),
            json.loads((project.generated / "zoo/operations.json").read_bytes()),
        )
    finally:
        sys.path.remove(str(root))
        for name in [one for one in sys.modules if one.startswith("made_models")]:
            del sys.modules[name]


Zoo = tuple[ModuleType, ModuleType, dict[str, Any]]

LEAST = {
    "secret": "s",
    "pet": {"kind": "wolf"},
    "maybe": None,
    "when": "2026-01-02T03:04:05Z",
    "nothing": None,
}


def owner(zoo: Zoo, **more: Any) -> Any:
    return zoo[0].Owner.model_validate({**LEAST, **more})


def operation(zoo: Zoo, name: str) -> dict[str, Any]:
    return next(one for one in zoo[2]["operations"] if one["operation_id"] == name)


# --- requests ----------------------------------------------------------------------------------------


def test_the_files_say_that_they_are_generated(zoo: Zoo) -> None:
    for module in zoo[:2]:
        first = Path(str(module.__file__)).read_text().partition("\n")[0]
        assert first.startswith("# Generated by `thalweg contract generate` from openapi/zoo/openapi.yaml")


def test_no_model_is_built_before_it_is_used(zoo: Zoo) -> None:
    code = (
        "import made_models.zoo.requests as r\n"
        "from pydantic import BaseModel\n"
        "models = [m for m in vars(r).values() if isinstance(m, type) and issubclass(m, BaseModel)]\n"
        "assert len(models) > 8, models\n"
        "built = [m.__name__ for m in models if m.__pydantic_complete__ and m.__module__ == r.__name__]\n"
        "assert not built, built\n"
        "assert r.Owner.model_validate"
    )
    folder = str(zoo[0].__file__).rpartition("/made_models")[0]
    subprocess.run([sys.executable, "-c", code], check=True, cwd=folder)


def test_dates_ids_and_moments_become_python_values_and_the_rest_stays_text(zoo: Zoo) -> None:
    made = owner(zoo, email="not checked again", bytes="/w==", createdAt="now", when="2026-01-02T03:04:05+00:00")
    assert made.when == datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
    assert (made.email, made.bytes, made.created_at) == ("not checked again", "/w==", "now")


def test_defaults_are_values_of_their_type_and_never_shared(zoo: Zoo) -> None:
    one, other = owner(zoo), owner(zoo)
    assert one.day == date(2024, 1, 1)
    assert one.ring_too == "a"
    assert one.word == "aaa"
    one.tags.append("x")
    one.counts["a"] = 1
    assert (other.tags, other.counts) == ([], {})


def test_absent_and_null_can_be_told_apart(zoo: Zoo) -> None:
    assert "perhaps" not in owner(zoo).model_fields_set
    assert "perhaps" in owner(zoo, perhaps=None).model_fields_set
    assert owner(zoo, either=None).either is None


def test_a_required_field_that_may_be_null_is_still_required(zoo: Zoo) -> None:
    for name in ("maybe", "nothing"):
        with pytest.raises(ValidationError):
            zoo[0].Owner.model_validate({key: value for key, value in LEAST.items() if key != name})


def test_a_nullable_reference_holds_the_model_or_none(zoo: Zoo) -> None:
    assert isinstance(owner(zoo, maybe={"kind": "cat"}).maybe, zoo[0].Cat)
    assert owner(zoo, perhaps="b").perhaps == "b"
    assert isinstance(owner(zoo, eitherOrNull={"kind": "dog"}).either_or_null, zoo[0].Dog)
    assert owner(zoo, eitherOrNull=None).either_or_null is None
    assert owner(zoo, nullRing=None).null_ring is None


def test_a_discriminator_chooses_the_model(zoo: Zoo) -> None:
    assert isinstance(owner(zoo).pet, zoo[0].Dog)
    assert isinstance(owner(zoo, pet={"kind": "cat"}).pet, zoo[0].Cat)


def test_scalars_of_a_union_keep_their_type(zoo: Zoo) -> None:
    assert owner(zoo, either=5).either == 5
    assert owner(zoo, either="5").either == "5"


def test_read_only_fields_are_not_in_requests(zoo: Zoo) -> None:
    assert "id" not in zoo[0].Owner.model_fields
    assert "secret" in zoo[0].Owner.model_fields


def test_closed_objects_refuse_and_open_ones_keep_what_is_undeclared(zoo: Zoo) -> None:
    with pytest.raises(ValidationError):
        owner(zoo, surprise=1)
    assert owner(zoo, open={"a": "b", "c": 1}).open.model_extra == {"c": 1}
    assert owner(zoo, mixed={"a": "b", "c": 1}).mixed.model_extra == {"c": 1}


def test_maps_hold_models(zoo: Zoo) -> None:
    assert owner(zoo, treesByName={"a": {"name": "x"}}).trees_by_name["a"].name == "x"


def test_recursion_works(zoo: Zoo) -> None:
    assert owner(zoo, tree={"kids": [{"kids": [{"name": "x"}]}]}).tree.kids[0].kids[0].name == "x"


def test_members_of_all_of_are_one_object(zoo: Zoo) -> None:
    merged = owner(zoo, merged={"one": 1, "two": True, "both": "x"}).merged
    assert (merged.one, merged.two, merged.both) == (1, True, "x")
    with pytest.raises(ValidationError):
        owner(zoo, merged={"one": 1})


def test_bounds_and_patterns_are_left_to_the_edge(zoo: Zoo) -> None:
    assert owner(zoo, word="zz", tree={"name": "longer than five"}).word == "zz"


def test_names_that_python_or_pydantic_need_themselves_keep_their_alias(zoo: Zoo) -> None:
    body = {"kind": "cat", "schema": "a", "modelConfig": "b", "copy": "c", "from": "d", "x-y": "e", "model_id": "f"}
    cat = owner(zoo, maybe=body).maybe
    assert (cat.from_, cat.x_y, cat.model_id, cat.json_) == ("d", "e", "f", 3)
    assert cat.model_dump(by_alias=True, exclude_unset=True) == body


def test_an_answer_may_have_names_that_are_no_python_names_and_types_that_follow(tmp_path: Path) -> None:
    """Such a shape is a call (`TypedDict("Move", {"from": ...})`), evaluated at import, before what it names is there."""

    def closed(*required: str, **properties: object) -> dict[str, object]:
        return {
            "type": "object",
            "additionalProperties": False,
            "required": list(required),
            "properties": {name.strip("_").replace("__", "-"): schema for name, schema in properties.items()},
        }

    place, text = {"$ref": "#/components/schemas/Place"}, {"type": "string"}
    kind = {"type": "string", "enum": ["a'b", 'c"d', "é"]}
    move = closed("from", "to", from_=place, to=text, class_={"type": "array", "items": place}, x__y=kind)
    schemas = {"Move": move, "Place": closed("name", name=text, way={"$ref": "#/components/schemas/Move"})}
    shapes = Shapes({"components": {"schemas": schemas}}, "response")
    for name in schemas:
        shapes.add({"$ref": f"#/components/schemas/{name}"}, name)
    (tmp_path / "responses.py").write_text(response_models("# Generated\n", shapes))
    uses = """
from responses import Move, Place
good: Move = {"from": {"name": "a"}, "to": "b", "class": [{"name": "c"}], "x-y": "é"}
wrong: Move = {"from": 1, "to": "b"}
"""
    (tmp_path / "uses.py").write_text(uses)
    done = subprocess.run([sys.executable, "uses.py"], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    command = [sys.executable, "-m", "mypy", "--strict", "--cache-dir", str(tmp_path / "cache"), "uses.py"]
    told = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False).stdout.splitlines()
    assert [line for line in told if "error:" in line and "uses.py:4" not in line] == []
    assert any("uses.py:4" in line for line in told), "the wrong type of `from` is found"


def test_nested_objects_are_named_after_owner_and_property(zoo: Zoo) -> None:
    for name in ("OwnerInline", "OwnerInlineDeep", "OwnerLinesItem", "OwnerOpen"):
        assert issubclass(getattr(zoo[0], name), BaseModel)
    assert owner(zoo, lines=[{"x": 1.5}]).lines[0].x == 1.5


def test_a_body_that_is_no_object_is_wrapped(zoo: Zoo) -> None:
    assert operation(zoo, "putPet")["request"]["model"] == "PutPetBody"
    assert isinstance(zoo[0].PutPetBody.model_validate({"kind": "cat"}).root, zoo[0].Cat)
    assert zoo[0].PatchPetBody.model_validate([{"name": "a"}]).root[0].name == "a"
    assert isinstance(zoo[0].EitherFileBody.model_validate({"kind": "cat"}).root, zoo[0].Cat)
    assert isinstance(zoo[0].EitherFileBody.model_validate({"name": "a"}).root, zoo[0].Tree)


def test_files_of_a_multipart_body_are_uploads(zoo: Zoo) -> None:
    from thalweg.edge.body import Upload

    hints = get_type_hints(zoo[0].UploadFileRequest)
    assert hints["file"] is Upload
    assert hints["more"] == list[Upload]
    assert hints["title"] == str | None


def test_a_body_of_bytes_has_no_model(zoo: Zoo) -> None:
    assert operation(zoo, "putFile")["request"] == {
        "required": False,
        "content": {"application/octet-stream": None},
        "model": None,
    }


# --- responses ---------------------------------------------------------------------------------------


def test_responses_are_typed_dicts_with_the_names_of_the_wire(zoo: Zoo) -> None:
    responses = zoo[1]
    assert {"id", "when", "createdAt", "x-y"} & set(responses.Owner.__annotations__) == {"id", "when", "createdAt"}
    assert "secret" not in responses.Owner.__annotations__
    assert "x-y" in responses.Cat.__annotations__
    annotations = {name: str(hint.__forward_arg__) for name, hint in responses.Owner.__annotations__.items()}
    optional = {name for name, hint in annotations.items() if hint.startswith("NotRequired[")}
    assert not optional & {"id", "pet", "maybe", "nothing", "when"}
    assert {"tags", "ring", "createdAt"} <= optional


def test_inline_bodies_are_named_after_their_operation_and_shared_ones_after_their_component(zoo: Zoo) -> None:
    assert operation(zoo, "putPet")["responses"]["201"] == {"application/json": "PutPetResponse"}
    assert hasattr(zoo[1], "PutPetResponseInner")
    answers = operation(zoo, "tameThePet")["responses"]
    assert answers["404"] == answers["409"] == {"application/json": "MissingResponse"}
    assert not hasattr(zoo[1], "MissingResponse2")


def test_stream_events_have_shapes(zoo: Zoo) -> None:
    assert operation(zoo, "watchPet")["events"] == {"seen": "Tree", "gone": "WatchPetGoneEvent"}
    assert operation(zoo, "watchPet")["stream"] == {"terminal": ["gone"]}
    assert hasattr(zoo[1], "WatchPetGoneEvent")


def test_mypy_holds_handlers_against_the_models(zoo: Zoo) -> None:
    folder = str(zoo[0].__file__).rpartition("/made_models")[0]
    program = """
from uuid import UUID
from made_models.zoo import requests, responses
def good(body: requests.Owner) -> responses.MissingResponse:
    kind: str = body.pet.kind
    number: int = body.counts["a"]
    name: str | None = body.tree.name if body.tree else None
    return {"error": body.secret}
def missing() -> responses.MissingResponse:
    return {}
def extra() -> responses.MissingResponse:
    return {"error": "x", "more": 1}
def wrong() -> responses.PutPetResponse:
    return {"made": "yes"}
def null(body: requests.Owner) -> str:
    return body.nothing
"""
    (file := Path(folder) / "program.py").write_text(program)
    ran = subprocess.run(
        [sys.executable, "-m", "mypy", "--strict", "--no-incremental", str(file)],
        capture_output=True, text=True, cwd=folder, check=False,
        env={**os.environ, "MYPYPATH": str(Path(__file__).parents[2] / "src")},
    )  # fmt: skip
    lines = {
        int(line.split(":")[1]) for line in ran.stdout.splitlines() if "error" in line and line.startswith("program.py")
    }
    assert lines == {10, 12, 14, 16}, ran.stdout
    assert "made_models" not in ran.stdout, ran.stdout


# --- manifest ----------------------------------------------------------------------------------------


def test_the_manifest_says_what_an_operation_is(zoo: Zoo) -> None:
    one = operation(zoo, "tameThePet")
    assert one["handler"] == "handlers.zoo.wild_pets:tame_the_pet"
    assert (one["method"], one["path"], one["tag"]) == ("POST", "/pets/{petId}", "wild-pets")
    assert one["extensions"] == {"x-pagination": "cursor"}
    assert one["statuses"] == ["200", "404", "409"]
    assert one["request"] == {"required": True, "content": {"application/json": "Owner"}, "model": "Owner"}
    parameters = {p["python"]: (p["in"], p["type"], p["required"], p["paging"]) for p in one["parameters"]}
    assert parameters == {
        "pet_id": ("path", "UUID", True, False),
        "limit": ("query", "int", False, True),
        "cursor": ("query", "str", False, True),
        "since_date": ("query", "date", False, False),
        "x_trace": ("header", "str", False, False),
    }


def test_equal_sources_give_equal_files(make_project: MakeProject) -> None:
    project = make_project()
    assert generate(project, ["shop"])[0].files == generate(project, ["shop"])[0].files


def test_several_surfaces_come_out_like_each_alone(make_project: MakeProject) -> None:
    project = make_project(
        {"openapi/second/openapi.yaml": ROOT, "openapi/second/components.yaml": COMPONENTS}, ("shop", "second")
    )
    together = generate(project, ["shop", "second"])
    assert [one.surface for one in together] == ["shop", "second"]
    assert [one.files for one in together] == [generate(project, [name])[0].files for name in ("shop", "second")]


def test_a_broken_surface_among_several_is_reported_as_it_is(make_project: MakeProject) -> None:
    project = make_project({"openapi/second/openapi.yaml": "a: 1\na: 2\n"}, ("shop", "second"))
    with pytest.raises(ContractError) as caught:
        generate(project, ["shop", "second"])
    assert [one.rule for one in caught.value.findings] == ["yaml"]


def test_writing_twice_changes_nothing_the_second_time(make_project: MakeProject) -> None:
    project = make_project()
    (made,) = generate(project, ["shop"])
    folder = project.generated / "shop"
    assert sorted(made.write(folder)) == [
        "__init__.py",
        "bundle.json",
        "edge.json",
        "operations.json",
        "requests.py",
        "responses.py",
    ]
    assert made.write(folder) == []
