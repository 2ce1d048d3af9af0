"""The rules about money hold in every interleaving within the bounds; each old rule, put back, breaks one."""

from dataclasses import replace

import pytest

from tests.explorer.database import WINDOW
from tests.explorer.mutants import MUTANTS
from tests.explorer.rules import Rules
from tests.explorer.setting import Setting
from tests.explorer.settings import CLEAN
from tests.explorer.settings import NONE as NO_FAULTS

DOMAIN = Rules()


@pytest.mark.parametrize("name", CLEAN)
def test_the_domains_rules_hold_in_every_interleaving(name: str) -> None:
    explored = CLEAN[name].explore()

    assert not explored.broken, str(explored)
    assert explored.complete
    assert explored.states > 1000


@pytest.mark.parametrize("name", MUTANTS)
def test_a_wrong_rule_is_found(name: str) -> None:
    mutant = MUTANTS[name]

    explored = mutant.setting.explore(mutant.rules)

    assert explored.broken.startswith(mutant.breaks), str(explored)


def test_rule_9_names_what_remains_an_unnamed_standby_between_two_looks() -> None:
    """Not a hole that anybody can mend here: it is why the HA manager must be strict (`docs/operations.md`)."""
    window = Setting(link="down", left=NO_FAULTS._replace(empties=1, fail_overs=1), empties=WINDOW)

    assert window.explore().broken.startswith("I4"), "the documents promise too little"
    assert not replace(window, empties="closed").explore().broken
