"""`ReconciliationWorkflow`: acquirers' lists against our books, an account after the other."""

from temporalio import workflow
from temporalio.exceptions import ActivityError

from workflows.told import Deaf

with workflow.unsafe.imports_passed_through():
    from activities import options
    from activities.reconciling import Reconciling


@workflow.defn
class ReconciliationWorkflow(Deaf):
    """A Schedule starts it each hour, and not while one runs. Where each account stands is in Postgres."""

    @workflow.run
    async def run(self) -> dict[str, str]:
        """What each account came to, in words. One that fails holds up no other."""
        said: dict[str, str] = {}
        accounts = await workflow.execute_activity_method(
            Reconciling.accounts_with_lists, **options.BOOKKEEPING
        )
        for account in accounts:
            try:
                found = await workflow.execute_activity_method(
                    Reconciling.reconcile, account, summary=account, **options.RECONCILE
                )
                new = ", ".join(f"{count} {result}" for result, count in sorted(found.items()))
                said[account] = new or "nothing new"
            except ActivityError as error:
                said[account] = f"failed: {error.cause or error}"
            workflow.set_current_details("\n\n".join(f"{one}: **{what}**" for one, what in said.items()))
        return said
