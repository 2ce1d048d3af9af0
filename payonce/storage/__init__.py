"""Postgres: what is true. Nothing here commits outside `Database.transaction`."""
