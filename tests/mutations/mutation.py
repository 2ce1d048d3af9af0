"""A change of the code that a test must notice."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Mutation:
    """The rule broken in one place; the tests that hold it are the smallest part of the suite that does."""

    rule: str
    name: str
    file: str
    before: str
    after: str
    tests: tuple[str, ...]
