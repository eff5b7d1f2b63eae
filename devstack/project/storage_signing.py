"""Tokens: who a caller is, and the signed addresses under which anyone may fetch one object."""

from __future__ import annotations

import time
from urllib.parse import quote

import jwt

from devstack.project import storage_errors as errors
from devstack.project.keys import JWT_SECRET
from devstack.project.storage_rows import Caller


def read_caller(token: str) -> Caller:
    """Who a bearer token stands for; StorageError if it does not verify."""
    try:
        claims = jwt.decode(token, JWT_SECRET, algorithms=["HS256"], options={"verify_aud": False})
    except jwt.InvalidTokenError as error:
        raise errors.access_denied(str(error)) from error
    return Caller(role=claims.get("role", "anon"), user_id=claims.get("sub"), claims=claims)


def sign_address(bucket: str, key: str, lifetime_seconds: int) -> str:
    """The address below ``/storage/v1`` under which the object can be fetched without a key."""
    now = int(time.time())
    url = f"{bucket}/{key}"
    claims = {"url": url, "iat": now, "exp": now + lifetime_seconds}
    token = jwt.encode(claims, JWT_SECRET, algorithm="HS256")
    return f"/object/sign/{quote(url)}?token={token}"


def check_signature(token: str, bucket: str, key: str) -> None:
    """StorageError unless the token was signed for this object and has not expired."""
    try:
        claims = jwt.decode(token, JWT_SECRET, algorithms=["HS256"])
    except jwt.ExpiredSignatureError as error:
        raise errors.invalid_jwt('"exp" claim timestamp check failed') from error
    except jwt.InvalidTokenError as error:
        raise errors.invalid_jwt("signature verification failed") from error
    if claims.get("url") != f"{bucket}/{key}":
        raise errors.invalid_signature()
