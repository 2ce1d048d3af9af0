"""How a misreading is planted in a vendor's connector."""

from collections.abc import Callable

from tests.mutations.mutation import Mutation


def planter(vendor: str) -> Callable[..., Mutation]:
    """Plants in this vendor's connector."""

    def planted(misread: str, name: str, file: str, before: str, after: str, *tests: str) -> Mutation:
        """One in the connector's `file`; the tests in `tests`, of the connector, must notice."""
        return Mutation(
            misread,
            f"{vendor} {misread}: {name}",
            f"payonce/connectors/{vendor}/{file}",
            before,
            after,
            tuple(f"tests/connectors/{vendor}/{test}" for test in tests),
        )

    return planted
