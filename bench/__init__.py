"""Measures what a payment costs and how many there can be; see README.md."""
