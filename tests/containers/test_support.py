"""Where the kernel gives no sandbox, nothing is run, and what is said says why."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from domain.kernel.confine import frames, jail, seccomp
from domain.kernel.confine.jail import Limits, Unconfined

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def _fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(jail, "_found", None)


def test_this_machine_either_confines_or_says_why_not() -> None:
    able = jail.support()
    assert able.possible or able.why.endswith(".")


def test_nothing_is_run_without_a_sandbox(refusing: str) -> None:
    with pytest.raises(Unconfined) as refused:
        jail.run("print(1)", Limits())
    assert refused.value.message == f"Code cannot be run on this server: {refusing}"
    assert refused.value.facts["reason"] == "no_sandbox"


def test_a_kernel_that_refuses_namespaces_is_told_of_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    """A helper that answers as the jailer does under a container's default filter of system calls."""
    said = frames.frame(frames.FAILED, json.dumps({"what": "make namespaces", "errno": 1, "why": "no"}).encode())
    monkeypatch.setattr(
        jail, "_jailer", lambda: [sys.executable, "-c", f"import sys; sys.stdout.buffer.write({said!r})"]
    )
    able = jail.support()
    assert not able.possible
    assert "refused to make namespaces" in able.why
    assert "user.max_user_namespaces" in able.why


@pytest.mark.skipif(not seccomp.known() or sys.platform != "linux", reason="made with the kernel's own filter")
def test_a_kernel_that_really_refuses_is_told_of(tmp_path: Path) -> None:
    """A process behind a filter as containers have it by default: `unshare` is not permitted."""
    code = f"""
import sys
sys.path.insert(0, {str(ROOT)!r})
from domain.kernel.confine import jail, seccomp, syscalls
number = {{"x86_64": 272, "aarch64": 97}}[syscalls.machine()]
seccomp._filter(b"".join([
    seccomp._line(seccomp._LOAD, 0), seccomp._line(seccomp._EQUAL, number, 0, 1),
    seccomp._line(seccomp._RETURN, seccomp._EPERM), seccomp._line(seccomp._RETURN, seccomp._ALLOW),
]))
print(jail.support().why)
try:
    jail.run("open('/tmp/ran', 'w')", jail.Limits(), into=None)
except jail.Unconfined as refused:
    print(refused.message)
"""
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd="/", check=True)
    why, message = ran.stdout.splitlines()
    assert why.startswith("the kernel refused to make namespaces (Operation not permitted). Allow user namespaces")
    assert message == f"Code cannot be run on this server: {why}"


@pytest.mark.parametrize("code", ["raise SystemExit(1)", "print('x')", "import time; time.sleep(60)"])
def test_a_jailer_that_dies_or_babbles_is_no_sandbox(monkeypatch: pytest.MonkeyPatch, code: str) -> None:
    monkeypatch.setattr(jail, "SETTING_UP", 0.5)
    monkeypatch.setattr(jail, "HANDING_OUT", 0.5)
    monkeypatch.setattr(jail, "PROBING", 0.5)
    monkeypatch.setattr(jail, "_jailer", lambda: [sys.executable, "-c", code])
    assert jail.support() == jail.Support(False, "a program in the sandbox did not answer.")


@pytest.mark.parametrize("hole", ["import socket", "open('/etc/passwd')"])
def test_a_sandbox_with_a_hole_counts_as_none(monkeypatch: pytest.MonkeyPatch, hole: str) -> None:
    ran = jail.Ran("ended", 0, None, 0.1, False, True, stdout="a socket could be made\n")
    monkeypatch.setattr(jail, "_run", lambda *_, **__: ran)
    able = jail.support()
    assert not able.possible
    assert "does not hold" in able.why


@pytest.mark.parametrize(
    ("what", "value", "why"),
    [("platform", "darwin", "another system"), ("release", "5.10.0-generic", "older than Linux 5.14")],
)
def test_systems_that_cannot_are_named(monkeypatch: pytest.MonkeyPatch, what: str, value: str, why: str) -> None:
    if what == "platform":
        monkeypatch.setattr(sys, "platform", value)
    else:
        looks = jail.os.uname()
        fake = type("Uname", (), {"release": value, "machine": looks.machine})()
        monkeypatch.setattr(jail.os, "uname", lambda: fake)
    assert why in jail.support().why


def test_a_refusal_is_looked_into_again_and_an_answer_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    answers: list[jail.Support] = [jail.Support(False, "no."), jail.Support(True), jail.Support(False, "never asked.")]
    monkeypatch.setattr(jail, "_probe", lambda: answers.pop(0))
    assert not jail.support().possible
    assert not jail.support().possible
    monkeypatch.setattr(jail, "AGAIN", -1.0)
    assert jail.support().possible
    assert jail.support().possible
    assert len(answers) == 1


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_the_filter_allows_what_is_listed_and_nothing_else(machine: str) -> None:
    """The program is run here as the kernel would run it."""
    content = seccomp.program(machine)
    assert len(content) // 8 < 4096  # the kernel's longest
    allowed = {number for number in range(600) if _verdict(content, machine, number, (0, 0, 0)) == seccomp._ALLOW}
    listed = set(seccomp._ALLOWED[machine].values())
    looked_into = seccomp._LOOKED_INTO[machine]
    assert allowed - listed == {looked_into["prlimit64"]}
    assert listed <= allowed
    clone, clone3 = looked_into["clone"], looked_into["clone3"]
    assert _verdict(content, machine, clone, (0x3D0F00, 0, 0)) == seccomp._ALLOW  # as glibc makes threads
    for flags in (0x11, 0x4111, 0x3D0F00 | 0x10000000, 0x3D0F00 | 0x20000):
        assert _verdict(content, machine, clone, (flags, 0, 0)) == seccomp._EPERM
    assert _verdict(content, machine, clone3, (0, 0, 0)) == seccomp._ENOSYS
    assert _verdict(content, machine, looked_into["socketpair"], (1, 1, 0)) == seccomp._ALLOW
    assert _verdict(content, machine, looked_into["ioctl"], (0, 0x5412, 0)) == seccomp._EPERM  # TIOCSTI
    assert _verdict(content, machine, looked_into["prlimit64"], (1, 7, 0)) == seccomp._EPERM
    assert _verdict(content, "another", 0, (0, 0, 0)) == seccomp._KILL
    assert _verdict(content, machine, 0x40000000, (0, 0, 0)) == seccomp._EPERM  # x32


def _verdict(content: bytes, machine: str, number: int, arguments: tuple[int, ...]) -> int:
    import struct

    data = struct.pack(
        "<IIQ6Q", number, seccomp._AUDIT_ARCH.get(machine, 1), 0, *arguments, *[0] * (6 - len(arguments))
    )
    lines = [struct.unpack_from("<HBBI", content, at) for at in range(0, len(content), 8)]
    held, at = 0, 0
    while True:
        code, if_so, if_not, value = lines[at]
        at += 1
        if code == seccomp._LOAD:
            held = struct.unpack_from("<I", data, value)[0]
        elif code == seccomp._AND:
            held &= value
        elif code == seccomp._EQUAL:
            at += if_so if held == value else if_not
        else:
            return int(value)


def test_frames_that_are_too_long_are_refused() -> None:
    with pytest.raises(ValueError, match="too long"):
        frames.Frames().feed(frames.HEAD.pack(b"D", frames.MOST + 1))


@pytest.mark.parametrize("path", ["../out", "/etc/x", "a/../../b", "", "a\0b"])
def test_a_path_out_of_the_workspace_is_never_written(tmp_path: Any, path: str) -> None:
    answer = jail._Answer(None, tmp_path, Limits())
    with pytest.raises(ValueError, match="leads out"):
        answer._take(frames.FILE, path.encode())
    assert list(tmp_path.iterdir()) == []


def test_more_than_the_workspace_holds_is_never_written(tmp_path: Any) -> None:
    answer = jail._Answer(None, tmp_path, Limits(disk=10, files=2))
    answer._take(frames.FILE, b"a")
    with pytest.raises(ValueError, match="more than the workspace"):
        answer._take(frames.DATA, b"x" * 11)
    answer._take(frames.FOLDER, b"b")
    with pytest.raises(ValueError, match="more files"):
        answer._take(frames.FOLDER, b"c")
