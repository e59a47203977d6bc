"""Users and permissions (RabbitMQ, "Access Control")."""

import base64
import hashlib
import re

import pytest

from edge.auth.passwords import MD5, SHA256, hash_password, verify_password
from edge.auth.users import Auth, Permission, User
from edge.core.errors import AccessRefused, AuthenticationFailed, NotAllowed


@pytest.fixture
def auth() -> Auth:
    made = Auth()
    made.set_user("guest", "guest", ["administrator"])
    made.set_user("drone", "secret", [])
    made.set_permission(Permission("guest", "/", ".*", ".*", ".*"))
    made.set_permission(Permission("drone", "/", "^own-", "", "telemetry|^$"))
    return made


def may(auth: Auth, permission: str, resource: str, name: str = "drone", vhost: str = "/") -> bool:
    text = ""
    try:
        auth.check(auth.users[name], vhost, permission, resource)
    except AccessRefused as refused:
        text = refused.text
    assert text in (
        "",
        f"{permission} access to resource '{resource or 'amq.default'}' in vhost '{vhost}' refused for user '{name}'",
    )
    return not text


def test_name_and_password_must_be_right(auth: Auth) -> None:
    assert auth.authenticate("drone", "secret", peer_is_loopback=False).name == "drone"
    for name, password in (("drone", "wrong"), ("drone", ""), ("nobody", "secret")):
        with pytest.raises(AuthenticationFailed, match=f"user '{name}': wrong name or password"):
            auth.authenticate(name, password, peer_is_loopback=True)


def test_guest_comes_from_this_machine_only(auth: Auth) -> None:
    auth.authenticate("guest", "guest", peer_is_loopback=True)
    with pytest.raises(AuthenticationFailed, match="only connect from this machine"):
        auth.authenticate("guest", "guest", peer_is_loopback=False)


def test_clients_without_credentials_are_the_anonymous_user(auth: Auth) -> None:
    assert auth.anonymous_user() == "guest"
    assert auth.anonymous(peer_is_loopback=True).name == "guest"
    with pytest.raises(AuthenticationFailed, match="only connect from this machine"):
        auth.anonymous(peer_is_loopback=False)


@pytest.mark.parametrize("name", ["", "nobody"])
def test_without_an_anonymous_user_credentials_are_asked_for(name: str) -> None:
    auth = Auth(anonymous_user=name)
    assert auth.anonymous_user() == (name or None)
    with pytest.raises(AuthenticationFailed, match="no credentials"):
        auth.anonymous(peer_is_loopback=True)


def test_a_permission_is_an_expression_that_may_match_anywhere(auth: Auth) -> None:
    assert may(auth, "configure", "own-1")
    assert not may(auth, "configure", "not-own-1")
    assert may(auth, "read", "my telemetry queue")


def test_an_empty_expression_grants_nothing(auth: Auth) -> None:
    assert not may(auth, "write", "anything")
    assert not may(auth, "write", "")


def test_the_default_exchange_is_checked_by_its_other_name(auth: Auth) -> None:
    assert not may(auth, "read", "")
    auth.set_permission(Permission("drone", "/", "", r"^amq\.default$", ""))
    assert may(auth, "write", "")


def test_a_vhost_needs_a_permission_of_its_own(auth: Auth) -> None:
    auth.check_vhost(auth.users["drone"], "/")
    with pytest.raises(NotAllowed, match="access to vhost 'other' refused for user 'drone'"):
        auth.check_vhost(auth.users["drone"], "other")
    assert not may(auth, "read", "telemetry", vhost="other")


def test_a_change_counts_from_the_next_check_on(auth: Auth) -> None:
    assert may(auth, "configure", "own-1")
    auth.set_permission(Permission("drone", "/", "^other-", "", ""))
    assert not may(auth, "configure", "own-1")
    with pytest.raises(re.error):
        auth.set_permission(Permission("drone", "/", "(", "", ""))
    assert may(auth, "configure", "other-1")


def test_a_removed_user_may_nothing(auth: Auth) -> None:
    drone = auth.users["drone"]
    assert may(auth, "configure", "own-1")
    auth.remove_user("drone")
    auth.remove_user("drone")
    with pytest.raises(AccessRefused):
        auth.check(drone, "/", "configure", "own-1")
    with pytest.raises(AuthenticationFailed):
        auth.authenticate("drone", "secret", peer_is_loopback=True)
    assert may(auth, "configure", "x", name="guest")


def test_a_password_kept_as_md5_is_hashed_anew_at_the_next_login() -> None:
    auth = Auth()
    salt = b"salt"
    old = base64.b64encode(salt + hashlib.md5(salt + b"secret").digest()).decode()
    auth.users["old"] = User("old", old, MD5, ["monitoring"])
    rehashed: list[User] = []
    auth.on_rehashed = rehashed.append
    with pytest.raises(AuthenticationFailed):
        auth.authenticate("old", "wrong", peer_is_loopback=True)
    assert not rehashed
    user = auth.authenticate("old", "secret", peer_is_loopback=True)
    assert rehashed == [user]
    assert (user.hashing_algorithm, user.tags) == (SHA256, ["monitoring"])
    assert verify_password("secret", user.password_hash, SHA256)


@pytest.mark.parametrize("password_hash", ["", hash_password("")], ids=["none", "of nothing"])
def test_a_user_without_a_password_cannot_log_in(password_hash: str) -> None:
    auth = Auth()
    auth.users["blank"] = User("blank", password_hash)
    with pytest.raises(AuthenticationFailed, match="'blank'"):
        auth.authenticate("blank", "", peer_is_loopback=True)
