"""Adyen's own models as the judge of requests, answers and notifications. What they do not name is a violation.

They are in the npm package `@adyen/api-library`, Checkout v72, and are read from there; nothing is copied or run.
Each class has the names and types of its members, its enums, and, in its declaration, which members it always has.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from tests.witnesses.npm import package_directory

PACKAGE = "@adyen/api-library"
VERSION = "32.1.0"
VIOLATIONS_MAX = 20
CHECKOUT, NOTIFICATION, MANAGEMENT = "checkout", "notification", "management"

_REQUESTS = (
    (r"/v72/payments", "PaymentRequest"),
    (r"/v72/payments/details", "PaymentDetailsRequest"),
    (r"/v72/payments/[A-Za-z0-9]+/captures", "PaymentCaptureRequest"),
    (r"/v72/payments/[A-Za-z0-9]+/cancels", "PaymentCancelRequest"),
    (r"/v72/payments/[A-Za-z0-9]+/refunds", "PaymentRefundRequest"),
    (r"/v72/payments/[A-Za-z0-9]+/reversals", "PaymentReversalRequest"),
    (r"/v72/cancels", "StandalonePaymentCancelRequest"),
    (r"/v72/paymentMethods", "PaymentMethodsRequest"),
)
_OR_NULL = " | null"
_PRIMITIVES = {
    "string": str,
    "number": int,
    "boolean": bool,
    "Date": str,
    "object": dict,
    "any": object,
}


@cache
def adyen_models() -> "AdyenModels":
    """The judge, read once per process. The test is skipped, in words, where there is no npm."""
    return AdyenModels(package_directory(PACKAGE, VERSION) / "lib" / "src" / "typings")


@dataclass(frozen=True)
class Model:
    """One class of a package."""

    members: dict[str, str]  # types by name on the wire
    always: frozenset[str]
    enums: dict[str, frozenset[str]]
    choices: tuple[str, ...]  # the classes of which it is one, told apart by their `type`


@dataclass
class AdyenModels:
    """Judges by the name of a class, or by the path of a request."""

    folder: Path
    _read: dict[tuple[str, str], Model | None] = field(default_factory=dict)

    def request(self, method: str, path: str, body: Any) -> list[str]:
        """What is wrong with a request."""
        if method == "GET":
            return [] if path == "/v3/me" and body is None else [f"{method} {path}: no such operation"]
        for pattern, name in _REQUESTS:
            if re.fullmatch(pattern, path):
                return self.judged(CHECKOUT, name, body)
        return [f"{method} {path}: no such operation"]

    def judged(self, family: str, name: str, value: Any) -> list[str]:
        """What is wrong with a value of a class of a family (`checkout`, `notification`)."""
        return list(self._violations(family, name, value, place=name))[:VIOLATIONS_MAX]

    def _violations(self, family: str, type_: str, value: Any, *, place: str) -> list[str]:
        if value is None:
            return [] if type_.endswith(_OR_NULL) else [f"{place}: null"]
        type_ = type_.removesuffix(_OR_NULL)
        if found := re.fullmatch(r"Array<(.+)>", type_):
            if not isinstance(value, list):
                return [f"{place}: no list"]
            return [
                said
                for number, each in enumerate(value)
                for said in self._violations(family, found[1], each, place=f"{place}/{number}")
            ]
        if found := re.fullmatch(r"\{ ?\[key: string\]: (\w+);? ?\}|AdditionalData", type_):
            texts = isinstance(value, dict) and all(isinstance(each, str) for each in value.values())
            return [] if texts else [f"{place}: no map of texts"]
        if type_ in _PRIMITIVES:
            expected: Any = _PRIMITIVES[type_]
            fits = isinstance(value, expected) and not (isinstance(value, bool) and type_ != "boolean")
            return [] if fits else [f"{place}: no {type_}"]
        if "." in type_:
            owner, enum = type_.split(".")
            model = self.model(family, owner)
            allowed = frozenset() if model is None else model.enums.get(enum, frozenset())
            return [] if value in allowed else [f"{place}: {value!r} is none of {enum}"]
        return self._of_class(family, type_, value, place=place)

    def _of_class(self, family: str, name: str, value: Any, *, place: str) -> list[str]:
        model = self.model(family, name)
        if model is None:
            return [f"{place}: no class {name}"]
        if not isinstance(value, dict):
            return [f"{place}: no object"]
        if model.choices:
            return self._one_of(family, model.choices, value, place=place)
        said = [f"{place}/{member}: missing" for member in sorted(model.always - value.keys())]
        for member, inner in value.items():
            if member not in model.members:
                said.append(f"{place}/{member}: no such member")
            else:
                said += self._violations(family, model.members[member], inner, place=f"{place}/{member}")
        return said

    def _one_of(
        self, family: str, choices: tuple[str, ...], value: dict[str, Any], *, place: str
    ) -> list[str]:
        """Of the classes whose `type` it has; of several, one is enough."""
        fitting = [
            self._of_class(family, name, value, place=place)
            for name in choices
            if value.get("type") in self._types(family, name)
        ]
        return min(fitting, key=len) if fitting else [f"{place}: no {value.get('type')!r}"]

    def _types(self, family: str, name: str) -> frozenset[str]:
        model = self.model(family, name)
        _, _, enum = ("" if model is None else model.members.get("type", "")).rpartition(".")
        return frozenset() if model is None else model.enums.get(enum, frozenset())

    def model(self, family: str, name: str) -> Model | None:
        """One class; None where there is none."""
        if (family, name) not in self._read:
            file = self.folder / family / f"{name[:1].lower()}{name[1:]}"
            exists = file.with_suffix(".js").exists()
            self._read[family, name] = _parsed(file, name) if exists else None
        return self._read[family, name]


def _parsed(file: Path, name: str) -> Model:
    code, declared = file.with_suffix(".js").read_text(), file.with_suffix(".d.ts").read_text()
    listed = re.search(rf"{name}\.attributeTypeMap = (\[.*?\n\]);", code, re.DOTALL)
    members = json.loads(listed[1]) if listed else []
    wire = {each["name"]: each["baseName"] for each in members}
    always = {
        wire[member]
        for member in re.findall(r"""^    ['"](\w+)['"]: """, declared, re.MULTILINE)
        if member in wire
    }
    enums: dict[str, set[str]] = {}
    for enum, text in re.findall(r'(\w+Enum)\["\w+"\] = "([^"]*)"', code):
        enums.setdefault(enum, set()).add(text)
    choices = re.search(rf"^export type {name} = ([\w |]+);", declared, re.MULTILINE)
    return Model(
        members={each["baseName"]: each["type"] for each in members},
        always=frozenset(always),
        enums={enum: frozenset(texts) for enum, texts in enums.items()},
        choices=tuple(name.strip() for name in choices[1].split("|")) if choices else (),
    )
