"""A document as a comparison of properties can read it: unions, maps and null become plain properties and flags.

specshift compares properties, items and bounds. It counts the members of a union without looking into them, does not
look at the values of maps, and takes `allOf: [Thing]` or `oneOf: [Thing, Null]` for another thing than `Thing`. Here

    {allOf: [Thing], description: ...}   becomes  Thing
    {oneOf: [Thing, Null]}               becomes  Thing, with `nullable: true`
    {oneOf: [Cat, Dog]}                  becomes  an object with the properties `(Cat)` and `(Dog)`
    {additionalProperties: Thing}        becomes  an open object with the property `(any name)`

so that a change inside of any of them is seen where it is. What is one thing in one document and in the other a union
that it is a member of is compared as a union, too:

    Cat beside {oneOf: [Cat, Dog]}       becomes  an object with the property `(Cat)`, beside `(Cat)` and `(or Dog)`
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from thalweg.contract import grammar
from thalweg.contract.manifest import follow

JSON = dict[str, Any]

MEMBER = r"\([^)]+\)"
"""How the properties that stand for members of unions and values of maps are named, as a pattern."""

ANY_NAME = "(any name)"

_SCHEMAS = "#/components/schemas/"


OR_NULL = " or null"
"""Ends the names of components that stand for `oneOf: [Thing, Null]`."""


OTHER = r"\(or [^)]+\)"
"""How the properties are named, as a pattern, that stand for what there is on one side besides the only thing that
there is on the other."""

_SAID = frozenset({"description", "title", "example", "default", "deprecated", "type", "nullable"})
"""What may stand beside the only member of a composition without changing what it takes."""

_NAMES = "x-names"
"""On a union that is compared with one thing: what its members are called."""


def comparable(before: Mapping[str, Any], now: Mapping[str, Any]) -> tuple[JSON, JSON]:
    """Copies of two bundled documents in which every schema has the plain form."""
    old, new = copy.deepcopy(dict(before)), copy.deepcopy(dict(now))
    _pair("openapi", old, before, new, now)
    return _made_plain(old), _made_plain(new)


def _made_plain(plain: JSON) -> JSON:
    document = copy.deepcopy(plain)
    schemas = plain.get("components", {}).get("schemas", {})
    for name in list(schemas):
        schemas[name + OR_NULL] = {**schemas[name], "nullable": True}
    _descend("openapi", plain, document)
    return plain


def _descend(kind: str, node: JSON, document: Mapping[str, Any]) -> None:
    for pointer, below, value in list(grammar.children(kind, node)):
        holder: Any = node
        for part in pointer[:-1]:
            holder = holder[part]
        if below == "schema" and isinstance(value, dict):
            holder[pointer[-1]] = _plain(value, document, ())
        elif isinstance(value, dict):
            _descend(below, value, document)


def _plain(schema: Any, document: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """`schema` in its plain form. `inside` are the components that are being written out: they stay references."""
    if not isinstance(schema, Mapping):
        return schema
    null, rest = _without_null(schema, document)
    for word in ("allOf", "oneOf", "anyOf"):
        members = rest.get(word)
        if isinstance(members, Sequence) and len(members) == 1 and (null or word == "allOf"):
            own = {key: value for key, value in rest.items() if key not in (word, "discriminator")}
            return _alone(members[0], own, null, document, inside)
    if "$ref" in rest:
        return dict(rest)
    out: JSON = {**rest, **({"nullable": True} if null else {})}
    for word in ("oneOf", "anyOf"):
        if word in out:
            members = out.pop(word)
            out.pop("discriminator", None)
            out.update({"type": "object", "properties": _members(members, out.pop(_NAMES, None))})
    if isinstance(out.get("additionalProperties"), Mapping):
        values = out["additionalProperties"]
        out["additionalProperties"] = True
        out["properties"] = {**out.get("properties", {}), ANY_NAME: values}
    for pointer, below, value in list(grammar.children("schema", out)):
        if below != "schema":
            continue
        if len(pointer) == 1:
            out[str(pointer[0])] = _plain(value, document, inside)
        else:
            # The container is this copy's own from here on.
            container = copy.copy(out[str(pointer[0])])
            container[pointer[1]] = _plain(value, document, inside)
            out[str(pointer[0])] = container
    return out


def _alone(member: Any, own: JSON, null: bool, document: Mapping[str, Any], inside: tuple[str, ...]) -> Any:
    """The only member of a composition, with what stands beside it."""
    nullable = null or own.get("nullable") is True
    if isinstance(member, Mapping) and "$ref" in member:
        name = str(member["$ref"])
        if own.keys() <= _SAID or name in inside:
            return {"$ref": name + OR_NULL if nullable and name.startswith(_SCHEMAS) else name}
        inside = (*inside, name)
    found = follow(document, member)[0]
    merged = {**found, **{key: value for key, value in own.items() if key not in ("description", "title")}}
    return _plain({**merged, **({"nullable": True} if nullable else {})}, document, inside)


def _without_null(schema: Mapping[str, Any], document: Mapping[str, Any]) -> tuple[bool, JSON]:
    """Whether one member of a union is the value null, and the schema without that member."""
    out = dict(schema)
    for word in ("oneOf", "anyOf"):
        members = out.get(word) or ()
        kept = [one for one in members if follow(document, one)[0].get("enum") != [None]]
        if len(kept) < len(members):
            out[word] = kept
            return True, out
    return False, out


def _members(members: Sequence[Any], names: Sequence[str] | None = None) -> JSON:
    """Members by `names`, else by that of their component, or their type; with a number where it is not the first."""
    found: JSON = {}
    for name, one in zip(names or map(_name, members), members, strict=True):
        number = sum(key.rstrip("0123456789 )") == f"({name}" for key in found) + 1
        found[f"({name})" if number == 1 else f"({name} {number})"] = one
    return found


def _name(member: Mapping[str, Any]) -> str:
    return str(member["$ref"]).rpartition("/")[2] if "$ref" in member else str(member.get("type", "composed"))


# --- one thing beside a union -------------------------------------------------------------------------


def _pair(kind: str, old: JSON, before: Mapping[str, Any], new: JSON, now: Mapping[str, Any]) -> None:
    """Write what stands at the same place of both, and is a union in one of them only, as a union in both. Changes
    `old` and `new`; references lead into `before` and `now`."""
    present = {pointer: value for pointer, _, value in grammar.children(kind, new)}
    for pointer, below, value in list(grammar.children(kind, old)):
        other = present.get(pointer)
        if not isinstance(value, dict) or not isinstance(other, dict):
            continue
        if below == "schema":
            one, union = _union(value, before), _union(other, now)
            if one is None and union is not None:
                _widen(value, before, other, now, union)
            elif one is not None and union is None:
                _widen(other, now, value, before, one)
        _pair(below, value, before, other, now)


def _union(schema: Mapping[str, Any], document: Mapping[str, Any]) -> str | None:
    """`oneOf` or `anyOf`, if the schema is a union of several things, null not counted."""
    rest = _without_null(schema, document)[1]
    return next((word for word in ("oneOf", "anyOf") if len(rest.get(word) or ()) > 1), None)


def _widen(one: JSON, its: Mapping[str, Any], union: JSON, theirs: Mapping[str, Any], word: str) -> None:
    """Make `one` a union of itself alone, named as the member of `union` that it is; leave both if it is none."""
    null, rest = _without_null(one, its)
    alone = next((rest[key][0] for key in ("allOf", "oneOf", "anyOf") if len(rest.get(key) or ()) == 1), None)
    if alone is not None and not rest.keys() - {"allOf", "oneOf", "anyOf", "discriminator"} <= _SAID:
        return  # what stands beside it counts
    plain = rest if alone is None else alone
    null_there, others = _without_null(union, theirs)
    members = others[word]
    bare = _bare(follow(its, plain)[0])
    same = [at for at, member in enumerate(members) if _bare(follow(theirs, member)[0]) == bare]
    named = [at for at, member in enumerate(members) if _name(member) == _name(plain)]
    if not same and not named:
        return
    at = (same or named)[0]
    nullable = null or rest.get("nullable") is True
    one_alone = {key: value for key, value in plain.items() if key != "nullable"}
    one.clear()
    one.update({word: [one_alone], _NAMES: [_name(plain)], **({"nullable": True} if nullable else {})})
    union[word] = members
    union[_NAMES] = [_name(plain) if place == at else f"or {_name(other)}" for place, other in enumerate(members)]
    if null_there:
        union["nullable"] = True


def _bare(schema: Any) -> Any:
    """A schema without what is for people."""
    if not isinstance(schema, Mapping):
        return schema
    return {
        key: {name: _bare(one) for name, one in value.items()}
        if key == "properties"
        else [_bare(one) for one in value]
        if isinstance(value, list)
        else _bare(value)
        for key, value in schema.items()
        if key not in ("description", "title", "example")
    }
