"""Adyen: cards, UPI and network tokens, written from its documentation; see `docs/acquirers/adyen.md`."""
