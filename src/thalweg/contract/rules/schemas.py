"""Schemas say exactly what they admit."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, Site, View, text
from thalweg.naming import snake_case

_COMPOSED = ("allOf", "oneOf", "anyOf", "not")
FORMATS = {
    "string": {
        "uuid", "date", "date-time", "time", "email", "uri", "uri-reference", "hostname", "ipv4", "ipv6",
        "byte", "binary", "password", "duration",
    },
    "integer": {"int32", "int64"},
    "number": {"float", "double"},
}  # fmt: skip
_PYTHON_TYPES: dict[str, tuple[type, ...]] = {
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "object": (dict,),
    "array": (list,),
}


def is_a(value: Any, kind: str) -> bool:
    """Whether a JSON value is of the JSON type `kind`."""
    if isinstance(value, bool):
        return kind == "boolean"
    if kind == "integer" and isinstance(value, float):
        return value.is_integer()
    return isinstance(value, _PYTHON_TYPES.get(kind, ()))


def _component(site: Site) -> bool:
    return len(site.pointer) == 3 and site.pointer[0] == "components"


@rule("schema-described", "Schema components are described.")
def schema_described(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        if _component(site) and len(text(site.node, "description")) < 5:
            yield Breach(site, f"schema {site.name!r} is not described", "say in a few words what it is")


@rule("schema-typed", "A schema has a `type` or is composed; one that admits anything says in its description why.")
def schema_typed(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        node = site.node
        if "type" in node or any(word in node for word in _COMPOSED):
            continue
        meant = set(node) - {"description", "example", "title", "default", "deprecated", "readOnly", "writeOnly"}
        if meant:
            yield Breach(site, f"schema {site.name!r} has {', '.join(sorted(meant))} without a type", "add `type`")
        elif len(text(node, "description")) < 10:
            yield Breach(site, f"schema {site.name!r} admits anything", "add `type`, or a description saying why")


@rule("object-closed", "An object is closed (`additionalProperties: false`), or open with a description saying why.")
def object_closed(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        node = site.node
        if node.get("type") != "object" and "properties" not in node:
            continue
        extra = node.get("additionalProperties")
        if extra is None and "allOf" in node and "properties" not in node:
            continue  # its members decide
        if extra is None:
            yield Breach(
                site,
                f"object {site.name!r} does not say whether it is open",
                "add `additionalProperties: false`, or `true` (or a schema) with a description saying why",
            )
        elif extra is not False:
            said = text(node, "description") or text(extra, "description")
            if len(said) < 10:
                yield Breach(site, f"object {site.name!r} is open without a reason", "say in its description why")


@rule("required-known", "Every name under `required` is a property, once.")
def required_known(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        required = site.node.get("required")
        if not isinstance(required, list):
            continue
        if len(set(map(str, required))) != len(required):
            yield Breach(site, "a name stands twice under required", "remove it", "required")
        known = set(site.node.get("properties") or {})
        for member in site.node.get("allOf") or ():
            known |= set(view.follow(member).get("properties") or {})
        inherited = site.within is not None and "allOf" in (site.within.node or {})
        for name in required:
            if name not in known and not inherited:
                yield Breach(site, f"required property {name!r} is not declared", "add it to properties", "required")


@rule("property-python-name", "Two properties of an object do not become the same Python name.")
def property_python_name(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        seen: dict[str, str] = {}
        for name in site.node.get("properties") or {}:
            first = seen.setdefault(snake_case(name), name)
            if first != name:
                yield Breach(site, f"properties {first!r} and {name!r} are one name in Python", "rename", "properties")


@rule("nullable-typed", "`nullable` stands beside `type` and beside nothing that refuses null.")
def nullable_typed(view: View) -> Iterator[Breach]:
    way_out = "write oneOf with the reference and a schema whose only value is null"
    for site in view.all("schema"):
        node = site.node
        if "nullable" not in node:
            continue
        if not isinstance(node.get("type"), str):
            yield Breach(site, "`nullable` has no effect without `type`", way_out, "nullable")
            continue
        if node.get("nullable") is not True:
            continue
        if "enum" in node and None not in node["enum"]:
            yield Breach(site, "`nullable` beside an enum that does not list null", "add null to the enum", "enum")
        for word in ("allOf", "oneOf", "anyOf"):
            members = [view.follow(member) for member in node.get(word) or ()]
            admit = [bool(member.get("nullable")) for member in members]
            if members and (not all(admit) if word == "allOf" else not any(admit)):
                yield Breach(site, f"`nullable` beside {word}, whose members refuse null", way_out, "nullable")


@rule("enum-sound", "An enum has a type, values of that type, at least one, each once.")
def enum_sound(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        values = site.node.get("enum")
        if values is None:
            continue
        kind = site.node.get("type")
        if not isinstance(values, list) or not values:
            yield Breach(site, "an enum without values admits nothing", "list the values", "enum")
            continue
        if not isinstance(kind, str):
            yield Breach(site, "an enum needs a type", "add `type`", "enum")
            continue
        for index, value in enumerate(values):
            if value is None and site.node.get("nullable"):
                continue
            if not is_a(value, kind):
                yield Breach(site, f"enum value {value!r} is no {kind}", "quote it, or correct the type", "enum")
            if any(other == value and type(other) is type(value) for other in values[:index]):
                yield Breach(site, f"enum value {value!r} stands twice", "remove it", "enum")


@rule("format-known", "A `format` is one that the edge checks, and fits the type.")
def format_known(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        name, kind = site.node.get("format"), site.node.get("type")
        if name is not None and name not in FORMATS.get(str(kind), set()):
            known = ", ".join(sorted(FORMATS.get(str(kind), set()))) or "none"
            yield Breach(
                site, f"format {name!r} of a {kind} is not checked by anything", f"use one of: {known}", "format"
            )


@rule("pattern-sound", "A `pattern` compiles, here and in ECMAScript's dialect, and is anchored.")
def pattern_sound(view: View) -> Iterator[Breach]:
    import jsonschema_rs

    for site in view.all("schema"):
        pattern = site.node.get("pattern")
        if not isinstance(pattern, str):
            continue
        try:
            re.compile(pattern)
            jsonschema_rs.Draft202012Validator({"pattern": pattern})
        except (re.error, ValueError, jsonschema_rs.ValidationError) as error:
            said = str(error).splitlines()[0] if str(error) else "not valid"
            yield Breach(site, f"pattern does not compile: {said}", "correct it", "pattern")
            continue
        if not (pattern.startswith("^") and pattern.endswith("$")):
            yield Breach(site, f"pattern {pattern!r} is not anchored", "begin with ^ and end with $", "pattern")


@rule("composition-possible", "A closed member of `allOf` knows the properties of the others; else nothing fits.")
def composition_possible(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        members = [view.follow(one) for one in site.node.get("allOf") or ()]
        if not members:
            continue
        members.append({key: value for key, value in site.node.items() if key != "allOf"})
        names = [_properties(view, member) for member in members]
        everything: set[str] = set().union(*names)
        for member, known in zip(members, names, strict=True):
            missing = everything - known
            if member.get("additionalProperties") is False and missing:
                yield Breach(
                    site,
                    f"a closed member of allOf refuses {', '.join(sorted(missing)[:5])}",
                    "write one object with all properties",
                    "allOf" if "allOf" in site.node else None,
                )
                break


def _properties(view: View, schema: Mapping[str, Any]) -> set[str]:
    names = set(schema.get("properties") or {})
    for member in schema.get("allOf") or ():
        names |= _properties(view, view.follow(member))
    return names


@rule(
    "discriminator-sound",
    "A discriminator stands beside oneOf or anyOf of references, each of which requires the property.",
)
def discriminator_sound(view: View) -> Iterator[Breach]:
    schemas = view.section("schemas")
    for site in view.all("schema"):
        discriminator = site.node.get("discriminator")
        if not isinstance(discriminator, dict):
            continue
        name = discriminator.get("propertyName")
        members = site.node.get("oneOf") or site.node.get("anyOf") or []
        if not members or not all("$ref" in member for member in members):
            yield Breach(site, "a discriminator needs oneOf (or anyOf) of references", "refer to named schemas")
            continue
        for member in members:
            target = view.follow(member)
            properties = target.get("properties") or {}
            if name not in (target.get("required") or ()) or name not in properties:
                title = member["$ref"].rpartition("/")[2]
                yield Breach(
                    site, f"{title} does not require the discriminator {name!r}", f"require {name!r} in {title}"
                )
            elif not view.follow(properties[name]).get("enum"):
                title = member["$ref"].rpartition("/")[2]
                yield Breach(site, f"{name!r} of {title} is not narrowed", "give it an enum with its one value")
        referred = {member["$ref"] for member in members}
        for value, reference in (discriminator.get("mapping") or {}).items():
            if str(reference).rpartition("/")[2] not in schemas or reference not in referred:
                yield Breach(site, f"mapping {value!r} leads to no member", "correct the mapping", "discriminator")


@rule("read-write", "A property is not both readOnly and writeOnly.")
def read_write(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        if site.node.get("readOnly") and site.node.get("writeOnly"):
            yield Breach(site, f"{site.name!r} is neither sent nor answered", "keep one of readOnly and writeOnly")
