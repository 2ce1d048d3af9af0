"""Outgoing webhooks: how a delivery is signed, where it may go, and what one attempt establishes."""
