"""The alerting rules ask for metrics that exist, with labels that they have."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import REGISTRY

from payonce import metrics
from payonce.webhooks.delivery import Reason

RULES = Path(__file__).parents[2] / "deploy" / "prometheus" / "alerts.yaml"
NAME = re.compile(r"payonce_[a-z_]+")
SELECTOR = re.compile(r"(payonce_[a-z_]+)\{([a-z_]+)")
LABELS = {
    "payonce_connector_calls_total": metrics.CONNECTOR_CALLS._labelnames,
    "payonce_webhook_attempts_total": metrics.DELIVERIES._labelnames,
    "payonce_webhook_deliveries_ended_total": metrics.DELIVERIES_ENDED._labelnames,
    "payonce_webhook_deliveries_handed_over_total": metrics.DELIVERIES_HANDED_OVER._labelnames,
}


def alerts() -> list[dict[str, Any]]:
    groups = yaml.safe_load(RULES.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


@pytest.mark.parametrize("alert", alerts(), ids=lambda alert: str(alert["alert"]))
def test_an_alert_asks_for_metrics_that_exist_and_says_what_to_do(alert: dict[str, Any]) -> None:
    exported = set(REGISTRY._names_to_collectors)
    text = alert["expr"] + alert["annotations"]["description"]
    assert set(NAME.findall(alert["expr"]))
    assert set(NAME.findall(text)) <= exported
    for metric, label in SELECTOR.findall(text):
        assert label in LABELS[metric]
    assert alert["labels"]["severity"] in ("page", "ticket")
    assert alert["annotations"]["summary"]


def test_no_two_alerts_share_a_name() -> None:
    names = [alert["alert"] for alert in alerts()]
    assert len(set(names)) == len(names)


def test_the_reasons_of_failed_attempts_are_what_the_label_may_be() -> None:
    assert "timed_out" in {reason.value for reason in Reason}
