"""What a generic comparison does not look at: addresses, credentials, permissions, limits, headers, how parameters are
written, how streams end, bounds that are new."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Literal

from thalweg.contract.manifest import follow, operations, parameters_of

Found = tuple[Literal["breaking", "warning", "info"], str, str]
"""Verdict, where, what."""

_BOUNDS = ("minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems", "minProperties", "maxProperties",
           "multipleOf", "format", "enum", "uniqueItems", "exclusiveMinimum", "exclusiveMaximum")  # fmt: skip


def compare(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Found]:
    """What was promised by `before` and is not by `now`, for operations that both have. Both are `comparable`."""
    yield from _addresses(before, now)
    yield from _schemes(before, now)
    present = {(path, method): (item, operation) for path, method, item, operation in operations(now)}
    for path, method, item, old in operations(before):
        if (path, method) not in present:
            continue
        where = f"{method.upper()} {path}"
        new_item, new = present[(path, method)]
        yield from _credentials(
            where, old.get("security", before.get("security")), new.get("security", now.get("security"))
        )
        yield from _declared(where, old, new)
        yield from _headers(where, before, old, now, new)
        yield from _bodies(where, before, item, old, now, new_item, new)


def _addresses(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Found]:
    present = {server.get("url") for server in now.get("servers", ())}
    for server in before.get("servers", ()):
        if server.get("url") not in present:
            yield "breaking", "servers", f"{server.get('url')} is gone"


def _schemes(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[Found]:
    """A credential that is kept is sent as before. One that is gone shows at its operations."""
    present = now.get("components", {}).get("securitySchemes", {})
    for name, old in before.get("components", {}).get("securitySchemes", {}).items():
        for key in ("type", "in", "name", "scheme") if name in present else ():
            if old.get(key) != present[name].get(key):
                was, comes = old.get(key), present[name].get(key)
                yield "breaking", f"credential {name}", f"{key} {was!r} became {comes!r}"


def _credentials(where: str, old: Any, new: Any) -> Iterator[Found]:
    """Every combination of credentials that opened the operation still opens it."""
    offered = [set(one) for one in new or [{}]]
    for requirement in old or [{}]:
        if not any(other <= set(requirement) for other in offered):
            said = " and ".join(sorted(requirement)) or "no credential"
            yield "breaking", where, f"{said} was enough and is not any more"


def _declared(where: str, old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[Found]:
    if old.get("operationId") != new.get("operationId"):
        yield "warning", where, f"operationId {old.get('operationId')!r} became {new.get('operationId')!r}"
    for key, what in (("x-permission", "permission"), ("x-plan", "plan")):
        if new.get(key) is not None and new.get(key) != old.get(key):
            yield "breaking", where, f"needs the {what} {new[key]!r} (was {old.get(key, 'none')!r})"
    if old.get("x-idempotency") and not new.get("x-idempotency"):
        yield "breaking", where, "an Idempotency-Key is not kept any more"
    if old.get("x-pagination") not in (None, new.get("x-pagination")):
        yield "breaking", where, f"pages by {new.get('x-pagination') or 'nothing'}, not by {old['x-pagination']}"
    if new.get("x-max-bytes", float("inf")) < old.get("x-max-bytes", 0):
        yield "breaking", where, f"takes {new['x-max-bytes']} bytes, not {old['x-max-bytes']}"
    yield from _streams(where, old.get("x-stream"), new.get("x-stream"))
    if "x-limit" in new and "x-limit" not in old:
        yield "warning", where, f"is rate limited now ({new['x-limit']})"


def _streams(where: str, old: Mapping[str, Any] | None, new: Mapping[str, Any] | None) -> Iterator[Found]:
    """How events are told apart and when a stream is over. The events themselves are compared as answers."""
    if old is None or new is None:
        return
    if old.get("named", True) != new.get("named", True):
        how = "carry their names" if new.get("named", True) else "carry no names"
        yield "breaking", where, f"events {how} now"
    for event in set(old.get("terminal") or ()) - set(new.get("terminal") or ()):
        if event in new.get("events", {}):
            yield "breaking", where, f"the event {event} does not end the stream any more"


def _headers(
    where: str, before: Mapping[str, Any], old: Mapping[str, Any], now: Mapping[str, Any], new: Mapping[str, Any]
) -> Iterator[Found]:
    for status, response in old.get("responses", {}).items():
        if status not in new.get("responses", {}):
            continue
        place = f"{where} > response {status}"
        headers = follow(now, new["responses"][status])[0].get("headers") or {}
        known = {name.lower(): follow(now, header)[0] for name, header in headers.items()}
        for name, declared in (follow(before, response)[0].get("headers") or {}).items():
            header = follow(before, declared)[0]
            promised, kept = header.get("required") is True, known.get(name.lower())
            if kept is None:
                yield "breaking" if promised else "warning", place, f"header {name} is gone"
                continue
            if promised and kept.get("required") is not True:
                yield "breaking", place, f"header {name} is not promised any more"
            was = follow(before, header.get("schema") or {})[0].get("type")
            comes = follow(now, kept.get("schema") or {})[0].get("type")
            if was != comes:
                yield "breaking", place, f"header {name} was {was or 'anything'} and is {comes or 'anything'}"


def _bodies(
    where: str,
    before: Mapping[str, Any],
    old_item: Mapping[str, Any],
    old: Mapping[str, Any],
    now: Mapping[str, Any],
    new_item: Mapping[str, Any],
    new: Mapping[str, Any],
) -> Iterator[Found]:
    """Bounds that a request did not have at all before."""
    earlier = {(one.get("in"), one.get("name")): one for one in parameters_of(before, old_item, old)}
    for parameter in parameters_of(now, new_item, new):
        known = earlier.get((parameter.get("in"), parameter.get("name")))
        if known is not None:
            place = f"{where} > parameter {parameter.get('name')!r}"
            if _writing(known) != _writing(parameter):
                was, comes = (" ".join(map(str, _writing(one))) for one in (known, parameter))
                yield "breaking", place, f"is written in another way: {comes}, not {was}"
            yield from _tightened(place, before, known.get("schema"), now, parameter.get("schema"), ())
    old_content = follow(before, old.get("requestBody") or {})[0].get("content") or {}
    for name, media in (follow(now, new.get("requestBody") or {})[0].get("content") or {}).items():
        if name in old_content:
            place = f"{where} > request body"
            yield from _tightened(place, before, old_content[name].get("schema"), now, media.get("schema"), ())


def _writing(parameter: Mapping[str, Any]) -> tuple[str, str]:
    """Style and form of a parameter, with the defaults of OpenAPI 3.0.3. Neither means anything for a single value."""
    if (parameter.get("schema") or {}).get("type") not in ("array", "object"):
        return "", ""
    style = parameter.get("style", "form" if parameter.get("in") in ("query", "cookie") else "simple")
    return style, "exploded" if parameter.get("explode", style == "form") else "joined"


def _tightened(
    where: str, before: Mapping[str, Any], old: Any, now: Mapping[str, Any], new: Any, seen: tuple[str, ...]
) -> Iterator[Found]:
    old_schema, _ = follow(before, old or {})
    new_schema, name = follow(now, new or {})
    if name in seen or not isinstance(old_schema, Mapping) or not isinstance(new_schema, Mapping):
        return
    below = (*seen, name) if name else seen
    for key in _BOUNDS:
        if new_schema.get(key, False) is not False and old_schema.get(key, False) is False:
            yield "breaking", where, f"{key} is new: {new_schema[key]!r}"
    for field, schema in (new_schema.get("properties") or {}).items():
        known = (old_schema.get("properties") or {}).get(field)
        if known is not None:
            yield from _tightened(f"{where} > field {field!r}", before, known, now, schema, below)
    if isinstance(old_schema.get("items"), Mapping):
        yield from _tightened(f"{where}[]", before, old_schema["items"], now, new_schema.get("items"), below)
    for one, other in zip(old_schema.get("allOf") or (), new_schema.get("allOf") or (), strict=False):
        yield from _tightened(where, before, one, now, other, below)
