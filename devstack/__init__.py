"""The development stack: every part of payonce on loopback, for `make dev` and for the tests."""
