"""`thalweg contract clients`: a client of each surface, made by the best-kept generator of its language.

The folder of a client is the generator's alone: it is written anew, files that are no longer made go away, unchanged
ones are not touched. A folder that no client was written to before is left alone. A client that lacks an operation is
an error.
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from hashlib import sha256
from pathlib import Path
from subprocess import CompletedProcess

from thalweg.contract import client_files, generator_input, tools
from thalweg.contract.bundle import Bundle, as_json, bundle
from thalweg.contract.findings import ContractError, Finding, Place
from thalweg.contract.project import Project
from thalweg.contract.sources import Library
from thalweg.naming import snake_case

MARK = ".thalweg-client.json"
"""In the folder of a client: what it was made from. A folder without it is never overwritten."""

JSON = generator_input.JSON


@dataclass(frozen=True, slots=True)
class Client:
    """One client, as it lies in `folder`."""

    surface: str
    language: str
    folder: Path
    operations: int
    files: int
    changed: int
    """Files that were written or removed; 0 when it was up to date."""
    notes: list[str] = field(default_factory=list)
    """What the generator cannot do, for its users."""


@dataclass(frozen=True, slots=True)
class Language:
    """A generator and how its input, its files and its operations look."""

    name: str
    generator: str
    needs: tuple[str, ...]
    document: Callable[[Bundle], tuple[JSON, list[str]]]
    make: Callable[[str, JSON, Path, Path, str, list[str]], None]
    """Surface, document, its file, the folder to fill, base path, notes."""
    operations: Callable[[str, Path], set[str]]
    """The names of the functions that were made."""
    rename: Callable[[str], str]
    """From an operationId to its function."""


def languages() -> tuple[str, ...]:
    """The languages that clients can be made for."""
    return tuple(_LANGUAGES)


def clients(
    project: Project, surfaces: Sequence[str], language: str, out: Path, said: Callable[[str], None] = lambda _: None
) -> Iterator[Client]:
    """Make the client of each surface in `out/<language>/<surface>`, one after the other.

    `said` is told what is under way. Raises `ContractError` on an unknown language, a missing generator, a folder that
    is not a client's, and a client that is not whole.
    """
    if language not in _LANGUAGES:
        known = ", ".join(_LANGUAGES)
        raise ContractError(Finding("clients", f"no clients are made for {language}", f"choose one of {known}"))
    chosen = _LANGUAGES[language]
    for tool in chosen.needs:
        tools.need(tool)
    library = Library(project.root)
    for surface in surfaces:
        said(f"{surface}: {language}, by {chosen.generator}")
        made = bundle(surface, project.source(surface), library)
        yield client(chosen, made, project.base_path(surface), out / language / surface)


def client(language: Language, made: Bundle, base_path: str, folder: Path) -> Client:
    """One client in `folder`. See `clients`."""
    document, notes = language.document(made)
    names = [operation["operationId"] for _, _, operation in made.operations()]
    source = sha256(as_json([_OWN, language.generator, base_path, document])).hexdigest()
    mark = _mark(folder)
    if mark.get("source") == source and mark.get("files") == _digest(folder):
        return Client(made.surface, language.name, folder, len(names), len(_files(folder)), 0, notes)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as place:
        input_file, new = Path(place) / f"{made.surface}.json", Path(place) / "client"
        input_file.write_bytes(as_json(document))
        new.mkdir()
        language.make(made.surface, document, input_file, new, base_path, notes)
        missing = [name for name in names if language.rename(name) not in language.operations(made.surface, new)]
        if missing:
            what = f"{language.generator} left out {', '.join(missing[:10])} of {made.surface}"
            raise ContractError(Finding("clients", what, "look at what the generator says of them"))
        mark = {"surface": made.surface, "language": language.name, "generator": language.generator, "source": source}
        mark["files"] = _digest(new)
        (new / MARK).write_text(json.dumps(mark, indent=2) + "\n")
        changed = _settle(new, folder)
    return Client(made.surface, language.name, folder, len(names), len(_files(folder)), changed, notes)


def _mark(folder: Path) -> dict[str, str]:
    if not folder.exists():
        return {}
    try:
        read = json.loads((folder / MARK).read_text("utf-8"))
    except (OSError, ValueError):
        read = None
    if isinstance(read, dict):
        return read
    if folder.is_dir() and not any(folder.iterdir()):
        return {}
    raise ContractError(
        Finding(
            "clients",
            f"{folder} holds something that is no generated client",
            "choose another folder with --out, or remove it",
            Place(str(folder), 1),
        )
    )


def _files(folder: Path) -> dict[str, Path]:
    return {str(file.relative_to(folder)): file for file in sorted(folder.rglob("*")) if _kept(file, folder)}


def _kept(file: Path, folder: Path) -> bool:
    """Not the mark, and not what building or using the client leaves behind."""
    left = {"__pycache__", ".ruff_cache", "node_modules", "dist", "target", "package-lock.json", MARK}
    return file.is_file() and not left & set(file.relative_to(folder).parts)


def _digest(folder: Path) -> str:
    total = sha256()
    for name, file in _files(folder).items():
        total.update(f"{name}\0{sha256(file.read_bytes()).hexdigest()}\n".encode())
    return total.hexdigest()


def _settle(new: Path, folder: Path) -> int:
    """Make `folder` what `new` is, touching what differs. Answers how many files that was."""
    changed = 0
    wanted, present = _files(new), _files(folder)
    for name, file in wanted.items():
        target = folder / name
        content = file.read_bytes()
        if name not in present or target.read_bytes() != content:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
            target.chmod(file.stat().st_mode & 0o777)
            changed += 1
    for name in present.keys() - wanted.keys():
        (folder / name).unlink()
        changed += 1
    for left in sorted((path for path in folder.rglob("*") if path.is_dir()), reverse=True):
        if not any(left.iterdir()):
            left.rmdir()
    shutil.copyfile(new / MARK, folder / MARK)  # last: a folder whose writing was cut off is written again
    return changed


# --- the languages ---------------------------------------------------------------------------------


def _python(surface: str, document: JSON, source: Path, folder: Path, base_path: str, notes: list[str]) -> None:
    package = f"{surface}_client"
    media = {name: kind for name in generator_input.media_types(document) if (kind := generator_input.readable(name))}
    settings = {
        "project_name_override": f"{surface}-client",
        "package_name_override": package,
        "content_type_overrides": media,
        "literal_enums": True,
        "post_hooks": ["python -m ruff check --no-cache --quiet --fix-only .", "python -m ruff format --no-cache -q ."],
    }
    config = source.with_suffix(".config.json")
    config.write_text(json.dumps(settings))
    arguments = ["--path", str(source), "--output-path", str(folder), "--overwrite", "--config", str(config)]
    done = tools.python(
        "openapi_python_client", "generate", "--meta", "uv", "--fail-on-warning", *arguments, folder=source.parent
    )
    _judge("openapi-python-client", done)
    streams = client_files.streams_module(package, document)
    if streams:
        (folder / package / "streams.py").write_text(streams)
    (folder / "README.md").write_text(client_files.readme("python", surface, document, base_path, notes))


def _python_operations(surface: str, folder: Path) -> set[str]:
    modules = (folder / f"{surface}_client" / "api").glob("*/*.py")
    return {_loose(file.stem) for file in modules if "\ndef sync_detailed(" in file.read_text("utf-8")}


def _typescript(surface: str, document: JSON, source: Path, folder: Path, base_path: str, notes: list[str]) -> None:
    config = source.parent / "openapi-ts.config.mjs"
    config.write_text(client_files.typescript_config(str(source), str(folder / "src")))
    packages = ["openapi-ts", "typescript"]
    _judge("openapi-ts", tools.npx(packages, "openapi-ts", "-f", str(config), folder=source.parent))
    for name, content in client_files.typescript_package(surface, document).items():
        (folder / name).write_text(content)
    (folder / "README.md").write_text(client_files.readme("typescript", surface, document, base_path, notes))


def _typescript_operations(surface: str, folder: Path) -> set[str]:
    file = folder / "src" / "sdk.gen.ts"
    return set(re.findall(r"^export const (\w+) = ", file.read_text("utf-8"), re.MULTILINE)) if file.exists() else set()


def _java(surface: str, document: JSON, source: Path, folder: Path, base_path: str, notes: list[str]) -> None:
    group, package = client_files.java_names(surface, document)
    (folder / ".openapi-generator-ignore").write_text("\n".join(_JAVA_NOISE) + "\n")
    names = ["--group-id", group, "--artifact-id", f"{surface}-client", "--invoker-package", package]
    names += ["--artifact-version", document["info"]["version"]]
    names += ["--api-package", f"{package}.api", "--model-package", f"{package}.model"]
    more = "hideGenerationTimestamp=true,useJakartaEe=true,openApiNullable=false"
    command = ["java", "-jar", str(tools.generator_jar()), "generate", "-g", "java", "--library", "native"]
    command += ["-i", str(source), "-o", str(folder), *names]
    command += ["--additional-properties", more, "--global-property", "apiTests=false,modelTests=false"]
    _judge("openapi-generator", tools.run(command, folder=source.parent, timeout=300))
    if notes:
        with (folder / "README.md").open("a", encoding="utf-8") as readme:
            readme.write("\n" + client_files.limits_of_the_generator(notes))


def _java_operations(surface: str, folder: Path) -> set[str]:
    found: set[str] = set()
    for file in (folder / "src" / "main").rglob("api/*Api.java"):
        found |= set(re.findall(r"^  public [^=(]+? (\w+)\(", file.read_text("utf-8"), re.MULTILINE))
    return found


_JAVA_NOISE = (
    ".github/**", ".travis.yml", "git_push.sh", "build.sbt", "build.gradle", "settings.gradle", "gradle.properties",
    "gradlew", "gradlew.bat", "gradle/**", "api/**",
)  # fmt: skip
"""What is not the client, and what repeats `pom.xml` for other build tools."""


def _judge(what: str, done: CompletedProcess[str]) -> None:
    if done.returncode:
        raise tools.failed(what, done)


def _loose(name: str) -> str:
    """Generators break words differently (`rss_alias`, `rssalias`)."""
    return name.replace("_", "")


_LANGUAGES: dict[str, Language] = {
    "python": Language(
        "python",
        f"openapi-python-client {tools.PYTHON['openapi_python_client']}",
        ("openapi_python_client",),
        generator_input.for_python,
        _python,
        _python_operations,
        lambda name: _loose(snake_case(name)),
    ),
    "typescript": Language(
        "typescript",
        tools.NPM["openapi-ts"],
        ("node",),
        generator_input.for_typescript,
        _typescript,
        _typescript_operations,
        lambda name: name,
    ),
    "java": Language(
        "java",
        f"openapi-generator {tools.PYTHON['openapi_generator_cli']}",
        ("java", "openapi_generator_cli"),
        generator_input.for_java,
        _java,
        _java_operations,
        lambda name: name,
    ),
}

_OWN = 2
"""Raise it when what this module writes itself changes: clients that lie around are then made anew."""
