"""Modules that are run when something of them is first asked for.

Handlers name generated models in annotations, which nobody evaluates; the models of 404 operations take half a second
and 20 MiB to make, and most processes meet few of them. With `importlib.util.LazyLoader` two threads that come first
together can meet a module half made; here the second waits.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
from importlib.machinery import ModuleSpec, PathFinder
from types import ModuleType
from typing import Any

_lock = threading.RLock()  # one for all: a module that is being run may ask for another


def import_later(name: str, *callables: str, parents: bool = True) -> None:
    """Put the module `name` in its place, to be run with the first attribute that is asked of it.

    `callables` may be asked for without that: each runs the module when it is called, or asked for an attribute. It is
    for what others import by name (`from x import Thing`), keep in an annotation or a method, and hardly ever use.

    Without `parents` the packages that it lies in are not imported before. Nothing happens when the module has been
    imported already. Raises `ModuleNotFoundError` now when there is no such module.
    """
    if name in sys.modules:
        return
    spec = importlib.util.find_spec(name) if parents else _find(name)
    if spec is None or spec.loader is None:
        raise ModuleNotFoundError(f"No module named {name!r}", name=name)
    module = _Later(spec)
    for one in callables:
        module.__dict__[one] = _Deferred(module, one)
    sys.modules[name] = module
    parent, _, own = name.rpartition(".")
    if parent in sys.modules:
        setattr(sys.modules[parent], own, module)


def _find(name: str) -> ModuleSpec | None:
    parent, _, _ = name.rpartition(".")
    if not parent or parent in sys.modules:
        return importlib.util.find_spec(name)
    package = _find(parent)
    if package is None or package.submodule_search_locations is None:
        return None
    return PathFinder.find_spec(name, list(package.submodule_search_locations))


class _Deferred:
    """Stands for a class or function of a module that waits."""

    def __init__(self, module: _Later, name: str) -> None:
        self._module = module
        self._name = name

    def _real(self) -> Any:
        self._module.run()
        return self._module.__dict__[self._name]

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        return self._real()(*arguments, **named)

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)  # who only looks at it (inspect, typing, copy) needs no answer
        return getattr(self._real(), name)


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
        if name == "__path__" and self._state == "waiting" and not self._is_package():
            raise AttributeError(name)  # every `from x import y` asks whether x is a package
        self.run()
        try:
            return self.__dict__[name]
        except KeyError:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}") from None

    def _is_package(self) -> bool:
        spec = self.__spec__
        return spec is not None and spec.submodule_search_locations is not None

    def run(self) -> None:
        """Run the module, once."""
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
                parent, _, own = spec.name.rpartition(".")
                if parent in sys.modules:
                    setattr(sys.modules[parent], own, self)
                self.__class__ = ModuleType  # type: ignore[assignment]  # from here on a module like any other
