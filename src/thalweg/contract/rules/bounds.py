"""Everything has a size: strings, arrays, numbers, maps."""

from __future__ import annotations

from collections.abc import Iterator

from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, Site, View

_FIXED = {"uuid", "date", "date-time", "time", "ipv4", "ipv6", "binary"}
"""Formats whose values have a size of their own; a binary body is bounded by `x-max-bytes`."""


def _nothing_but_members(site: Site) -> bool:
    return "enum" in site.node or any(word in site.node for word in ("allOf", "oneOf", "anyOf"))


@rule("string-bounded", "A string has `maxLength`, an enum, or a format of fixed size.")
def string_bounded(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        node = site.node
        if node.get("type") != "string" or _nothing_but_members(site):
            continue
        if "maxLength" not in node and node.get("format") not in _FIXED:
            yield Breach(site, f"string {site.name!r} has no maxLength", "add maxLength, an enum, or a fixed format")


@rule("array-bounded", "An array has `items` and `maxItems`.")
def array_bounded(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        if site.node.get("type") != "array" or _nothing_but_members(site):
            continue
        if "maxItems" not in site.node:
            yield Breach(site, f"array {site.name!r} has no maxItems", "add maxItems")
        if not isinstance(site.node.get("items"), dict):
            yield Breach(site, f"array {site.name!r} does not say what it holds", "add items")


@rule("number-bounded", "A number has `minimum` and `maximum`.")
def number_bounded(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        if site.node.get("type") not in ("integer", "number") or _nothing_but_members(site):
            continue
        missing = [bound for bound in ("minimum", "maximum") if bound not in site.node]
        if missing:
            yield Breach(site, f"{site.node['type']} {site.name!r} has no {' and no '.join(missing)}", "add the bounds")


@rule("map-bounded", "An object that is a map (a schema for its values, no properties) has `maxProperties`.")
def map_bounded(view: View) -> Iterator[Breach]:
    for site in view.all("schema"):
        node = site.node
        extra = node.get("additionalProperties")
        is_map = node.get("type") == "object" and not node.get("properties")
        if is_map and (extra is True or isinstance(extra, dict)) and "maxProperties" not in node:
            yield Breach(site, f"map {site.name!r} has no maxProperties", "add maxProperties")


@rule("bounds-ordered", "A lower bound is not above its upper bound, and none is negative where it counts something.")
def bounds_ordered(view: View) -> Iterator[Breach]:
    pairs = (
        ("minLength", "maxLength"),
        ("minItems", "maxItems"),
        ("minProperties", "maxProperties"),
        ("minimum", "maximum"),
    )
    for site in view.all("schema"):
        for lower, upper in pairs:
            low, high = site.node.get(lower), site.node.get(upper)
            if isinstance(low, (int, float)) and isinstance(high, (int, float)) and low > high:
                yield Breach(site, f"{lower} {low} is above {upper} {high}", "nothing fits: correct one", lower)
            for key, value in ((lower, low), (upper, high)):
                if key not in ("minimum", "maximum") and isinstance(value, (int, float)) and value < 0:
                    yield Breach(site, f"{key} is negative", "correct it", key)
