"""Schemathesis against the running platform: every operation, every phase, every check.

What it reached is written to reports/fuzz.json for `thalweg contract coverage`. Every run asks the same, so that a
change is judged and not the luck of a seed; `THALWEG_TEST_SEED=N` asks something else. `THALWEG_TEST_FUZZ=deep` fuzzes
for longer, each time anew. A failure prints what was found and the command that repeats it.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import Any

import orjson
import pytest
from recipes.world import ELSEWHERE

from thalweg.contract import coverage, handlers, project

ROOT = Path(__file__).resolve().parent.parent
DEEP = os.environ.get("THALWEG_TEST_FUZZ") == "deep"
PROJECT = project.find(ROOT)
SURFACES = sorted({row.surface for row in coverage.coverage(PROJECT, list(PROJECT.surfaces)).rows if row.implemented})
"""Surfaces with operations that are available. What the others answer is held to their contracts in test_envelopes."""

GENERATION = "[generation]\nallow-x00 = false\n"
"""PostgreSQL keeps no NUL in a text, so none is taken in any string. A schema can say that only by a pattern on every
one of them; test_hostile holds the edge to it."""

pytestmark = [pytest.mark.fuzz, pytest.mark.timeout(0 if DEEP else 600)]


@pytest.mark.parametrize("surface", SURFACES)
def test_no_request_that_the_contract_allows_or_forbids_gets_an_undeclared_answer(
    surface: str, running: Any, tenant: Any, tmp_path: Path
) -> None:
    bundle = _available(surface, tmp_path)
    config = tmp_path / "schemathesis.toml"
    config.write_text(_credentials(surface, tenant) + (ROOT / "contract-tests" / "schemathesis.toml").read_text())
    report = tmp_path / "report.ndjson"
    command = [
        str(Path(sys.executable).with_name("schemathesis")),
        "--config-file",
        str(config),
        "run",
        str(bundle),
        "--url",
        f"{running.url}/{surface}",
        "--checks",
        "all",
        "--phases",
        "examples,coverage,fuzzing,stateful",
        "--max-examples",
        "500" if DEEP else "25" if surface == "thalium" else "5",
        "--workers",
        "1",  # with more, Python 3.11 counts the depth of its parser wrongly now and then (CPython gh-106905)
        "--request-timeout",
        "190",  # an answer that is waited for has 180 seconds (`chat` of Thallus)
        "--suppress-health-check",
        "all",
        "--continue-on-failure",
        "--report",
        "ndjson",
        "--report-ndjson-path",
        str(report),
        "--no-color",
    ]
    seed = os.environ.get("THALWEG_TEST_SEED", "" if DEEP else "404")
    command += ["--seed", seed] if seed else []
    environment = {
        **running.environment,
        "FUZZ_SURFACE": surface,
        "FUZZ_URL": running.url,
        "PYTHONPATH": os.pathsep.join([running.environment["PYTHONPATH"], str(ROOT / "contract-tests")]),
    }
    if surface != "thalium":  # whose keys stand in the configuration above
        environment["SCHEMATHESIS_HOOKS"] = "fuzz_hooks"
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False, env=environment)
    assert report.exists(), f"Schemathesis did not begin: {done.stdout[-4000:]}\n{done.stderr[-4000:]}"
    reached = _reached(report)
    _write(surface, bundle, reached)
    assert done.returncode == 0, f"{_findings(done.stdout)[:9000]}\n{done.stderr[-2000:]}\n{' '.join(command)}"
    never = [
        name
        for name, operation in _operations(bundle).items()
        if operation not in ELSEWHERE
        and not any(200 <= status < 300 or status in (302, 303) for status in reached[name])
    ]
    assert not never, f"never answered with success: {never}"


def _findings(told: str) -> str:
    """What Schemathesis has found, without the tables before it."""
    found = [told.find(heading) for heading in ("= FAILURES =", "= ERRORS =") if heading in told]
    return told[min(found) :] if found else told[-9000:]


def _credentials(surface: str, tenant: Any) -> str:
    """Thalium's keys as configuration. People of the other surfaces come from `fuzz_hooks`."""
    if surface != "thalium":
        return f"{GENERATION}with-security-parameters = false\n"
    return f"""{GENERATION}
[parameters]
"path.brainId" = "{tenant.brain_id}"
[auth.openapi]
apiKey = {{ api_key = "{tenant.key}" }}
"""


def _available(surface: str, folder: Path) -> Path:
    """The contract with the operations that are available: what the others answer stands in test_envelopes."""
    document = orjson.loads((ROOT / "generated" / surface / "bundle.json").read_bytes())
    manifest = orjson.loads((ROOT / "generated" / surface / "operations.json").read_bytes())
    modules, _ = handlers.read(PROJECT, surface)
    ready = set()
    for entry in manifest["operations"]:
        module, name = entry["handler"].rsplit(".", 1)[1].split(":")
        if not modules[module][name].not_implemented:
            ready.add(entry["operation_id"])
    for path, item in list(document["paths"].items()):
        for method, operation in list(item.items()):
            if isinstance(operation, dict) and "operationId" in operation:
                if operation["operationId"] not in ready:
                    del item[method]
                else:
                    _keep_links(operation, ready)
        if not any(isinstance(operation, dict) and "operationId" in operation for operation in item.values()):
            del document["paths"][path]
    kept = folder / f"{surface}.json"
    kept.write_bytes(orjson.dumps(document))
    return kept


def _keep_links(operation: dict[str, Any], ready: set[str]) -> None:
    """Links to operations that are not available lead nowhere."""
    for response in operation["responses"].values():
        links = response.get("links", {})
        for name in [name for name, link in links.items() if link.get("operationId") not in {None, *ready}]:
            del links[name]


def _operations(bundle: Path) -> dict[str, str]:
    """`METHOD /path` to operation id."""
    document = orjson.loads(bundle.read_bytes())
    return {
        f"{method.upper()} {path}": operation["operationId"]
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if isinstance(operation, dict) and "operationId" in operation
    }


def _reached(report: Path) -> dict[str, set[int]]:
    """`METHOD /path` to the statuses it was answered with."""
    found: dict[str, set[int]] = defaultdict(set)
    for line in report.read_text().splitlines():
        recorder = json.loads(line).get("ScenarioFinished", {}).get("recorder")
        if not recorder:
            continue
        for case, interaction in recorder.get("interactions", {}).items():
            response = interaction.get("response")
            if response is not None and case in recorder["cases"]:
                value = recorder["cases"][case]["value"]
                found[f"{value['method']} {value['path']}"].add(response["status_code"])
    return found


def _write(surface: str, bundle: Path, reached: dict[str, set[int]]) -> None:
    """Merge into reports/fuzz.json: each surface is a test of its own."""
    names = _operations(bundle)
    path = ROOT / "reports" / "fuzz.json"
    path.parent.mkdir(exist_ok=True)
    known = json.loads(path.read_text()) if path.exists() else []
    rows = [row for row in known if row["surface"] != surface]
    rows += [
        {"surface": surface, "operation_id": names[name], "statuses": sorted(statuses)}
        for name, statuses in sorted(reached.items())
        if name in names
    ]
    path.write_text(json.dumps(rows, indent=1) + "\n")
