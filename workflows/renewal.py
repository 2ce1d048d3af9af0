"""When a run ends for another to go on: Temporal bounds the updates, signals and events of each.

The next run is given the request and nothing else. Its first attempt finds in Postgres what is recorded, as that of
a resumed run does, so that nothing has to be carried over; but nothing may be under way that only this run knows.
"""

from temporalio import workflow
from temporalio.exceptions import ApplicationError

BEGUN_ANEW = "begun_anew"
"""The type of the error with which an update ends when the next run carries its operation on."""

_PATCH = "runs-begin-anew"  # histories from before were suggested to, and went on


class BegunAnew(ApplicationError):
    """This run ends; the next one carries on what is pending in Postgres."""

    def __init__(self) -> None:
        super().__init__("the next run carries it on", type=BEGUN_ANEW, non_retryable=True)


def suggested() -> bool:
    """Whether the server says that the run is long: at 90 % of its updates, 4,096 events or 4 MiB.

    Asked last of all conditions, since the first time that it is true is marked in the history.
    Source: Temporal server 1.32, `history.maxTotalUpdates`, `limit.historyCount.suggestContinueAsNew`.
    """
    return workflow.info().is_continue_as_new_suggested() and workflow.patched(_PATCH)
