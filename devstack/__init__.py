"""The outside world on loopback: Supabase, Inngest, ElevenLabs and Stripe for demo and tests.

Nothing in ``songswipe`` imports this package, and nothing here is meant for production.
"""
