"""Receipts, and the store that keeps them and the seals of the audit log: what is put there is never changed."""
