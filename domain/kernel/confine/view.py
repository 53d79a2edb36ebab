"""What an interpreter needs of this machine's files, as JSON: itself, its loader, its library, the shared libraries.

A program (`python -S -m domain.kernel.confine.view`): it loads every extension module of the standard library once and
tells what the kernel then shows as mapped. The jail shows these files and no others.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib
import json
import os
import struct
import sys
import sysconfig
import warnings
from pathlib import Path

SKIPPED = ("_test", "_ctypes_test", "xx")
LENT = ("libgcc_s.so.1", "libstdc++.so.6")
"""Found where they are: packages lean on them."""


def loader(program: Path) -> str | None:
    """The path of the dynamic loader that an ELF file (64 bit, little endian) names; None for a static one."""
    with program.open("rb") as file:
        head = file.read(64)
        if head[:6] != b"\x7fELF\x02\x01":
            raise ValueError("the interpreter is no 64-bit ELF file")
        at, size, count = struct.unpack_from("<Q", head, 32)[0], *struct.unpack_from("<HH", head, 54)
        for number in range(count):
            file.seek(at + number * size)
            entry = file.read(size)
            if struct.unpack_from("<I", entry)[0] == 3:  # PT_INTERP
                offset, length = struct.unpack_from("<Q", entry, 8)[0], struct.unpack_from("<Q", entry, 32)[0]
                file.seek(offset)
                return file.read(length).rstrip(b"\0").decode()
    return None


def libraries(own: Path) -> dict[str, str]:
    """Shared libraries that are mapped by now, by each name they go by; what lies under `own` is shown anyway."""
    found: dict[str, str] = {}
    for line in Path("/proc/self/maps").read_text().splitlines():
        parts = line.split(None, 5)
        if len(parts) < 6 or not parts[5].startswith("/") or ".so" not in parts[5]:
            continue
        real = Path(parts[5])
        if str(real) in found.values() or real.is_relative_to(own):
            continue
        found[real.name] = str(real)
        with contextlib.suppress(OSError):
            for beside in real.parent.iterdir():
                if beside.is_symlink() and beside.resolve() == real:
                    found[beside.name] = str(real)
    return found


def _load_all(folder: Path) -> None:
    warnings.simplefilter("ignore")
    for name in sorted({each.name.split(".")[0] for each in folder.glob("*.so")}):
        if not name.startswith(SKIPPED):
            with contextlib.suppress(Exception):  # one whose library is not there is of no use in the jail either
                importlib.import_module(name)
    for name in LENT:
        with contextlib.suppress(OSError):
            ctypes.CDLL(name)


def main() -> int:
    stdlib = Path(sysconfig.get_path("stdlib")).resolve()
    platform = Path(sysconfig.get_path("platstdlib")).resolve()
    _load_all(platform / "lib-dynload")
    program = Path(sys.executable).resolve()
    shown = {
        "program": str(program),
        "loader": loader(program),
        "version": f"python{sys.version_info[0]}.{sys.version_info[1]}",
        "libdir": sys.platlibdir,
        "stdlib": str(stdlib),
        "platform": None if platform == stdlib else str(platform),
        "covered": [name for name in ("site-packages", "dist-packages") if (stdlib / name).is_dir()],
        "libraries": libraries(stdlib),
        "zones": next((each for each in ("/usr/share/zoneinfo",) if os.path.isdir(each)), None),
    }
    json.dump(shown, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
