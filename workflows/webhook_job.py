"""`WebhookJobWorkflow`: what an endpoint missed, or a range of events, delivered again page by page."""

from datetime import timedelta

from temporalio import workflow

from workflows.told import Deaf

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.webhook_deliveries import Delivering
    from activities.webhook_messages import JobEnded, JobProgress, JobRequest, NotNow

STEPS_PER_RUN = 500  # then the history begins anew
PAUSE_FIRST_S, PAUSE_LONGEST_S = 2.0, 600.0  # doubled while the endpoint has enough to do


@workflow.defn
class WebhookJobWorkflow(Deaf):
    """Its id is the job's. Its place is in Postgres, so that a run may end anywhere and another goes on there."""

    @workflow.run
    async def run(self, request: JobRequest) -> str:
        """Ends with the job; returns the state in which that is."""
        pause_s = PAUSE_FIRST_S
        for _ in range(STEPS_PER_RUN):
            progress: JobProgress = await workflow.execute_activity_method(
                Delivering.redeliver_page, request, summary="next page", **options.REDELIVER
            )
            workflow.set_current_details(_details(progress))
            if isinstance(progress, JobEnded):
                return progress.state
            if not isinstance(progress, NotNow):
                pause_s = PAUSE_FIRST_S
                continue
            await workflow.sleep(timedelta(seconds=pause_s), summary=progress.reason)
            pause_s = min(pause_s * 2, PAUSE_LONGEST_S)
        workflow.continue_as_new(JobRequest(request.job_id, request.steps + STEPS_PER_RUN))


def _details(progress: JobProgress) -> str:
    counted = f"**{progress.done} of {progress.total} deliveries made**"
    if isinstance(progress, JobEnded):
        return f"{counted}\n\nThe job is {progress.state}."
    return f"{counted}\n\nWaiting: {progress.reason}." if isinstance(progress, NotNow) else counted
