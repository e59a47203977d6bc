"""Policies (RabbitMQ, "Parameters and Policies")."""

import pytest

from edge.core.errors import PreconditionFailed
from edge.core.policy import CLASSIC_QUEUES, EXCHANGES, QUORUM_QUEUES, Policy, merged, policy_for


def policy(name: str, pattern: str, **options: object) -> Policy:
    return Policy("/", name, pattern, {"a": name}, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("apply_to", "kind", "applies"),
    [
        ("all", CLASSIC_QUEUES, True),
        ("all", EXCHANGES, True),
        ("queues", CLASSIC_QUEUES, True),
        ("queues", QUORUM_QUEUES, True),
        ("classic_queues", CLASSIC_QUEUES, True),
        ("classic_queues", QUORUM_QUEUES, False),
        ("quorum_queues", QUORUM_QUEUES, True),
        ("quorum_queues", CLASSIC_QUEUES, False),
        ("queues", EXCHANGES, False),
        ("exchanges", EXCHANGES, True),
        ("exchanges", CLASSIC_QUEUES, False),
        ("streams", CLASSIC_QUEUES, False),
    ],
)
def test_a_policy_applies_to_the_kinds_that_it_names(apply_to: str, kind: str, applies: bool) -> None:
    assert policy("p", "^fleet", apply_to=apply_to).applies("/", kind, "fleet.1") is applies


def test_a_pattern_may_match_anywhere_in_the_name() -> None:
    assert policy("p", "eet").applies("/", CLASSIC_QUEUES, "fleet")
    assert not policy("p", "^eet").applies("/", CLASSIC_QUEUES, "fleet")


def test_a_policy_stays_in_its_vhost() -> None:
    assert not policy("p", ".*").applies("other", CLASSIC_QUEUES, "q")


def test_of_several_policies_the_highest_priority_is_in_force() -> None:
    policies = [
        policy("low", "q", priority=1),
        policy("high", "q", priority=5),
        policy("later", "q", priority=5),
    ]
    found = policy_for(policies, "/", CLASSIC_QUEUES, "q")
    assert found is not None
    assert found.name == "high"
    assert policy_for(policies, "/", CLASSIC_QUEUES, "other") is None


def test_a_pattern_that_is_no_expression_is_refused_by_the_policys_name() -> None:
    with pytest.raises(PreconditionFailed, match=r"policy 'p'.*no regular expression"):
        policy("p", "(")


@pytest.mark.parametrize(
    ("own", "cap", "expected"),
    [
        ({"max-length": 5}, {"max-length": 9}, {"max-length": 5}),
        ({"max-length": 9}, {"max-length": 5}, {"max-length": 5}),
        ({"max-length": 9}, {"message-ttl": 5}, {"max-length": 9, "message-ttl": 5}),
        ({"overflow": "drop-head"}, {"overflow": "reject-publish"}, {"overflow": "reject-publish"}),
        ({"delivery-limit": -1}, {"delivery-limit": 5}, {"delivery-limit": 5}),
        ({"delivery-limit": 5}, {"delivery-limit": -1}, {"delivery-limit": 5}),
    ],
)
def test_an_operator_policy_caps_what_a_policy_says(
    own: dict[str, object], cap: dict[str, object], expected: dict[str, object]
) -> None:
    assert merged(own, cap) == expected
