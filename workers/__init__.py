"""Processes: the Temporal worker, the webhook relay, the sweeper."""
