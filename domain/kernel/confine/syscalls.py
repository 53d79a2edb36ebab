"""The few calls of Linux that Python 3.11 has no name for. Each raises `Refusal`, which says what was tried."""

from __future__ import annotations

import ctypes
import errno
import os

CLONE_NEWNS = 0x0002_0000
CLONE_NEWCGROUP = 0x0200_0000
CLONE_NEWUTS = 0x0400_0000
CLONE_NEWIPC = 0x0800_0000
CLONE_NEWUSER = 0x1000_0000
CLONE_NEWPID = 0x2000_0000
CLONE_NEWNET = 0x4000_0000

MS_NOSUID, MS_NODEV = 2, 4
MS_RDONLY, MS_REMOUNT, MS_BIND, MS_REC, MS_PRIVATE = 1, 32, 4096, 16384, 1 << 18
MNT_DETACH = 2

PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, PR_CAP_AMBIENT = 38, 24, 47
PR_CAP_AMBIENT_CLEAR_ALL = 4

_PIVOT_ROOT = {"x86_64": 155, "aarch64": 41}
_MOUNT_SETATTR = 442
_CAP_VERSION_3 = 0x2008_0522
_READ_ONLY = 0x1 | 0x2 | 0x4  # MOUNT_ATTR_RDONLY, NOSUID, NODEV
_AT_RECURSIVE = 0x8000


class Refusal(OSError):
    """The kernel said no. `what`: the step, in words for whoever runs the machine."""

    def __init__(self, what: str, number: int) -> None:
        super().__init__(number, os.strerror(number))
        self.what = what


def machine() -> str:
    return os.uname().machine


_libc: ctypes.CDLL | None = None


def libc() -> ctypes.CDLL:
    global _libc
    if _libc is None:
        _libc = ctypes.CDLL(None, use_errno=True)
    return _libc


def _checked(result: int, what: str) -> int:
    if result < 0:
        raise Refusal(what, ctypes.get_errno())
    return result


def unshare(flags: int, what: str) -> None:
    _checked(libc().unshare(ctypes.c_int(flags)), what)


def mount(source: str, target: str, kind: str | None, flags: int, data: str = "") -> None:
    _checked(
        libc().mount(
            source.encode(), target.encode(), kind.encode() if kind else None, ctypes.c_ulong(flags), data.encode()
        ),
        f"mount {target}",
    )


def bind_read_only(source: str, target: str) -> None:
    """Show `source` at `target`, with all that is mounted in it, for reading alone."""
    mount(source, target, None, MS_BIND | MS_REC)
    attributes = (ctypes.c_uint64 * 4)(_READ_ONLY, 0, 0, 0)
    _checked(
        libc().syscall(
            ctypes.c_long(_MOUNT_SETATTR), ctypes.c_int(-100), target.encode(), ctypes.c_uint(_AT_RECURSIVE),
            ctypes.byref(attributes), ctypes.c_size_t(ctypes.sizeof(attributes)),
        ),
        "make what is mounted read-only",
    )  # fmt: skip


def pivot_root(new: str, old: str) -> None:
    _checked(libc().syscall(ctypes.c_long(_PIVOT_ROOT[machine()]), new.encode(), old.encode()), "change the root")


def unmount(target: str) -> None:
    _checked(libc().umount2(target.encode(), MNT_DETACH), "leave the machine's files")


def set_hostname(name: str) -> None:
    _checked(libc().sethostname(name.encode(), ctypes.c_size_t(len(name))), "name the namespace")


def prctl(option: int, *given: int, what: str = "prctl") -> int:
    numbers = [ctypes.c_ulong(each) for each in (*given, 0, 0, 0, 0)[:4]]
    return _checked(libc().prctl(ctypes.c_int(option), *numbers), what)


def bound_capabilities() -> None:
    """See that no capability can be gained by what this process starts. Needs those that it still has."""
    for number in range(64):
        try:
            prctl(PR_CAPBSET_DROP, number, what="give up capabilities for good")
        except Refusal as refusal:
            if refusal.errno == errno.EINVAL and number > 0:
                return  # past the last one that this kernel knows
            raise


def drop_capabilities() -> None:
    """Give up every capability."""
    prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    head = (ctypes.c_uint32 * 2)(_CAP_VERSION_3, 0)
    none = (ctypes.c_uint32 * 6)()
    _checked(libc().capset(ctypes.byref(head), ctypes.byref(none)), "give up capabilities")
