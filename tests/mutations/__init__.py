"""Whether the tests notice when a rule of `design.md` §2 is broken: run by hand, `python -m tests.mutations`."""
