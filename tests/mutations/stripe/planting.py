"""How a misreading is planted."""

from tests.mutations.mutation import Mutation


def planted(misread: str, name: str, file: str, before: str, after: str, test: str) -> Mutation:
    """One in the connector's `file`; the tests in `test` must notice."""
    return Mutation(
        misread,
        f"stripe {misread}: {name}",
        f"payonce/connectors/stripe/{file}",
        before,
        after,
        (f"tests/connectors/stripe/{test}",),
    )
