"""The sandbox as Stripe: `/stripe/v1/…`, over the one ledger. Written from Stripe's documentation alone.

What rests on no sentence of it is marked *guess*, and no test depends on that. Pages are named by their address
under docs.stripe.com; "spec" is the OpenAPI document inside github.com/stripe/stripe-mock v0.203.0.
"""
