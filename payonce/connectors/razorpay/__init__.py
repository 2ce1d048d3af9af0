"""Razorpay: cards, UPI and wallets in India."""
