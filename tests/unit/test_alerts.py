"""The alerting rules ask for what processes export, fire when they should, and are those of the operations page."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY
from prometheus_client.metrics import MetricWrapperBase

from payonce import metrics
from payonce.domain.operations import OperationKind
from payonce.webhooks.attempt import Reason
from tests.support.tools import tool

CHECKOUT = Path(__file__).parents[2]
RULES = CHECKOUT / "deploy" / "prometheus" / "alerts.yaml"
TESTS = RULES.with_name("alerts_test.yaml")
PAGE = CHECKOUT / "docs" / "operations.md"
NAME = re.compile(r"payonce_[a-z_]+")
SELECTOR = re.compile(r"(payonce_[a-z_]+)\{([^}]*)\}")
LABEL = re.compile(r"([a-z_]+)(?:=|,|$)")
ROW = re.compile(r"^\| (`payonce_[^|]+)\|[^|]+\| ([^|]+)\|$", re.MULTILINE)
TABLE = re.compile(r"^\| Metric \|.*?\n\n", re.MULTILINE | re.DOTALL)
# Without a figure at the start: nothing is told of an increase in them.
MEASURED = {"payonce_webhook_deliveries_pending", "payonce_dependency_up", "payonce_http_requests_total"}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


def labels_of() -> dict[str, set[str]]:
    """The labels of each metric, by each name under which it is exported."""
    found = {}
    for name, collector in REGISTRY._names_to_collectors.items():
        if isinstance(collector, MetricWrapperBase):
            found[name] = {*collector._labelnames, *(["le"] if name.endswith("_bucket") else [])}
    return found


def used_labels(text: str) -> list[tuple[str, str]]:
    return [(name, label) for name, inside in SELECTOR.findall(text) for label in LABEL.findall(inside)]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_metrics_that_exist_and_says_what_to_do(alert: dict[str, Any]) -> None:
    exported = set(REGISTRY._names_to_collectors)
    text = alert["expr"] + alert["annotations"]["description"]
    assert set(NAME.findall(alert["expr"]))
    assert set(NAME.findall(text)) <= exported
    for metric, label in used_labels(re.sub('"[^"]*"', "", text)):
        assert label in labels_of()[metric]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]


def test_no_two_alerts_share_a_name() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)


def test_the_reasons_of_failed_attempts_are_what_the_label_may_be() -> None:
    assert "timed_out" in {reason.value for reason in Reason}


def rows() -> list[tuple[str, list[str]]]:
    """The metrics of each line of the operations page, and the rules that it names."""
    return [
        (told, re.findall("`([^`]+)`", rules))
        for told, rules in ROW.findall(TABLE.findall(PAGE.read_text())[0])
    ]


def test_the_operations_page_names_every_rule_and_no_other() -> None:
    assert {name for _, named in rows() for name in named} == {alert["alert"] for alert in alerts()}


def test_a_rule_asks_for_a_metric_of_the_line_that_names_it() -> None:
    asked = {alert["alert"]: set(NAME.findall(alert["expr"])) for alert in alerts()}
    for told, named in rows():
        metrics_told = set(NAME.findall(told))
        for name in named:
            assert {metric.removesuffix("_bucket") for metric in asked[name]} & metrics_told, name


def test_every_metric_of_the_operations_page_is_exported_with_its_labels() -> None:
    exported = labels_of()
    for told, _ in rows():
        assert {name for name in NAME.findall(told) if f"{name}_bucket" not in exported} <= set(exported)
        for metric, label in used_labels(told):
            assert label in (exported.get(metric) or exported[f"{metric}_bucket"])


def test_every_metric_of_ours_stands_on_the_operations_page() -> None:
    collectors = {one for one in vars(metrics).values() if isinstance(one, MetricWrapperBase)}
    ours = {f"{one._name}_total" if one._type == "counter" else one._name for one in collectors}
    assert {name for told, _ in rows() for name in NAME.findall(told)} == ours


def test_the_operations_page_has_the_job_of_each_kind_of_operation() -> None:
    """`tests/e2e/test_metrics_ports.py` compares all jobs with what processes export."""
    chapter = PAGE.read_text().partition("### Recurring jobs")[2].partition("###")[0]
    kinds = {f"operations_{kind}" for kind in OperationKind if kind.carried_out}
    assert set(re.findall("`(operations_[a-z]+)`", chapter)) == kinds


def test_what_each_rule_asks_for_is_seen_not_to_set_it_off_too() -> None:
    quiet = set()
    for test in yaml.safe_load(TESTS.read_text())["tests"]:
        if not any(check["exp_samples"] for check in test["promql_expr_test"]):
            quiet |= {name for one in test["input_series"] for name in NAME.findall(one["series"])}
    for alert in alerts():
        assert set(NAME.findall(alert["expr"])) <= quiet, alert["alert"]


def test_what_is_told_of_when_it_grows_is_there_at_zero_from_the_start() -> None:
    """Prometheus sees no increase in a series that begins at 1."""
    metrics.accounts_at_zero({"account_zero": "connector_zero"})
    growing = re.compile(r"(?:increase|rate)\((payonce_[a-z_]+)(\{[^}]*\})?\[")
    for alert in alerts():
        for name, selector in growing.findall(alert["expr"]):
            if name.endswith("_bucket") or name in MEASURED:
                continue
            wanted = dict(re.findall('([a-z]+)="([^"]*)"', selector))
            samples = [
                sample
                for metric in REGISTRY._names_to_collectors[name].collect()
                for sample in metric.samples
                if sample.name == name and wanted.items() <= sample.labels.items()
            ]
            assert samples, f"{alert['alert']}: {name}{selector} is not there before it first happens"


@pytest.mark.parametrize("asked", ["authorize", "capture", "void", "refund", "accept", "resume", "list"])
def test_the_first_rejection_is_told_of_whatever_was_asked(asked: str) -> None:
    metrics.accounts_at_zero({"account_zero": "connector_zero"})
    labels = {"account": "account_zero", "kind": asked, "result": "rejected"}
    assert REGISTRY.get_sample_value("payonce_connector_calls_total", labels) == 0


def test_each_rule_fires_when_it_should_and_only_then() -> None:
    promtool = tool("promtool", of="prometheus")
    told = yaml.safe_load(TESTS.read_text())
    fired = re.findall(r'alertname="(\w+)"', str(told))
    assert {alert["alert"] for alert in alerts()} <= set(fired)
    ran = subprocess.run(
        [promtool, "test", "rules", TESTS.name],
        cwd=RULES.parent,
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
