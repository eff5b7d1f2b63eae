"""A Supabase project on loopback: PostgreSQL, PostgREST, Storage, and one address for them."""
