"""`thalweg contract publish`: the contracts as static files, named by what they hold.

Each surface is written as OpenAPI 3.0.3 (the source) and 3.1.0 (converted), JSON and YAML. `index.json` lists them with
their SHA-256, which a web server can use as ETag.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import yaml

from thalweg.contract.bundle import Bundle, as_json, bundle
from thalweg.contract.project import Project
from thalweg.contract.sources import Library, means_something_else
from thalweg.contract.upgrade import upgrade


@dataclass(frozen=True, slots=True)
class Published:
    """One file."""

    surface: str
    openapi: str
    """The version of the Specification: 3.0.3 or 3.1.0."""
    file: str
    media_type: str
    bytes: int
    sha256: str


def publish(project: Project, surfaces: Sequence[str], folder: Path) -> list[Published]:
    """Write the documents of `surfaces` and `index.json` into `folder`.

    Raises `ContractError` where a bundle cannot be made.
    """
    library = Library(project.root)
    folder.mkdir(parents=True, exist_ok=True)
    published = []
    index: dict[str, Any] = {"surfaces": {}}
    for surface in surfaces:
        made = bundle(surface, project.source(surface), library)
        files = [_write(folder, surface, *one) for one in documents(made)]
        published += files
        info = made.document["info"]
        index["surfaces"][surface] = {
            "title": info["title"],
            "version": info["version"],
            "base_path": project.base_path(surface),
            "files": [asdict(one) for one in files],
        }
    (folder / "index.json").write_bytes(as_json(index))
    return published


def documents(made: Bundle) -> list[tuple[str, str, str, bytes]]:
    """Version, file name, media type and content of every document of a surface."""
    plain: dict[str, Any] = json.loads(made.json())
    type_streams(plain)
    newer = upgrade(plain)
    out = []
    for version, document in (("3.0.3", plain), ("3.1.0", newer)):
        stem = f"{made.surface}-{version.rpartition('.')[0]}"
        out.append((version, f"{stem}.json", "application/vnd.oai.openapi+json", as_json(document)))
        out.append((version, f"{stem}.yaml", "application/vnd.oai.openapi", as_yaml(document)))
    return out


def type_streams(document: dict[str, Any]) -> None:
    """Give every event stream the type of its events' data, in place, as `x-stream` declares them.

    What generators make of a stream's schema is the type of what their clients hand out. In the source the schema is
    left open, because tools that check answers hold it against whole frames.
    """
    for item in document.get("paths", {}).values():
        for operation in item.values():
            events = operation.get("x-stream", {}).get("events", {}) if isinstance(operation, dict) else {}
            payloads = [schema for n, schema in enumerate(events.values()) if schema not in list(events.values())[:n]]
            if not payloads:
                continue
            for response in operation["responses"].values():
                media = response.get("content", {}).get("text/event-stream")
                if media is not None:
                    told = media.get("schema", {}).get("description", "The events' data.")
                    # One event is no choice: generators make a union of one of it, and Redocly says so.
                    media["schema"] = payloads[0] if len(payloads) == 1 else {"description": told, "oneOf": payloads}
                    media.pop("example", None)  # frames, not data
                    media.pop("examples", None)


def _write(folder: Path, surface: str, version: str, name: str, media_type: str, content: bytes) -> Published:
    file = folder / name
    if not file.exists() or file.read_bytes() != content:
        file.write_bytes(content)
    return Published(surface, version, name, media_type, len(content), sha256(content).hexdigest())


class _Dumper(yaml.CSafeDumper):
    """Quotes what a YAML 1.2 reader would take for a number and PyYAML, which follows 1.1, would not."""


def _text(dumper: yaml.CSafeDumper, value: str) -> yaml.ScalarNode:
    style = "|" if "\n" in value else "'" if means_something_else(value) else None
    return dumper.represent_scalar("tag:yaml.org,2002:str", value, style=style)


_Dumper.add_representer(str, _text)


def as_yaml(document: Mapping[str, Any]) -> bytes:
    """The document as YAML that 1.1 and 1.2 readers understand alike: whatever either would misread is quoted."""
    dumped = yaml.dump(document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=120)
    return str(dumped).encode()
