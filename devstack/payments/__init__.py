"""Stripe, as the service meets it: signed events, a sender that does not give up, a little API."""
