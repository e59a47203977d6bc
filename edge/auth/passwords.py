"""Password hashes as RabbitMQ keeps them: four bytes of salt, then the digest of salt and password, in base64."""

import base64
import hashlib
import hmac
import os
from typing import Final

SALT_BYTES: Final = 4
SHA256: Final = "rabbit_password_hashing_sha256"
MD5: Final = "rabbit_password_hashing_md5"
ALGORITHMS: Final = {
    SHA256: hashlib.sha256,
    "rabbit_password_hashing_sha512": hashlib.sha512,
    MD5: hashlib.md5,
}
"""MD5 is only read, from definitions of RabbitMQ 3.5 and older, and replaced at the user's next login."""


def hash_password(password: str, salt: bytes | None = None) -> str:
    """Hash with SHA-256 and a salt of its own."""
    salt = os.urandom(SALT_BYTES) if salt is None else salt
    return base64.b64encode(salt + hashlib.sha256(salt + password.encode()).digest()).decode()


def verify_password(password: str, password_hash: str, hashing_algorithm: str) -> bool:
    """Compare in constant time; a hash that cannot be read fits no password."""
    digest = ALGORITHMS.get(hashing_algorithm)
    try:
        stored = base64.b64decode(password_hash, validate=True)
    except ValueError:
        return False
    if digest is None or len(stored) <= SALT_BYTES:
        return False
    salt = stored[:SALT_BYTES]
    return hmac.compare_digest(
        stored[SALT_BYTES:], digest(salt + password.encode("utf-8", "surrogateescape")).digest()
    )
