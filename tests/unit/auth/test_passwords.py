"""Password hashes (RabbitMQ, "Credentials and Passwords")."""

import base64
import hashlib

import pytest

from edge.auth.passwords import ALGORITHMS, hash_password, verify_password

SHA256 = "rabbit_password_hashing_sha256"


def test_the_example_of_rabbitmqs_guide_hashes_as_it_says() -> None:
    # RabbitMQ, "Computing a password hash": salt 908D C60A, password test12
    assert (
        hash_password("test12", bytes.fromhex("908DC60A"))
        == "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR"
    )


def test_a_hash_fits_its_password_and_no_other() -> None:
    hashed = hash_password("sécret")
    assert verify_password("sécret", hashed, SHA256)
    assert not verify_password("secret", hashed, SHA256)
    assert hash_password("sécret") != hashed, "each has a salt of its own"


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_hashes_of_older_definitions_are_read(algorithm: str) -> None:
    digest = getattr(hashlib, algorithm.rsplit("_", 1)[1])
    hashed = base64.b64encode(b"salt" + digest(b"saltpassword").digest()).decode()
    assert verify_password("password", hashed, algorithm)
    assert not verify_password("Password", hashed, algorithm)


@pytest.mark.parametrize("hashed", ["", "no base64!", "c2FsdA==", "é"])
def test_a_hash_that_cannot_be_read_fits_no_password(hashed: str) -> None:
    assert not verify_password("", hashed, SHA256)
    assert not verify_password("password", hash_password("password"), "rabbit_password_hashing_none")


def test_a_password_that_is_no_text_is_only_wrong() -> None:
    assert not verify_password("\udcff", hash_password("password"), SHA256)
