"""Stripe: cards by PaymentIntents, written from its documentation; see `docs/acquirers/stripe.md`."""
