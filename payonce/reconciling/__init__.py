"""Reconciliation: what acquirers say of their own accord against what is recorded here."""
