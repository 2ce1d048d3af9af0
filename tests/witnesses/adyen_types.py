"""What Adyen's own library says of every model of Checkout v72 and of the standard webhook: the judge of bodies.

The library is the npm package `@adyen/api-library`; its `attributeTypeMap`s and enums are read out of its sources.
They name members, types and values; which members are required, and how long texts may be, they do not say.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.witnesses.npm import package_directory

PACKAGE, VERSION = "@adyen/api-library", "32.1.0"
VIOLATIONS_MAX = 20

Json = dict[str, Any]

_MAP = re.compile(r"^(\w+)\.attributeTypeMap = (\[.*?\n\]);", re.MULTILINE | re.DOTALL)
_ENUM_VALUE = re.compile(r'^\s+(\w+)\["\w+"\] = "([^"]*)";', re.MULTILINE)
_NAMESPACE = re.compile(r"^\(function \((\w+)\) \{(.*?)^\}\)", re.MULTILINE | re.DOTALL)
_UNION = re.compile(r"^export type (\w+) = ([\w |]+);", re.MULTILINE)
_TEXTS = re.compile(r"\{ \[key: string\]: string; \}|AdditionalData")
_TYPES = {"string": str, "number": int, "boolean": bool}


@cache
def adyen_types() -> "AdyenTypes":
    """The judge, read once per process. The test is skipped, in words, where there is no npm."""
    root = package_directory(PACKAGE, VERSION) / "lib" / "src" / "typings"
    mine = [root / "management" / f"{name}.js" for name in ("meApiCredential", "apiCredentialLinks")]
    links = [root / "management" / name for name in ("linksElement.js", "allowedOrigin.js")]
    return AdyenTypes.read(
        [*(root / "checkout").glob("*"), *(root / "notification").glob("*"), *mine, *links]
    )


@dataclass
class AdyenTypes:
    """Members of models, values of enums, and which models a union is of."""

    models: dict[str, dict[str, str]] = field(default_factory=dict)
    enums: dict[str, set[str]] = field(default_factory=dict)
    unions: dict[str, list[str]] = field(default_factory=dict)

    @classmethod
    def read(cls, files: list[Path]) -> "AdyenTypes":
        """The models of these sources."""
        found = cls()
        for file in sorted(files):
            if file.name.endswith(".js"):
                found._add_models(file.read_text())
            elif file.name.endswith(".d.ts"):
                for name, members in _UNION.findall(file.read_text()):
                    found.unions[name] = [member.strip() for member in members.split("|")]
        return found

    def _add_models(self, source: str) -> None:
        for name, literal in _MAP.findall(source):
            self.models[name] = {each["baseName"]: each["type"] for each in json.loads(literal)}
        for model, inside in _NAMESPACE.findall(source):
            for enum, value in _ENUM_VALUE.findall(inside):
                self.enums.setdefault(f"{model}.{enum}", set()).add(value)

    def judged(self, model: str, value: Any) -> list[str]:
        """What is wrong with a value as a model; members that it does not name are not allowed."""
        return self._judged(model, value, model)[:VIOLATIONS_MAX]

    def _judged(self, type_: str, value: Any, place: str) -> list[str]:
        plain = type_.removesuffix(" | null")
        if plain != type_ and value is None:
            return []
        if plain.startswith("Array<"):
            if not isinstance(value, list):
                return [f"{place}: is no list"]
            inner = plain[len("Array<") : -1]
            return [each for item in value for each in self._judged(inner, item, f"{place}[]")]
        if _TEXTS.fullmatch(plain):
            is_texts = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
            return [] if is_texts else [f"{place}: is not made of texts"]
        if plain in self.enums:
            return [] if value in self.enums[plain] else [f"{place}: {value!r} is not one of {plain}"]
        if plain in self.unions:
            return self._one_of(self.unions[plain], value, place)
        if plain in self.models:
            return self._members(self.models[plain], value, place)
        return self._primitive(plain, value, place)

    def _one_of(self, models: list[str], value: Any, place: str) -> list[str]:
        """Of those whose `type` it has; of several, one is enough."""
        tried = [(model, self._judged(model, value, place)) for model in models]
        fitting = [found for model, found in tried if self._is_of_type(model, value)]
        return min(fitting, key=len) if fitting else [f"{place}: no model of this type"]

    def _is_of_type(self, model: str, value: Any) -> bool:
        named = self.models.get(model, {}).get("type", "")
        given = value.get("type") if isinstance(value, dict) else None
        return given in self.enums.get(named, set())

    def _members(self, known: dict[str, str], value: Any, place: str) -> list[str]:
        if not isinstance(value, dict):
            return [f"{place}: is no object"]
        found = [f"{place}: unknown member {name}" for name in value if name not in known]
        for name, member in value.items():
            if name in known:
                found += self._judged(known[name], member, f"{place}.{name}")
        return found

    def _primitive(self, type_: str, value: Any, place: str) -> list[str]:
        if type_ == "any":
            return []
        wanted = _TYPES.get(type_)
        if wanted is None:
            return [f"{place}: no such model {type_}"]
        is_it = isinstance(value, wanted) and (wanted is bool or not isinstance(value, bool))
        return [] if is_it else [f"{place}: {type(value).__name__} is no {type_}"]
