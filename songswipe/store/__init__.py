"""Every read and write in Supabase: tables, database functions, and the audio bucket.

The only package that imports supabase and httpx.
"""

from songswipe.store.audio import AudioCalls
from songswipe.store.calls import BUCKET, connect
from songswipe.store.checkouts import CheckoutCalls
from songswipe.store.generation import GenerationCalls
from songswipe.store.health import HealthCalls
from songswipe.store.purchases import ClaimTerms, PurchaseCalls
from songswipe.store.refunds import OrderPayment, RefundCalls

__all__ = ["BUCKET", "ClaimTerms", "OrderPayment", "Store", "connect"]


class Store(CheckoutCalls, RefundCalls, GenerationCalls, PurchaseCalls, AudioCalls, HealthCalls):
    """All of it over one client, which threads may share."""
