"""The documents for people: their links lead somewhere, and the commands they show work."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree as trees
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx
import pytest

from thalweg.contract import project

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
NAMES = [str(path.relative_to(ROOT)) for path in DOCUMENTS]
SHOWN = "http://127.0.0.1:8080"
MARK = re.compile(r"^<!-- run -->\n```bash\n(.*?)^```$", re.MULTILINE | re.DOTALL)
RUN = [name for name in NAMES if MARK.search((ROOT / name).read_text())]


def anchors(text: str) -> set[str]:
    """The ids that a reader of Markdown gives to headings."""
    text = re.sub(r"```.*?```", "", text, flags=re.DOTALL)
    found = set()
    for heading in re.findall(r"^#+ (.+)$", text, re.MULTILINE):
        plain = re.sub(r"[^\w\- ]", "", re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower())
        found.add(plain.strip().replace(" ", "-"))
    return found


@pytest.mark.parametrize("name", NAMES)
def test_links_between_files_lead_somewhere(name):
    path = ROOT / name
    text = re.sub(r"```.*?```", "", path.read_text(), flags=re.DOTALL)
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        file, _, anchor = target.partition("#")
        there = (path.parent / file).resolve() if file else path
        assert there.exists(), f"{name} links to {target}"
        if anchor and there.suffix == ".md":
            assert anchor in anchors(there.read_text()), f"{name} links to {target}"


@pytest.mark.parametrize("name", NAMES)
def test_files_that_are_named_exist(name):
    text = (ROOT / name).read_text()
    for file in re.findall(r"`((?:docs|src|domain|handlers|workers|openapi|locks|tests)/[\w./-]+\.\w+)`", text):
        assert (ROOT / file).exists(), f"{name} names {file}"


@pytest.mark.parametrize("name", [*NAMES, "NOTICE"])
def test_a_document_speaks_of_no_machine_of_ours(name):
    assert not re.search(r"(?<![\w.])/(?:work|root|home|tmp)/", (ROOT / name).read_text())


def test_the_picture_of_the_house_is_an_image_that_describes_itself():
    picture = trees.parse(ROOT / "docs" / "house.svg").getroot()
    space = "{http://www.w3.org/2000/svg}"
    assert picture.get("role") == "img"
    assert len((picture.findtext(f"{space}desc") or "").split()) > 20
    style = picture.findtext(f"{space}style") or ""
    assert "prefers-color-scheme:dark" in style


def test_every_status_and_limit_on_thalium_s_page_is_what_the_contract_and_the_settings_say():
    page = (ROOT / "docs" / "thalium.md").read_text()
    operations = json.loads((ROOT / "generated/thalium/operations.json").read_text())["operations"]
    declared = {status for one in operations for status in one["statuses"] if status >= "400"} - {"406"}
    assert set(re.findall(r"^\| (\d{3}) \|", page, re.MULTILINE)) == declared
    limits = project.find(ROOT).limits
    assert f"{limits['thalium.invoke']['rate'].split('/')[0]} a minute for each key" in page
    assert f"{limits['thalium.read']['rate'].split('/')[0]} a minute for each key" in page
    events = {name for one in operations for name in (one.get("events") or ())}
    assert set(re.findall(r"^\| `((?:fast|chain|full)\.[a-z]+)` \|", page, re.MULTILINE)) == events


# --- the commands -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Up:
    """What `thalweg up` started."""

    url: str
    folder: Path
    environment: dict[str, str]


@pytest.fixture(scope="module")
def up(server_folder: Path) -> Iterator[Up]:
    """The platform as a new user starts it, on a data folder of its own."""
    folder = server_folder / "docs"
    folder.mkdir(mode=0o711)
    environment = {
        **{key: value for key, value in os.environ.items() if not key.startswith("THALWEG_")},
        "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'src'}",
        "THALWEG_ROOT": str(ROOT),
        "THALWEG_DATA_DIR": str(folder / "data"),
        "PYTHONUNBUFFERED": "1",
    }
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = folder / "up.log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "thalweg", "up", "--port", str(port)],
            cwd=ROOT,
            env=environment,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        end = time.monotonic() + 180
        while "Thalweg is running" not in log.read_text(errors="replace"):
            assert time.monotonic() < end, log.read_text(errors="replace")[-4000:]
            assert process.poll() is None, log.read_text(errors="replace")[-4000:]
            time.sleep(0.2)
        yield Up(url, folder, environment)
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(10)


def script(up: Up, text: str) -> subprocess.CompletedProcess[str]:
    """Runs it as a reader would, with our Python behind ./thalweg and the port of this run."""
    bash = shutil.which("bash")
    assert bash is not None
    pasted = text.replace(SHOWN, up.url).replace("./thalweg ", f"{shlex.quote(sys.executable)} -P -m thalweg ")
    return subprocess.run(
        [bash, "-euo", "pipefail", "-c", pasted],
        cwd=ROOT,
        env=up.environment,
        capture_output=True,
        text=True,
        timeout=240,
        check=False,
    )


@pytest.mark.slow
@pytest.mark.timeout(500)
@pytest.mark.parametrize("name", RUN)
def test_the_commands_of_a_document_work_when_they_are_pasted(up, name):
    done = script(up, "\n".join(MARK.findall((ROOT / name).read_text())))
    assert done.returncode == 0, f"{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    assert '"error"' not in done.stdout, done.stdout[-3000:]
    if name == "README.md":
        assert "event: full.artifact" in done.stdout
        assert '"ring":"session"' in done.stdout.replace(" ", "")
    if name == "docs/thalium.md":
        assert done.stdout.count("event: full.artifact") == 2  # invoked, and resumed
        assert re.search(r"^ *2 id: \S+:1$", done.stdout, re.MULTILINE)  # replayed


@pytest.mark.slow
@pytest.mark.timeout(500)
def test_the_call_that_up_prints_works_when_it_is_pasted(up):
    said = (up.folder / "up.log").read_text(errors="replace")
    calls = re.findall(r"^  (curl .*)$", said, re.MULTILINE)
    assert len(calls) == 2, said[-3000:]
    asked = script(up, calls[0])
    assert "event: full.artifact" in asked.stdout, asked.stdout[-2000:] + asked.stderr[-2000:]
    learnt = script(up, calls[1])
    assert '"results"' in learnt.stdout
    assert httpx.get(f"{up.url}/").status_code == 200
