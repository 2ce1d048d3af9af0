"""Walks through what acquirers do later: each plays one thing in `make dev` and shows all three sides of it."""
