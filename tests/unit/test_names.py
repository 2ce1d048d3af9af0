"""One name, one meaning: no public class is called as another one, and files are where documents say."""

import ast
import re
from collections import defaultdict
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
FILE = re.compile(r"`((?:activities|api|devstack|payonce|tests|workers|workflows)/[\w/]+\.py)`")
PRODUCT = ("activities", "api", "payonce", "workers", "workflows")
# Published: the schema's name stands in openapi.json, and connectors get the other.
TWICE = {"Address", "Browser", "Card", "Customer", "Party", "Sca"}


def classes() -> dict[str, list[str]]:
    """Where each public class is defined."""
    found: dict[str, list[str]] = defaultdict(list)
    for folder in PRODUCT:
        for file in sorted((CHECKOUT / folder).rglob("*.py")):
            for node in ast.walk(ast.parse(file.read_text())):
                if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                    found[node.name].append(str(file.relative_to(CHECKOUT)))
    return found


def test_no_class_name_means_two_things() -> None:
    found = classes()
    assert len(found) > 100
    assert {name: files for name, files in found.items() if len(files) > 1 and name not in TWICE} == {}


def test_what_is_allowed_to_be_there_twice_is() -> None:
    found = classes()
    assert {name for name in TWICE if len(found[name]) > 1} == TWICE


def test_the_files_that_the_documents_name_are_there() -> None:
    documents = [*(CHECKOUT / "docs").glob("*.md"), CHECKOUT / "README.md", CHECKOUT / "CONTRIBUTING.md"]
    named = {(page.name, path) for page in documents for path in FILE.findall(page.read_text())}
    assert len(named) > 50
    assert {(page, path) for page, path in named if not (CHECKOUT / path).exists()} == set()
