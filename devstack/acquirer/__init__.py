"""The sandbox acquirer: a process of its own, the independent witness of what money really moved.

It imports nothing from payonce. It does not police sums: it moves what it is told to move, so that a
payment system that captures or refunds too much is seen in the ledger instead of being saved by it.
"""
