"""Decides: what follows, whether and when to try again, when to call an operator. Deterministic, no I/O."""
