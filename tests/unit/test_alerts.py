"""The alerting rules and the operations page ask for metrics that exist, and every rule is seen to fire."""

import re
import shutil
import subprocess
from collections.abc import Callable
from itertools import product
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from devstack.parts import CHECKOUT
from payonce import metrics
from payonce.domain.operations import OperationKind
from payonce.domain.reviews import ReviewReason
from payonce.webhooks import observing
from payonce.webhooks.delivery import Reason

RULES = CHECKOUT / "deploy" / "prometheus" / "alerts.yaml"
TESTS = RULES.with_name("alerts_test.yaml")
NAME = re.compile(r"payonce_[a-z_]+")
SELECTOR = re.compile(r"(payonce_[a-z_]+)\{([^}]*)\}")
PROMTOOL_WITHIN_S = 120.0


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def names() -> list[str]:
    return [alert["alert"] for alert in alerts()]


def rows() -> list[list[str]]:
    """The cells of the page's table of metrics."""
    page = (CHECKOUT / "docs" / "operations.md").read_text()
    table = page.split("| Metric | Alert when | Rule |\n|---|---|---|\n")[1].split("\n\n")[0]
    return [line.strip("| ").split(" | ") for line in table.splitlines()]


def labels_of(name: str) -> tuple[str, ...]:
    """Its labels, by any name under which it is exported."""
    collector = REGISTRY._names_to_collectors[name]
    assert isinstance(collector, MetricWrapperBase)
    return tuple(collector._labelnames)


def ours() -> set[str]:
    """Every metric of ours, as it is asked for."""
    found = {collector for collector in vars(metrics).values() if isinstance(collector, MetricWrapperBase)}
    return {f"{one._name}_total" if one._type == "counter" else one._name for one in found}


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_metrics_that_exist_and_says_what_to_do(alert: dict[str, Any]) -> None:
    exported = set(REGISTRY._names_to_collectors)
    text = alert["expr"] + alert["annotations"]["description"]
    assert set(NAME.findall(alert["expr"]))
    assert set(NAME.findall(text)) <= exported
    for metric, selected in SELECTOR.findall(text):
        asked = set(re.findall(r"(\w+)\s*(?:=|!=|=~|!~)\s*\"", selected))
        assert asked <= set(labels_of(metric)), metric
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]


def test_no_two_alerts_share_a_name() -> None:
    assert len(set(names())) == len(names())


def test_every_metric_of_the_page_is_exported_with_its_labels_and_every_other_one_of_ours_is_on_it() -> None:
    told = [span for metric, _, _ in rows() for span in re.findall(r"`([^`]+)`", metric)]
    found = {}
    for span in told:
        name, _, labels = span.rstrip("}").partition("{")
        found[name] = tuple(label for label in labels.split(",") if label)
    assert {name: labels_of(name) for name in found} == found
    assert found.keys() == ours()


def test_every_rule_that_the_page_names_exists_and_asks_for_a_metric_of_its_row() -> None:
    asked = {alert["alert"]: set(NAME.findall(alert["expr"])) for alert in alerts()}
    named = []
    for metric, _, cell in rows():
        of_row = set(NAME.findall(metric))
        rules = re.findall(r"`(\w+)`", cell)
        assert rules
        for rule in rules:
            assert {name.removesuffix("_bucket") for name in asked[rule]} & of_row, rule
        named += rules
    assert sorted(named) == sorted(names())


def test_every_rule_is_seen_to_fire_and_what_it_asks_for_is_seen_to_be_quiet() -> None:
    tests = yaml.safe_load(TESTS.read_text())["tests"]
    fires, quiet = set(), set()
    for test in tests:
        for check in test["promql_expr_test"]:
            fires |= {
                name for sample in check["exp_samples"] for name in re.findall(r'"(\w+)"', sample["labels"])
            }
            if not check["exp_samples"]:
                quiet |= {name for one in test["input_series"] for name in NAME.findall(one["series"])}
    assert fires == set(names())
    assert all(set(NAME.findall(alert["expr"])) <= quiet for alert in alerts())


def test_the_rules_fire_as_their_tests_say() -> None:
    """By Prometheus' own reading of them."""
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not here: it comes with Prometheus (Debian: apt-get install prometheus)")
    ran = subprocess.run(
        [promtool, "test", "rules", TESTS.name],
        cwd=TESTS.parent,
        capture_output=True,
        text=True,
        timeout=PROMTOOL_WITHIN_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr


@pytest.mark.parametrize(
    ("counter", "values"),
    [
        (metrics.REVIEWS, (OperationKind,)),
        (metrics.REVIEWS_ESCALATED, (ReviewReason,)),
        (metrics.LATE_SUCCESSES, (OperationKind,)),
        (metrics.DELIVERIES_ENDED, (("succeeded", "exhausted", "dropped"),)),
        (observing.metrics.DELIVERIES, (("delivered", *Reason),)),
    ],
    ids=lambda value: getattr(value, "_name", None),
)
def test_what_is_alerted_on_is_there_at_0_before_it_first_happens(counter: Any, values: Any) -> None:
    """The first review of a process was a series that began at 1, in which Prometheus saw no increase."""
    samples = {tuple(sample.labels.values()) for metric in counter.collect() for sample in metric.samples}
    assert set(product(*values)) <= samples


def test_what_is_counted_by_account_is_there_at_0_once_the_accounts_are_known() -> None:
    metrics.accounts_at_zero({"an account": "a_connector"})
    value: Callable[..., float | None] = REGISTRY.get_sample_value
    by_account = {"account": "an account", "kind": "authorize", "result": "outcome_unknown"}
    assert value("payonce_connector_calls_total", by_account) == 0
    assert value("payonce_callbacks_total", {"connector": "a_connector", "result": "invalid"}) == 0
    by_connector = {"kind": "authorize", "status": "failed", "connector": "a_connector"}
    assert value("payonce_operation_outcomes_total", by_connector) == 0
