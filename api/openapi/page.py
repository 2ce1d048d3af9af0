"""`/docs`: the OpenAPI document as one page that needs no script and nothing from elsewhere."""

import json
from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

SHOWN_VALUES_MAX = 20  # of an enumeration; the JSON Schema has them all

_STYLE = """
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a2e}
h2{margin-top:3rem;border-bottom:1px solid #ccd}h3 code{font-size:1rem}
pre{background:#f4f5fa;padding:.8rem;overflow-x:auto;border-radius:4px;font-size:.85rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}td,th{text-align:left;padding:.3rem .6rem;
border-top:1px solid #e3e4ee;vertical-align:top}.method{display:inline-block;min-width:4.2rem;font-weight:700}
.post{color:#0a6b3d}.get{color:#1b4fa0}.delete{color:#a01b1b}.patch{color:#8a5a00}
summary{cursor:pointer;color:#555}nav a{display:block}
"""


def page(document: Mapping[str, Any]) -> str:
    """The page as HTML."""
    info = document["info"]
    return "".join(
        [
            "<!doctype html><html lang='en'><head><meta charset='utf-8'>",
            "<meta name='viewport' content='width=device-width,initial-scale=1'>",
            f"<title>{escape(info['title'])} API</title><style>{_STYLE}</style></head><body>",
            f"<h1>{escape(info['title'])} API <small>{escape(info['version'])}</small></h1>",
            "<p>For programs: <a href='/openapi.json'>openapi.json</a></p>",
            _prose(info["description"]),
            f"<nav>{''.join(_links(document))}</nav>",
            *_operations(document),
            "<h2 id='objects'>Objects</h2>",
            *_objects(document["components"]["schemas"]),
            "</body></html>",
        ]
    )


def _each(document: Mapping[str, Any]) -> Iterator[tuple[str, str, Mapping[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield method, path, operation


def _links(document: Mapping[str, Any]) -> Iterator[str]:
    for method, path, operation in _each(document):
        yield f"<a href='#{operation['operationId']}'>{_call(method, path)}</a>"


def _operations(document: Mapping[str, Any]) -> Iterator[str]:
    tag = None
    for method, path, operation in sorted(_each(document), key=lambda each: str(each[2]["tags"][0])):
        if operation["tags"][0] != tag:
            tag = operation["tags"][0]
            yield f"<h2>{escape(tag)}</h2>"
        yield f"<section id='{operation['operationId']}'><h3>{_call(method, path)}</h3>"
        yield f"<p>{_inline(operation['summary'])}. {_inline(operation.get('description', ''))}</p>"
        yield _parameters(operation.get("parameters", []))
        yield _body(operation)
        yield _responses(operation["responses"]) + "</section>"


def _call(method: str, path: str) -> str:
    return f"<code><span class='method {method}'>{method.upper()}</span> {escape(path)}</code>"


def _parameters(parameters: list[Mapping[str, Any]]) -> str:
    rows = [
        f"<tr><td><code>{escape(each['name'])}</code></td><td>{each['in']}</td>"
        f"<td>{'required' if each['required'] else ''}</td>"
        f"<td>{_inline(each.get('description', ''))}</td></tr>"
        for each in parameters
    ]
    return f"<table>{''.join(rows)}</table>" if rows else ""


def _body(operation: Mapping[str, Any]) -> str:
    if "requestBody" not in operation:
        return ""
    content = operation["requestBody"]["content"]["application/json"]
    return f"<p>Body: {_type(content['schema'])}</p>{_json(content.get('example', {}))}"


def _responses(responses: Mapping[str, Mapping[str, Any]]) -> str:
    rows = "".join(
        f"<tr><td>{status}</td><td>{_inline(response['description'])}</td><td>{_content(response)}</td></tr>"
        for status, response in sorted(responses.items())
    )
    return f"<table><tr><th>Status</th><th>When</th><th>Body</th></tr>{rows}</table>"


def _content(response: Mapping[str, Any]) -> str:
    return ", ".join(_type(content["schema"]) for content in response.get("content", {}).values())


def _objects(schemas: Mapping[str, Any]) -> Iterator[str]:
    for name, schema in sorted(schemas.items()):
        rows = "".join(
            f"<tr><td><code>{escape(member)}</code></td><td>{_type(value)}</td>"
            f"<td>{_inline(value.get('description', ''))}</td></tr>"
            for member, value in schema.get("properties", {}).items()
        )
        yield f"<h3 id='{name}'>{name}</h3><p>{_inline(schema.get('description', ''))}</p>"
        yield f"<table>{rows}</table>"
        yield f"<details><summary>JSON Schema</summary>{_json(schema)}</details>"


def _type(schema: Mapping[str, Any]) -> str:
    """What a value is, in words, with links to the objects."""
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"<a href='#{name}'>{name}</a>"
    if union := schema.get("anyOf") or schema.get("oneOf"):
        return " or ".join(_type(each) for each in union)
    if "items" in schema:
        return f"array of {_type(schema['items'])}"
    if data := schema.get("properties", {}).get("data"):
        return f"list with {_type(data)}"
    return _values(schema)


def _values(schema: Mapping[str, Any]) -> str:
    if "const" in schema:
        return f"<code>{escape(json.dumps(schema['const']))}</code>"
    if len(schema.get("enum", ())) in range(1, SHOWN_VALUES_MAX):
        return " · ".join(f"<code>{escape(str(value))}</code>" for value in schema["enum"])
    return escape(str(schema.get("format", schema.get("type", "any"))))


def _json(value: Any) -> str:
    return f"<pre>{escape(json.dumps(value, indent=2, ensure_ascii=False))}</pre>" if value else ""


def _prose(text: str) -> str:
    return "".join(f"<p>{_inline(paragraph)}</p>" for paragraph in text.split("\n\n"))


def _inline(text: str) -> str:
    """Markdown's backquotes and double stars."""
    parts = escape(text).split("`")
    marked = "".join(f"<code>{part}</code>" if index % 2 else part for index, part in enumerate(parts))
    pieces = marked.split("**")
    return "".join(f"<strong>{piece}</strong>" if index % 2 else piece for index, piece in enumerate(pieces))
