"""The kinds of values that a setting can have, as marshmallow fields.

Each takes what a TOML file or an environment variable gives, and says in its error what is allowed. `allowed()` says
the same for the page of the documentation. A secret's value never stands in an error.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import urlsplit

from marshmallow import ValidationError, fields

__all__ = ["Choice", "Folder", "Limits", "Link", "Names", "Number", "Protected", "Secret", "Text", "Truth"]

_PASSWORD = re.compile(r"(?<=://)([^:@/\s]*):[^@\s]*@")
_RATE = re.compile(r"\A[1-9][0-9]{0,8}/([1-9][0-9]{0,5})?(second|minute|hour|day)\Z")
_PER = ("key", "user", "organisation", "address")


class Secret:
    """A text that is never shown by accident: `reveal()` is the only way to it. A URL shows all but its password."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __str__(self) -> str:
        if _PASSWORD.search(self._value):
            return _PASSWORD.sub(r"\1:***@", self._value)
        return self._value if "://" in self._value and "@" not in self._value else "***"

    def __repr__(self) -> str:
        return f"Secret({str(self)!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Secret) and other._value == self._value

    def __hash__(self) -> int:
        return hash((Secret, self._value))

    def __reduce__(self) -> Any:
        raise TypeError("a secret is not pickled")


class Text(fields.String):
    """A line of text. `says`: what is allowed, where a validator narrows it."""

    def __init__(self, *, says: str = "", **given: Any) -> None:
        super().__init__(**given)
        self.says = says

    def allowed(self) -> str:
        return self.says or "text"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> Any:
        if not isinstance(value, str) or not value.strip() or "\n" in value or "\0" in value:
            raise ValidationError(f"{_shown(value)} is not a line of text. Allowed: {self.allowed()}.")
        return value

    def _validate(self, value: Any) -> None:
        try:
            super()._validate(value)
        except ValidationError:
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.") from None


class Choice(Text):
    """One of a few words."""

    def __init__(self, *words: str, **given: Any) -> None:
        super().__init__(says=", ".join(words), **given)
        self.words = words

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> str:
        if value not in self.words:
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.says}.")
        return str(value)


class Truth(fields.Boolean):
    """true or false."""

    def allowed(self) -> str:
        return "true, false"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> bool:
        found = {
            "true": True,
            "1": True,
            "yes": True,
            "on": True,
            "false": False,
            "0": False,
            "no": False,
            "off": False,
        }
        if isinstance(value, bool):
            return value
        if isinstance(value, str) and value.lower() in found:
            return found[value.lower()]
        raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.")


class Number(fields.Field[Any]):
    """A number from `least` to `most`, whole unless told otherwise."""

    def __init__(self, least: float, most: float, *, whole: bool = True, **given: Any) -> None:
        super().__init__(**given)
        self.least, self.most, self.whole = least, most, whole

    def allowed(self) -> str:
        return f"{'a whole number' if self.whole else 'a number'} from {self.least:g} to {self.most:.12g}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> Any:
        wrong = ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.")
        if isinstance(value, bool) or not isinstance(value, int | float | str) or len(str(value)) > 30:
            raise wrong
        try:
            found = int(str(value), 10) if self.whole else float(value)
        except ValueError:
            raise wrong from None
        if not self.least <= found <= self.most:  # also refuses NaN
            raise wrong
        return found


class Folder(fields.Field[Any]):
    """A path; the reader makes it absolute."""

    def allowed(self) -> str:
        return "a path"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> Path:
        if isinstance(value, Path):
            return value
        if not isinstance(value, str) or not value.strip() or "\0" in value:
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.")
        return Path(value).expanduser()


class Link(Text):
    """A URL of one of the given schemes. It may not hold a password: what may is `Protected`."""

    def __init__(self, *schemes: str, **given: Any) -> None:
        super().__init__(says=" or ".join(f"{scheme}://..." for scheme in schemes), **given)
        self.schemes = schemes

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> str:
        try:
            parts = urlsplit(str(value))
            fits = parts.scheme in self.schemes and bool(parts.netloc or (parts.scheme == "file" and parts.path))
            _ = parts.port
        except ValueError:
            fits = False
        if not fits or not isinstance(value, str) or re.search(r"\s", value):
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.says}.")
        if parts.password is not None:
            raise ValidationError(f"a URL with a password in it. Allowed: {self.says}, without a password.")
        return value


class Protected(Text):
    """A secret. Its error never shows it."""

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> Any:
        if isinstance(value, Secret):
            value = value.reveal()
        if not isinstance(value, str) or not value.strip() or "\n" in value or "\0" in value:
            raise ValidationError(f"the value (not shown) is not a line of text. Allowed: {self.allowed()}.")
        return Secret(value)

    def _validate(self, value: Any) -> None:
        try:
            for check in self.validators:
                check(value.reveal())
        except ValidationError:
            raise ValidationError(f"the value (not shown) is not valid. Allowed: {self.allowed()}.") from None


class Names(fields.Field[Any]):
    """Several values: a TOML array, or one text with commas. `network`: each is an address or a network."""

    def __init__(self, *, item: Text | None = None, network: bool = False, **given: Any) -> None:
        super().__init__(**given)
        self.item = item or Text()
        self.network = network

    def allowed(self) -> str:
        each = "address or network, such as 10.0.0.0/8" if self.network else self.item.allowed()
        return f"a list, with commas between; each: {each}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> tuple[Any, ...]:
        if isinstance(value, str):
            value = [part.strip() for part in value.split(",") if part.strip()]
        if not isinstance(value, list | tuple):
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.")
        found: list[Any] = []
        for position, part in enumerate(value, 1):
            try:
                found.append(self.item.deserialize(part))
                if self.network:
                    ipaddress.ip_network(part, strict=False)
            except ValidationError as error:
                raise ValidationError(f"entry {position}: {error.messages[0]}") from None
            except ValueError:
                raise ValidationError(
                    f"entry {position}: {_shown(part)} is not valid. Allowed: {self.allowed()}."
                ) from None
        return tuple(found)


class Limits(fields.Field[Any]):
    """Named rate limits: name to `{rate, per}`; `per` only where it is overridden."""

    def allowed(self) -> str:
        return f"name=number/unit (second, minute, hour, day); per one of {', '.join(_PER)}"

    def _deserialize(self, value: Any, attr: str | None, data: Any, **given: Any) -> Mapping[str, Mapping[str, str]]:
        if isinstance(value, str):
            pairs = [part.partition("=") for part in value.split(",") if part.strip()]
            value = {name.strip(): rate.strip() for name, _, rate in pairs}
        if not isinstance(value, Mapping):
            raise ValidationError(f"{_shown(value)} is not valid. Allowed: {self.allowed()}.")
        found: dict[str, Mapping[str, str]] = {}
        for name, entry in value.items():
            limit = {"rate": entry} if isinstance(entry, str) else entry
            if (
                not isinstance(limit, Mapping)
                or not set(limit) <= {"rate", "per"}
                or not isinstance(limit.get("rate"), str)
                or not _RATE.match(limit["rate"])
                or limit.get("per", "key") not in _PER
            ):
                raise ValidationError(f"{name}: {_shown(entry)} is not valid. Allowed: {self.allowed()}.")
            found[str(name)] = MappingProxyType({str(key): str(part) for key, part in limit.items()})
        return MappingProxyType(found)


def _shown(value: Any) -> str:
    text = repr(value) if not isinstance(value, str) else f"'{value}'"
    return text if len(text) <= 80 else text[:77] + "..."
