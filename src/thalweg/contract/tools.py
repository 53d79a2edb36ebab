"""Programs of other people that the toolchain calls: which versions, how they are run, what to do when one is missing.

    npx(["openapi-ts"], "openapi-ts", "-f", file, folder=here)

Everything here is optional: a finding says what to install, and nothing else of the toolchain needs it.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from thalweg.contract.findings import ContractError, Finding

# The one place of these versions. openapi-ts: the last that runs on Node 20. TypeScript 7 makes openapi-ts crash.
NPM: Mapping[str, str] = {
    "openapi-ts": "@hey-api/openapi-ts@0.95.0",
    "typescript": "typescript@5.9.3",
    "spectral": "@stoplight/spectral-cli@6.16.3",
    "redocly": "@redocly/cli@2.77.0",
}
PYTHON: Mapping[str, str] = {"openapi_python_client": "0.29.1", "openapi_generator_cli": "7.26.0"}
NODE = (20, 19)
"""The oldest Node.js that all of them run on."""
JAVA = 11
"""The oldest Java that openapi-generator runs on."""


def missing(tool: str) -> str | None:
    """Why `tool` (`node`, `java`, `javac`, a module of `PYTHON`) cannot be used here, in a sentence; None if it can."""
    if tool == "node":
        return _node()
    if tool == "java":
        return _java()
    if tool == "javac":
        return None if shutil.which("javac") else "a Java compiler (a JDK, not only a runtime) is not installed"
    if importlib.util.find_spec(tool) is None:
        return f"{tool.replace('_', '-')} is not installed in this Python environment"
    return None


def need(tool: str) -> None:
    """Raises `ContractError` with what to do when `tool` is missing."""
    why = missing(tool)
    if why is None:
        return
    fixes = {
        "node": f"install Node.js {NODE[0]}.{NODE[1]} or newer, with npm (nodejs.org, or the system's packages)",
        "java": f"install a Java runtime, {JAVA} or newer (such as the system's default-jre-headless)",
    }
    default = f"pip install {tool.replace('_', '-')}=={PYTHON.get(tool, '')}"
    raise ContractError(Finding("tool", why, fixes.get(tool, default)))


def npx(
    packages: Sequence[str], *command: str, folder: Path, timeout: float = 300, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run `command` of the pinned npm `packages` (keys of `NPM`) in `folder`. They are fetched once and then cached.

    The exit code is the caller's to judge. Raises `ContractError` when Node.js is missing, the packages cannot be had,
    or the time is up.
    """
    need("node")
    chosen = [part for name in packages for part in ("--package", NPM[name])]
    done = run(["npx", "--yes", *chosen, "--", *command], folder=folder, timeout=timeout, env=env)
    if done.returncode and re.search(r"npm (error|ERR!) (code|network|404)", done.stderr):
        names = ", ".join(NPM[name] for name in packages)
        raise ContractError(
            Finding("tool", f"npm cannot get {names}: {_tail(done.stderr, 'npm')}", "connect to an npm registry once")
        )
    return done


def python(module: str, *arguments: str, folder: Path, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a module of this Python environment. Raises `ContractError` when it is missing or the time is up."""
    need(module)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}"
    return run([sys.executable, "-m", module, *arguments], folder=folder, timeout=timeout, env={"PATH": path})


def generator_jar() -> Path:
    """The jar of openapi-generator, out of its wheel. Raises `ContractError` when it or Java is missing."""
    need("java")
    need("openapi_generator_cli")
    spec = importlib.util.find_spec("openapi_generator_cli")
    assert spec is not None
    assert spec.origin is not None
    return Path(spec.origin).parent / "openapi-generator.jar"


def run(
    command: Sequence[str], *, folder: Path, timeout: float, env: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """A program without input, its output kept. Raises `ContractError` when the time is up; the program is ended."""
    try:
        return subprocess.run(
            command,
            cwd=folder,
            env={**os.environ, "NO_COLOR": "1", **(env or {})},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout,
            check=False,
        )
    except subprocess.TimeoutExpired:
        name = Path(command[0]).name
        raise ContractError(
            Finding("tool", f"{name} was not done after {timeout:.0f} s", "try again; a first run downloads packages")
        ) from None


def failed(what: str, done: subprocess.CompletedProcess[str]) -> ContractError:
    """The error for a program that ended badly, with the end of what it said."""
    said = _tail(done.stderr) or _tail(done.stdout) or "it said nothing"
    return ContractError(Finding("tool", f"{what} failed ({done.returncode}): {said}", "correct what it names"))


def _tail(text: str, prefix: str = "", lines: int = 12) -> str:
    kept = [line.strip() for line in text.splitlines() if line.strip().startswith(prefix)]
    told = [line for line in kept if line and not line.startswith("npm warn")]
    return "; ".join(told[-lines:])[-1500:]


def _node() -> str | None:
    if shutil.which("npx") is None or shutil.which("node") is None:
        return "Node.js with npx is not installed"
    said = _version("node", "--version")
    found = re.search(r"v(\d+)\.(\d+)", said)
    if found is None or (int(found[1]), int(found[2])) < NODE:
        return f"Node.js {said.strip() or 'of unknown version'} is older than {NODE[0]}.{NODE[1]}"
    return None


def _java() -> str | None:
    if shutil.which("java") is None:
        return "Java is not installed"
    found = re.search(r'version "(\d+)', _version("java", "-version"))
    if found is None:
        return "the java command does not work here"
    return None if int(found[1]) >= JAVA else f"Java {found[1]} is older than {JAVA}"


def _version(*command: str) -> str:
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout + done.stderr
