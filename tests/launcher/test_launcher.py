"""./thalweg on a machine where nothing is installed yet: a checkout in small, with one package in its lock."""

import base64
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
import zipfile
from pathlib import Path

import pytest

LAUNCHER = Path(__file__).parents[2] / "thalweg"
MAIN = """
import importlib.util, json, os, sys
import demo_package
print(json.dumps({"arguments": sys.argv[1:], "version": demo_package.VERSION, "python": sys.executable,
                  "root": os.environ["THALWEG_ROOT"], "domain": importlib.util.find_spec("domain").origin}))
"""


class Checkout:
    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "src/thalweg").mkdir(parents=True)
        (root / "src/thalweg/__init__.py").write_text("")
        (root / "src/thalweg/__main__.py").write_text(MAIN)
        (root / "domain").mkdir()
        (root / "domain/__init__.py").write_text("")
        (root / "locks").mkdir()
        self.wheels = root.parent / "wheels"  # pip cannot read a path with a space in a lock
        self.wheels.mkdir()
        (root / "bin").mkdir()
        shutil.copy(LAUNCHER, root / "thalweg")
        self.lock("1.0")

    def lock(self, version: str, *, spoil: bool = False, package: str = "demo_package", lock: str = "runtime") -> None:
        wheel = self.wheels / f"{package}-{version}-py3-none-any.whl"
        info = f"{package}-{version}.dist-info"
        files = {
            f"{package}.py": f"VERSION = {version!r}\n" + "#" * int(float(version)),  # Python tells sources by size
            f"{info}/METADATA": f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n"
            "Requires-Dist: does-not-exist-anywhere\n",  # never looked for: the lock is complete by itself
            f"{info}/WHEEL": "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        }
        record = "".join(
            f"{name},sha256={base64.urlsafe_b64encode(hashlib.sha256(text.encode()).digest()).rstrip(b'=').decode()},{len(text)}\n"
            for name, text in files.items()
        )
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, text in {**files, f"{info}/RECORD": f"{record}{info}/RECORD,,\n"}.items():
                archive.writestr(name, text)
        digest = "0" * 64 if spoil else hashlib.sha256(wheel.read_bytes()).hexdigest()
        pinned = f"{package.replace('_', '-')}=={version} \\\n    --hash=sha256:{digest}\n"
        (self.root / f"locks/{lock}.txt").write_text(f"--no-index\n--find-links {self.wheels}\n{pinned}")

    def environment(self, *, uv: bool = True) -> dict[str, str]:
        """A PATH with the system's tools, and uv unless a test is about pip."""
        search = [str(self.root / "bin"), "/usr/bin", "/bin"]
        if uv:
            found = shutil.which("uv") or str(Path(sys.executable).with_name("uv"))
            (self.root / "bin/uv").unlink(missing_ok=True)
            (self.root / "bin/uv").symlink_to(found)
        return {
            "PATH": os.pathsep.join(search),
            "HOME": str(self.root),
            "UV_CACHE_DIR": str(self.root / "cache"),
            "PIP_NO_CACHE_DIR": "1",
        }

    def start(self, *arguments: str, uv: bool = True, python: str = sys.executable, **given):
        command = [python, str(self.root / "thalweg"), *arguments]
        environ = {**self.environment(uv=uv), **given.pop("environ", {})}
        return subprocess.run(command, capture_output=True, text=True, env=environ, timeout=120, check=False, **given)

    def begin(self, *arguments: str, uv: bool = True) -> "subprocess.Popen[str]":
        return subprocess.Popen(
            [sys.executable, str(self.root / "thalweg"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment(uv=uv),
        )


@pytest.fixture
def checkout(tmp_path) -> Checkout:
    return Checkout(tmp_path / "check out")  # a space, as people have them


def said(done) -> dict:
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_the_first_start_installs_what_the_lock_says_and_hands_over(checkout, uv):
    first = checkout.start("up", "--port", "0", uv=uv)
    assert said(first)["arguments"] == ["up", "--port", "0"]
    assert said(first)["version"] == "1.0"
    assert said(first)["python"] == str(checkout.root / ".venv/bin/python")
    assert said(first)["root"] == str(checkout.root)
    assert "Installing Thalweg's packages: 1 packages into .venv" in first.stderr
    second = checkout.start("--help", uv=uv)
    assert said(second)["arguments"] == ["--help"]
    assert second.stderr == ""


def test_the_second_start_adds_less_than_a_second(checkout):
    said(checkout.start())
    python = str(checkout.root / ".venv/bin/python")
    environ = {**checkout.environment(), "PYTHONPATH": f"{checkout.root}:{checkout.root}/src", "THALWEG_ROOT": "x"}

    def fastest(run) -> float:
        times = []
        for _ in range(5):
            began = time.monotonic()
            run()
            times.append(time.monotonic() - began)
        return min(times)

    bare = fastest(lambda: subprocess.run([python, "-P", "-m", "thalweg"], env=environ, stdout=-3, check=True))
    assert fastest(checkout.start) - bare < 1.0


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_a_new_lock_is_installed_at_the_next_start(checkout, uv):
    assert said(checkout.start(uv=uv))["version"] == "1.0"
    checkout.lock("2.0")
    assert said(checkout.start(uv=uv))["version"] == "2.0"


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_a_package_with_another_hash_is_not_installed_and_the_next_start_tries_again(checkout, uv):
    checkout.lock("1.0", spoil=True)
    first = checkout.start(uv=uv)
    assert first.returncode == 1
    assert first.stdout == ""
    assert "hash" in first.stderr.lower()
    assert "run the same command again" in first.stderr
    checkout.lock("1.0")
    assert said(checkout.start(uv=uv))["version"] == "1.0"


@pytest.mark.parametrize("uv", [False, True], ids=["pip", "uv"])
def test_an_extra_is_installed_on_top_and_comes_along_ever_after(checkout, uv):
    checkout.lock("3.0", package="demo_speech", lock="speech")
    python = checkout.root / ".venv/bin/python"

    def heard() -> bool:
        return subprocess.run([python, "-c", "import demo_speech"], capture_output=True, check=False).returncode == 0

    said(checkout.start(uv=uv))
    assert not heard()
    done = checkout.start("--extra", "speech", uv=uv)
    assert done.returncode == 0, done.stderr
    assert heard()
    assert checkout.start("--help", uv=uv).stderr == ""  # nothing is left to do
    checkout.lock("2.0")
    shutil.rmtree(checkout.root / ".venv")
    assert said(checkout.start(uv=uv))["version"] == "2.0"
    assert heard()


def test_an_extra_that_there_is_not_or_that_cannot_be_installed_is_not_remembered(checkout):
    unknown = checkout.start("--extra", "telepathy")
    assert unknown.returncode == 1
    assert "speech (recordings to text)" in unknown.stderr
    checkout.lock("3.0", package="demo_speech", lock="speech", spoil=True)
    assert checkout.start("--extra", "speech").returncode == 1
    assert said(checkout.start())["version"] == "1.0"


def test_an_installation_that_was_killed_is_finished_by_the_next_start(checkout):
    first = checkout.begin(uv=False)
    while not (checkout.root / ".venv").exists():
        time.sleep(0.005)
    first.kill()
    first.communicate()
    assert said(checkout.start(uv=False))["version"] == "1.0"


@pytest.mark.parametrize("harm", ["half", "dangling"])
def test_an_environment_that_does_not_work_is_made_anew(checkout, harm):
    said(checkout.start())
    python = checkout.root / ".venv/bin/python"
    if harm == "half":
        shutil.rmtree(checkout.root / ".venv/bin")
    else:  # the Python it was made from has gone with a system upgrade
        python.unlink()
        python.symlink_to("/nowhere/python3.11")
    assert said(checkout.start())["version"] == "1.0"


def test_a_folder_of_somebody_elses_is_not_removed(checkout):
    (checkout.root / ".venv").mkdir()
    (checkout.root / ".venv/thesis.txt").write_text("years of work")
    refused = checkout.start()
    assert refused.returncode == 1
    assert "Move it" in refused.stderr
    assert (checkout.root / ".venv/thesis.txt").exists()


def test_two_first_starts_at_once_install_once(checkout):
    starts = [checkout.begin(str(number)) for number in range(3)]
    results = [start.communicate(timeout=120) for start in starts]
    assert [json.loads(out)["arguments"] for out, _ in results] == [["0"], ["1"], ["2"]]
    assert sum("Installing" in err for _, err in results) == 1


def test_it_works_from_any_folder_through_a_link_and_takes_nothing_from_where_it_stands(checkout, tmp_path):
    (tmp_path / "domain").mkdir()
    (tmp_path / "domain/__init__.py").write_text("raise SystemExit('not me')")
    (tmp_path / "link").symlink_to(checkout.root / "thalweg")
    done = subprocess.run(
        [sys.executable, str(tmp_path / "link")],
        capture_output=True, text=True, cwd=tmp_path, env=checkout.environment(), check=False,
    )  # fmt: skip
    assert said(done)["domain"] == str(checkout.root / "domain/__init__.py")


def test_a_missing_venv_module_is_explained_with_the_fix(checkout):
    # As on Debian without python3-venv: `venv` is there, `ensurepip` is not; here pip is missing too.
    (checkout.root / "hide").mkdir()
    (checkout.root / "hide/sitecustomize.py").write_text(
        "import importlib.util\nfound = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name in ('ensurepip', 'pip') else found(name, *rest)\n"
    )
    done = checkout.start(uv=False, environ={"PYTHONPATH": str(checkout.root / "hide")})
    assert done.returncode == 1
    assert f"apt install python3.{sys.version_info[1]}-venv" in done.stderr
    assert "Traceback" not in done.stderr


def test_without_ensurepip_a_pip_that_is_there_does_the_work(checkout):
    (checkout.root / "hide").mkdir()
    (checkout.root / "hide/sitecustomize.py").write_text(
        "import importlib.util\nfound = importlib.util.find_spec\n"
        "importlib.util.find_spec = lambda name, *rest: None if name == 'ensurepip' else found(name, *rest)\n"
    )
    outside = str(Path(sys.executable).resolve())  # an environment made by uv has no pip of its own
    done = checkout.start(uv=False, python=outside, environ={"PYTHONPATH": str(checkout.root / "hide")})
    assert said(done)["version"] == "1.0"


def test_an_old_python_is_told_what_to_do(checkout):
    """The real thing needs an old Python; where there is none, the version check is shown an old version."""
    code = (
        "import sys, runpy; sys.version_info = (3, 9, 0, 'final', 0); sys.argv = ['thalweg']\n"
        f"runpy.run_path({str(checkout.root / 'thalweg')!r}, run_name='__main__')"
    )
    environ = {**checkout.environment(), "PATH": str(checkout.root / "bin")}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    assert done.returncode == 1
    assert "needs Python 3.11 or newer; this is 3.9" in done.stderr
    (checkout.root / "bin/python3.12").symlink_to(sys.executable)  # and where a newer one is on the PATH, that is used
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=False)
    assert said(done)["version"] == "1.0"


def test_an_old_python_can_read_the_launcher_far_enough():
    import ast

    ast.parse(LAUNCHER.read_text(encoding="utf-8"), feature_version=(3, 6))


def test_a_missing_lock_is_said(checkout):
    (checkout.root / "locks/runtime.txt").unlink()
    done = checkout.start()
    assert done.returncode == 1
    assert "Is this a complete checkout?" in done.stderr
