"""Saved card numbers: encrypted one by one, and reached through doors in Postgres."""
