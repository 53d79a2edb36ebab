"""The document around the operations: what it is called, where it is served, what it promises about itself."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from functools import cache
from typing import Any

from thalweg.contract.handlers import FREE_MODULES
from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, View, text

_SEMVER = re.compile(r"(0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)\Z")
_TAG = re.compile(r"[a-z][a-z0-9]*([-_][a-z0-9]+)*\Z")
_PASCAL = re.compile(r"[A-Z][A-Za-z0-9]*\Z")


_DEFINITIONS = {
    "openapi": "#",
    **{
        kind: f"#/definitions/{kind[0].upper()}{kind[1:]}"
        for kind in (
            "info", "contact", "license", "server", "tag", "components", "pathItem", "operation", "parameter", "header",
            "requestBody", "mediaType", "encoding", "response", "schema", "discriminator", "example", "link",
            "securityScheme", "callback",
        )
    },
}  # fmt: skip


@cache
def _structure(kind: str) -> Any:
    """The OpenAPI Initiative's own schema of one kind of object in a 3.0 document."""
    import importlib.resources

    import jsonschema_rs

    file = importlib.resources.files("openapi_spec_validator") / "resources/schemas/v3.0/schema.json"
    schema = json.loads(file.read_text("utf-8"))
    if kind != "openapi":
        schema = {"$schema": schema["$schema"], "$ref": _DEFINITIONS[kind], "definitions": schema["definitions"]}
    return jsonschema_rs.validator_for(schema, mask="the value")


@rule("openapi-structure", "The document is structurally valid by the OpenAPI Initiative's schema of 3.0.")
def openapi_structure(view: View) -> Iterator[Breach]:
    if _structure("openapi").is_valid(view.document):
        return
    # The whole schema can only say "this path item fits nothing": ask of each object alone, and report the innermost.
    sites = [site for kind in _DEFINITIONS for site in view.all(kind)]
    broken = {site.pointer: site for site in sites if not _structure(site.kind).is_valid(site.node)}
    around = {site.within.pointer for site in broken.values() if site.within is not None}
    found = False
    for pointer, site in broken.items():
        if pointer in around or any(one[: len(pointer)] == pointer for one in around):
            continue
        for error in _structure(site.kind).iter_errors(site.node):
            found = True
            where = "/".join(str(part) for part in error.instance_path)
            key = error.instance_path[0] if error.instance_path else None
            said = f"{site.kind} {where}: {error.message}" if where else f"{site.kind}: {error.message}"
            yield Breach(site, said[:300], "follow the OpenAPI 3.0.3 Specification", key)
    if not found:
        yield Breach(view.root, "the document is no OpenAPI 3.0 document", "follow the OpenAPI 3.0.3 Specification")


@rule("openapi-version", "The document says `openapi: 3.0.3` (Connexion reads no 3.1).")
def openapi_version(view: View) -> Iterator[Breach]:
    if view.document.get("openapi") != "3.0.3":
        yield Breach(view.root, f"openapi is {view.document.get('openapi')!r}", "write `openapi: 3.0.3`", "openapi")


@rule("info-complete", "`info` has a title, a semantic version, a description of some substance, contact and licence.")
def info_complete(view: View) -> Iterator[Breach]:
    for site in view.all("info"):
        if not text(site.node, "title"):
            yield Breach(site, "info has no title", "name the surface")
        if not _SEMVER.match(str(site.node.get("version", ""))):
            yield Breach(site, "info.version is no semantic version", "write it as 1.2.3, in quotes")
        if len(text(site.node, "description")) < 40:
            yield Breach(site, "info.description says too little", "say in a paragraph what a partner does with this")
        contact = site.node.get("contact") or {}
        if not (text(contact, "name") and (text(contact, "url") or text(contact, "email"))):
            yield Breach(site, "info.contact is incomplete", "give a name, and a url or an email")
        licence = site.node.get("license") or {}
        if not (text(licence, "name") and text(licence, "url")):
            yield Breach(site, "info.license is incomplete", "give name and url")


@rule("servers-described", "There is at least one server, and each says what it is.")
def servers_described(view: View) -> Iterator[Breach]:
    if not view.document.get("servers"):
        yield Breach(view.root, "the document names no server", "add `servers` with the base path")
    for site in view.all("server"):
        if not text(site.node, "description"):
            yield Breach(site, f"server {site.node.get('url')} has no description", "say which server this is")


@rule("tags-described", "Tags are unique, lower case, described, and used.")
def tags_described(view: View) -> Iterator[Breach]:
    used = {tag for operation in view.operations for tag in operation.node.get("tags", ())}
    seen: set[str] = set()
    for site in view.all("tag"):
        name = text(site.node, "name")
        if name in seen:
            yield Breach(site, f"tag {name!r} is declared twice", "remove one")
        seen.add(name)
        if not _TAG.match(name) or name in FREE_MODULES:
            yield Breach(site, f"tag {name!r} cannot name a module", "write it as lower-case words with - between")
        if len(text(site.node, "description")) < 10:
            yield Breach(site, f"tag {name!r} is not described", "say in a sentence what belongs to it")
        if name not in used:
            yield Breach(site, f"no operation has the tag {name!r}", "remove the tag")


@rule("components-used", "Every component is referred to.")
def components_used(view: View) -> Iterator[Breach]:
    for site in view.all("schema", "response", "parameter", "example", "requestBody", "header", "link", "callback"):
        if len(site.pointer) == 3 and site.pointer[0] == "components":
            reference = "#/" + "/".join(str(part) for part in site.pointer)
            if reference not in view.references:
                yield Breach(site, f"{site.pointer[1]} {site.name!r} is not used", "remove it, or refer to it")


@rule("component-name", "Names of schema components are PascalCase, and differ by more than case.")
def component_name(view: View) -> Iterator[Breach]:
    seen: dict[str, str] = {}
    for site in view.all("schema"):
        if len(site.pointer) == 3 and site.pointer[0] == "components":
            if not _PASCAL.match(site.name):
                yield Breach(site, f"schema name {site.name!r} is no class name", "write it in PascalCase")
            first = seen.setdefault(site.name.lower(), site.name)
            if first != site.name:
                yield Breach(site, f"schemas {first!r} and {site.name!r} differ only by case", "rename one")


@rule("security-declared", "Security requirements name declared schemes; every declared scheme is used and described.")
def security_declared(view: View) -> Iterator[Breach]:
    schemes = view.section("securitySchemes")
    used: set[str] = set()
    for holder in (view.root, *(operation.site for operation in view.operations)):
        for requirement in holder.node.get("security") or ():
            for name, scopes in requirement.items():
                used.add(name)
                if name not in schemes:
                    yield Breach(holder, f"security scheme {name!r} is not declared", "declare it", "security")
                elif scopes and view.follow(schemes[name]).get("type") not in ("oauth2", "openIdConnect"):
                    yield Breach(
                        holder, f"scheme {name!r} takes no scopes in OpenAPI 3.0", "use x-permission", "security"
                    )
    for site in view.all("securityScheme"):
        if site.name not in used:
            yield Breach(site, f"security scheme {site.name!r} is not used", "remove it")
        if len(text(site.node, "description")) < 10:
            yield Breach(site, f"security scheme {site.name!r} is not described", "say where a partner gets one")


@rule("security-decided", "Every operation has a security requirement, or says `security: []` because it is public.")
def security_decided(view: View) -> Iterator[Breach]:
    if "security" in view.document:
        return
    for operation in view.operations:
        if "security" not in operation.node:
            yield Breach(
                operation.site, f"{operation.id} does not say who may call it", "add `security`, empty if public"
            )
