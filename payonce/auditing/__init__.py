"""The audit log's seals: what is told of each closed hour, and whether the log is still what was told."""
