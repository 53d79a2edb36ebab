"""The `x-*` keys: only the declared ones, only where they belong, and consistent with the rest."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path
from typing import Any

from thalweg.contract.manifest import PAGING
from thalweg.contract.rules import rule
from thalweg.contract.rules.view import Breach, View

_NAMED_BY_USERS = {"openapi": (), "components": ()}
_EVENTS = ("x-stream",)


@lru_cache(maxsize=8)
def _legal(path: Path) -> dict[str, Any]:
    """Validators by kind of object, from the extensions schema."""
    import jsonschema_rs

    schema = json.loads(path.read_text("utf-8"))
    return {
        kind: jsonschema_rs.Draft202012Validator({"$ref": f"#/$defs/{kind}", "$defs": schema["$defs"]})
        for kind in schema["$defs"]
        if not kind.startswith("_")
    }


@rule("extension-legal", "Only the `x-*` keys of `extensions.schema.json` stand in a contract, each where it may.")
def extension_legal(view: View) -> Iterator[Breach]:
    legal = _legal(view.project.extensions)
    for kind, sites in view.sites.items():
        if kind == "stream":
            continue
        for site in sites:
            keys = [key for key in site.node if key.startswith("x-")] if isinstance(site.node, dict) else []
            if not keys:
                continue
            if kind not in legal:
                yield Breach(site, f"{keys[0]} may not stand in a {kind} object", "remove it", keys[0])
                continue
            for error in legal[kind].iter_errors({key: site.node[key] for key in keys}):
                path = list(error.instance_path)
                key = str(path[0]) if path else next((one for one in keys if f"'{one}'" in error.message), keys[0])
                where = "/".join(str(part) for part in path)
                said = f"{where}: {error.message}" if where else error.message
                yield Breach(site, said[:300], "see docs/contracts.md for the legal keys", key)


@rule("limit-known", "`x-limit` names limits of [tool.thalweg.limits].")
def limit_known(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        names = operation.node.get("x-limit", [])
        for name in [names] if isinstance(names, str) else names:
            if name not in view.project.limits:
                yield Breach(
                    operation.site, f"limit {name!r} is not configured", "add it to [tool.thalweg.limits]", "x-limit"
                )


@rule("pagination-parameters", "`x-pagination` comes with its query parameters, the limit bounded and with a default.")
def pagination_parameters(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        style = operation.node.get("x-pagination")
        queries = {one.get("name"): one for one in operation.parameters if one.get("in") == "query"}
        for name in PAGING.get(str(style), ()):
            if name not in queries:
                yield Breach(
                    operation.site, f"{style} pagination without the parameter {name!r}", "add it", "x-pagination"
                )
        if style and "limit" in queries:
            schema = view.follow(queries["limit"].get("schema") or {})
            if "maximum" not in schema or "default" not in schema:
                yield Breach(
                    operation.site, "the page's limit has no maximum or no default", "add both", "x-pagination"
                )


@rule(
    "idempotency-header", "`x-idempotency` stands on writing operations only and comes with the Idempotency-Key header."
)
def idempotency_header(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        declared = any(str(one.get("name")).lower() == "idempotency-key" for one in operation.parameters)
        if "x-idempotency" in operation.node:
            if operation.method in ("get", "head", "options"):
                yield Breach(operation.site, f"{operation.id} changes nothing", "remove x-idempotency", "x-idempotency")
            if not declared:
                yield Breach(operation.site, f"{operation.id} declares no Idempotency-Key", "add the header parameter")
        elif declared:
            yield Breach(operation.site, f"{operation.id} takes an Idempotency-Key", "declare x-idempotency")


@rule("permission-secured", "`x-permission` and `x-plan` stand on operations that know their caller.")
def permission_secured(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        for key in ("x-permission", "x-plan"):
            if key in operation.node and not operation.security:
                yield Breach(operation.site, f"{operation.id} is public and has {key}", "add security", key)


@rule("resource-known", "`x-resource` names a parameter of the operation.")
def resource_known(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        resource = operation.node.get("x-resource")
        if isinstance(resource, dict):
            names = {one.get("name") for one in operation.parameters}
            if resource.get("id") not in names:
                yield Breach(
                    operation.site, f"x-resource: {resource.get('id')!r} is no parameter", "name one", "x-resource"
                )


@rule("job-status", "`x-job.status` is the operationId of an operation that shows the job's state.")
def job_status(view: View) -> Iterator[Breach]:
    known = {operation.node.get("operationId") for operation in view.operations}
    for operation in view.operations:
        job = operation.node.get("x-job")
        if isinstance(job, dict) and job.get("status") is not None and job["status"] not in known:
            yield Breach(operation.site, f"x-job: no operation {job['status']!r}", "name an operationId", "x-job")


@rule("sunset-deprecated", "`x-sunset` stands on deprecated operations only.")
def sunset_deprecated(view: View) -> Iterator[Breach]:
    for operation in view.operations:
        if "x-sunset" in operation.node and operation.node.get("deprecated") is not True:
            yield Breach(operation.site, f"{operation.id} has an end and is not deprecated", "deprecate it", "x-sunset")
