"""The sandbox as Razorpay: `/razorpay/v1/…`, over the one ledger. Written from Razorpay's documentation alone.

What rests on no sentence of it is marked *guess*, and no test depends on that. Pages are named by their path under
razorpay.com/docs, as stored in github.com/razorpay/markdown-docs; "s2s" is payments/payment-gateway/s2s-integration.
Nothing was tried against a live account.
"""
