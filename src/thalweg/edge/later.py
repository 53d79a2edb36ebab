"""Modules that are run when something of them is first asked for.

Handlers name generated models in annotations, which nobody evaluates; the models of 404 operations take half a second
and 20 MiB to make, and most processes meet few of them. With `importlib.util.LazyLoader` two threads that come first
together can meet a module half made; here the second waits.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

_lock = threading.RLock()  # one for all: a module that is being run may ask for another


def import_later(name: str) -> None:
    """Put the module `name` in its place, to be run with the first attribute that is asked of it.

    Nothing happens when it has been imported already. Raises `ModuleNotFoundError` now when there is no such module.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = _Later(spec)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent:
        setattr(sys.modules[parent], own, module)


class _Later(ModuleType):
    _state: str

    def __init__(self, spec: ModuleSpec) -> None:
        super().__init__(spec.name)
        self.__spec__ = spec
        self.__loader__ = spec.loader
        self.__file__ = spec.origin
        self.__package__ = spec.parent
        self._state = "waiting"

    def __getattr__(self, name: str) -> Any:
        # Python comes here only for what is not in the module (yet).
        with _lock:
            if self._state == "waiting":
                self._state = "running"
                spec = self.__spec__
                assert spec is not None
                assert spec.loader is not None
                if spec.submodule_search_locations is not None:
                    self.__path__ = spec.submodule_search_locations  # not before: who asks for it imports a submodule
                try:
                    spec.loader.exec_module(self)
                except BaseException:
                    self._state = "waiting"  # the next one who asks sees the same error
                    raise
                self._state = "done"
                self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a module like any other
            try:
                return self.__dict__[name]
            except KeyError:
                raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None
