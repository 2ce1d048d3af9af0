"""Stripe's own OpenAPI document as the judge of requests and answers. What it does not name is a violation.

The document is inside the Go module of stripe-mock and is read from there; nothing of it is copied.
"""

import json
import re
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import jsonschema_rs

from tests.witnesses.go import module_directory

MODULE = "github.com/stripe/stripe-mock"
VERSION = "v0.203.0"
VIOLATIONS_MAX = 20

Json = dict[str, Any]


@cache
def stripe_spec() -> "StripeSpec":
    """The judge, read once per process. The test is skipped, in words, where there is no Go."""
    path = module_directory(MODULE, VERSION) / "embedded" / "openapi" / "spec3.json"
    return StripeSpec(json.loads(path.read_text()))


@dataclass
class StripeSpec:
    """Judges by method and path, `/v1/…` without a query."""

    spec: Json
    _components: Json = field(init=False)
    _validators: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._components = strict(self.spec["components"])

    def request(self, method: str, path: str, form: Json) -> list[str]:
        """What is wrong with a request; `form` is its form or its query, nested, its values as sent (text)."""
        found = self._operation(method, path)
        if found is None:
            return [f"{method} {path}: no such operation"]
        template, operation = found
        schema = _form_schema(operation)
        typed = _typed(form, schema)
        return self._judged(f"{method} {template} request", strict(schema), typed)

    def parameters(self, method: str, path: str) -> list[str]:
        """The names that a request may have at its top level."""
        found = self._operation(method, path)
        return [] if found is None else list(_form_schema(found[1])["properties"])

    def answer(self, method: str, path: str, status_code: int, body: Any) -> list[str]:
        """What is wrong with an answer."""
        found = self._operation(method, path)
        if found is None:
            return [f"{method} {path}: no such operation"]
        template, operation = found
        responses = operation["responses"]
        name = str(status_code) if str(status_code) in responses else "default"
        schema = responses[name]["content"]["application/json"]["schema"]
        return self._judged(f"{method} {template} {name}", strict(schema), body)

    def event(self, body: Json) -> list[str]:
        """What is wrong with an event, and with the object that it is about."""
        about = body.get("data", {}).get("object", {})
        found = self.object("event", body)
        return found + self.object(str(about.get("object")), about)

    def object(self, type: str, body: Json) -> list[str]:
        """What is wrong with one of Stripe's objects."""
        if type not in self._components["schemas"]:
            return [f"no such object: {type}"]
        return self._judged(type, {"$ref": f"#/components/schemas/{type}"}, body)

    def _operation(self, method: str, path: str) -> tuple[str, Json] | None:
        """The operation whose path has the fewest places for ids."""
        fitting = [
            template
            for template, operations in self.spec["paths"].items()
            if method.lower() in operations
            and re.fullmatch(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template)), path)
        ]
        if not fitting:
            return None
        template = min(fitting, key=lambda each: each.count("{"))
        return template, self.spec["paths"][template][method.lower()]

    def _judged(self, name: str, schema: Json, value: Any) -> list[str]:
        if name not in self._validators:
            whole = {**schema, "components": self._components}
            self._validators[name] = jsonschema_rs.Draft202012Validator(whole)
        errors = []
        for error in self._validators[name].iter_errors(value):
            place = "/".join(str(part) for part in error.instance_path)
            errors.append(f"{name}: /{place}: {error.message[:300]}")
            if len(errors) == VIOLATIONS_MAX:
                break
        return errors


def strict(schema: Any) -> Any:
    """OpenAPI 3.0 as JSON Schema: `nullable` is a type, and members that are not named are not allowed."""
    if isinstance(schema, list):
        return [strict(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    kept = {name: strict(each) for name, each in schema.items() if not name.startswith("x-")}
    if isinstance(kept.get("properties"), dict) and schema.get("type") == "object":
        kept.setdefault("additionalProperties", False)
    if kept.pop("nullable", None) is True:
        return {"anyOf": [kept, {"type": "null"}]}
    return kept


def _form_schema(operation: Json) -> Json:
    """Of a request with a body, the body's; of one without, of its query."""
    content = operation.get("requestBody", {}).get("content", {})
    schema: Json = next(iter(content.values()), {}).get("schema", {})
    if schema.get("properties"):
        return schema
    queries = [each for each in operation.get("parameters", []) if each["in"] == "query"]
    return {
        "type": "object",
        "properties": {each["name"]: each["schema"] for each in queries},
        "required": [each["name"] for each in queries if each.get("required")],
        "additionalProperties": False,
    }


def _typed(value: Any, schema: Json) -> Any:
    """A form's texts as what the schema wants, where they can be read as that."""
    if "anyOf" in schema:
        branches = [(_typed(value, branch), branch) for branch in schema["anyOf"]]
        fitting = (typed for typed, branch in branches if jsonschema_rs.is_valid(strict(branch), typed))
        return next(fitting, branches[0][0])
    match schema.get("type"), value:
        case "integer", str() if re.fullmatch(r"-?\d{1,18}", value):
            return int(value)
        case "number", str() if re.fullmatch(r"-?\d{1,15}(\.\d{1,15})?", value):
            return float(value)
        case "boolean", "true" | "false":
            return value == "true"
        case "array", list():
            return [_typed(each, schema.get("items", {})) for each in value]
        case "object", dict():
            members, others = schema.get("properties", {}), schema.get("additionalProperties")
            other = others if isinstance(others, dict) else {}
            return {name: _typed(each, members.get(name, other)) for name, each in value.items()}
        case _:
            return value
