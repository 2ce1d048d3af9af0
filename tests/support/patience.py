"""Time enough: a test that is not about a limit of the product's never meets one because the machine stood still.

The limits are long in every process of pytest from its start; who is about one asks for the product's
(`product_limits`, here and as a fixture). Processes that a test starts have the product's own.
"""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from importlib import import_module
from typing import Any

PATIENT_S = 60.0  # a machine that stands still for longer has failed
SEND_PATIENT_S = 30.0  # tests that are about what comes after a claim's time make it a minute older

# What is made of another limit comes after it.
_PATIENT: dict[tuple[str, str], Any] = {
    ("payonce.domain.claiming", "SEND_WITHIN"): timedelta(seconds=SEND_PATIENT_S),
    ("payonce.domain.claiming", "COMMIT_ANSWER_S"): PATIENT_S,
    ("payonce.storage.driver.pool", "WAIT_S"): PATIENT_S,
    ("payonce.storage.driver.connection", "ROLLBACK_S"): PATIENT_S,
    ("payonce.storage.driver.database", "CONNECT_S"): int(PATIENT_S),
    ("payonce.storage.driver.database", "LOCK_WAIT_MS"): int(PATIENT_S * 1_000) - 2_000,
    ("payonce.storage.driver.database", "STATEMENT_MS"): int(PATIENT_S * 1_000) - 1_000,
    ("payonce.storage.driver.database", "TRANSACTION_S"): PATIENT_S,
    ("payonce.storage.driver.database", "CLOSE_S"): PATIENT_S,
    ("payonce.rights", "SEND_WITHIN_S"): SEND_PATIENT_S,
    ("payonce.claims", "GIVE_BACK_WITHIN_S"): PATIENT_S,
    ("payonce.paying", "TAKE_WITHIN_S"): PATIENT_S,
    ("payonce.storage.standby", "LOOKED_WITHIN_S"): PATIENT_S,
    ("payonce.wakeups", "_PUBLISH_TIMEOUT_S"): PATIENT_S,
    ("payonce.runtime", "REDIS_TIMEOUT_S"): PATIENT_S,
    ("payonce.accounts", "IDENTIFY_WITHIN_S"): PATIENT_S,
    ("payonce.returns", "LOOK_WITHIN_S"): PATIENT_S,
    ("payonce.connectors.connections", "POOL_WAIT_S_MAX"): PATIENT_S,
    ("payonce.risk.counts", "TELL_WITHIN_S"): PATIENT_S,
    ("payonce.webhooks.risk", "EXCHANGE_WITHIN_S"): PATIENT_S,
    ("workers.dispatch", "UPDATE_WITHIN"): timedelta(seconds=PATIENT_S),
    ("workers.sweeper", "HAND_OVER_WITHIN_S"): PATIENT_S,
    ("workers.decisions", "TELL_WITHIN_S"): PATIENT_S,
    ("workers.inbox", "LOCATED_WITHIN_S"): PATIENT_S,
    ("api.http.bodies", "BODY_WAIT_S"): PATIENT_S,
    ("api.http.large_bodies", "WAIT_S"): PATIENT_S,
    ("api.http.lists", "SETTLE_S"): PATIENT_S,
    ("api.http.rate_limits", "LEASE_WITHIN_S"): PATIENT_S,
    ("api.admission.risk", "LOOK_UP_WITHIN_S"): PATIENT_S,
    ("api.admission.waiting", "LOOK_WITHIN_S"): PATIENT_S,
    ("api.admission.waiting", "GIVE_BACK_WITHIN_S"): PATIENT_S,
    ("api.admission.waiting", "DEFER_WITHIN_S"): PATIENT_S,
    ("api.admission.waiting", "ANSWER_WITHIN_S"): PATIENT_S,
    ("api.admission.transaction", "DECIDE_WITHIN_S"): 2 * PATIENT_S,
    ("api.front", "AUTHENTICATION_S"): PATIENT_S,
    ("api.front", "READ_S"): PATIENT_S,
    ("api.routes.deliveries", "START_WITHIN_S"): PATIENT_S,
    ("api.routes.health", "PROBE_S"): PATIENT_S,
    ("api.routes.returns", "FIND_WITHIN_S"): PATIENT_S,
    ("api.routes.returns", "TAKE_WITHIN_S"): PATIENT_S,
}
_FOLDERS = ("payonce", "api", "workers", "workflows", "activities")
_own: dict[tuple[str, str], Any] = {}


def be_patient(*folders: str) -> None:
    """The limits of this process (those of these folders, where any is named) are long.

    First of all, since some are made of others when they are imported.
    """
    for (module, name), value in _PATIENT.items():
        if not folders or module.split(".")[0] in folders:
            _own.setdefault((module, name), _set(module, name, value))
    claiming = _own.get(("payonce.domain.claiming", "SEND_WITHIN"))
    if claiming is not None:  # made of it, which was long already when this one was imported
        _own["payonce.rights", "SEND_WITHIN_S"] = claiming.total_seconds()


@contextmanager
def product_limits(*names: str) -> Iterator[None]:
    """These limits (all, when none is named) are the product's, but for connections that were opened before."""
    chosen = {limit: value for limit, value in _own.items() if not names or limit[1] in names}
    assert {name for _, name in chosen} >= set(names), "no such limit is kept long"
    for (module, name), value in chosen.items():
        _set(module, name, value)
    try:
        yield
    finally:
        for module, name in chosen:
            _set(module, name, _PATIENT[module, name])


def _set(module: str, name: str, value: Any) -> Any:
    """What the limit was, in the module that has it and in all that took it from there."""
    before = getattr(import_module(module), name)
    for each, loaded in list(sys.modules.items()):
        if each.split(".")[0] in _FOLDERS and (each == module or vars(loaded).get(name) is before):
            setattr(loaded, name, value)
    return before
