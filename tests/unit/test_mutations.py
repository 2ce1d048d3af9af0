"""The mutations still fit the code: whoever moves a line that one of them is about mends it."""

import pytest

from tests.mutations.__main__ import CHECKOUT, MUTATIONS, Mutation


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_a_mutation_replaces_is_there_once(mutation: Mutation) -> None:
    assert (CHECKOUT / mutation.file).read_text().count(mutation.before) == 1
    assert mutation.before != mutation.after


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name)
def test_what_must_notice_a_mutation_is_there(mutation: Mutation) -> None:
    assert all((CHECKOUT / test).exists() for test in mutation.tests)
