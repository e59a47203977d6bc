"""Topic permissions (RabbitMQ, "Topic Authorisation")."""

import re

import pytest

from edge.auth.topics import DECISIONS_MAX, TopicPermission, TopicRules
from edge.core.errors import AccessRefused


@pytest.fixture
def rules() -> TopicRules:
    made = TopicRules()
    made.set(TopicPermission("drone", "/", "amq.topic", r"^{vhost}\.{username}\.{client_id}$", ""))
    return made


def test_where_there_is_no_rule_there_is_no_limit(rules: TopicRules) -> None:
    assert TopicRules().rule("drone", "/", "amq.topic") is None
    for user, vhost, exchange in (
        ("other", "/", "amq.topic"),
        ("drone", "x", "amq.topic"),
        ("drone", "/", "t"),
    ):
        assert rules.rule(user, vhost, exchange) is None


def test_variables_stand_for_the_clients_own(rules: TopicRules) -> None:
    rule = rules.rule("drone", "/", "amq.topic")
    assert rule is not None
    assert rule.allows("write", "/.drone.seven", "seven")
    assert not rule.allows("write", "/.drone.seven", "eight")
    assert not rule.allows("write", "/.drone.seven.x", "seven")


def test_what_a_client_calls_itself_is_no_expression(rules: TopicRules) -> None:
    rule = rules.rule("drone", "/", "amq.topic")
    assert rule is not None
    assert not rule.allows("write", "/.drone.seven", ".*")
    assert rule.allows("write", "/.drone..*", ".*")
    assert rule.allows("write", "/.drone.{username}", "{username}")


def test_a_variable_without_a_value_stays_as_it_is(rules: TopicRules) -> None:
    """AMQP has no client identifier; RabbitMQ leaves the variable in the expression."""
    rule = rules.rule("drone", "/", "amq.topic")
    assert rule is not None
    assert not rule.allows("write", "/.drone.seven")
    assert rule.allows("write", "/.drone.{client_id}")


def test_an_empty_expression_allows_an_empty_key_alone(rules: TopicRules) -> None:
    rule = rules.rule("drone", "/", "amq.topic")
    assert rule is not None
    assert rule.allows("read", "")
    with pytest.raises(
        AccessRefused, match=r"read access to topic 'a\.b' in exchange 'amq\.topic' in vhost '/'"
    ):
        rule.check("read", "a.b")


def test_decisions_are_remembered_in_a_bounded_number() -> None:
    rules = TopicRules()
    rules.set(TopicPermission("u", "/", "t", "^a", ""))
    rule = rules.rule("u", "/", "t")
    assert rule is not None
    for i in range(DECISIONS_MAX + 10):
        assert rule.allows("write", f"a{i}")
    assert len(rule._decisions) <= DECISIONS_MAX


def test_a_change_counts_at_once_and_a_bad_expression_changes_nothing(rules: TopicRules) -> None:
    with pytest.raises(re.error):
        rules.set(TopicPermission("drone", "/", "amq.topic", "(", ""))
    rules.set(TopicPermission("drone", "/", "amq.topic", "^x{username}", ".*"))
    rule = rules.rule("drone", "/", "amq.topic")
    assert rule is not None
    assert rule.allows("write", "xdrone")
    assert rule.allows("read", "anything")


def test_rules_are_removed_by_exchange_by_vhost_or_with_their_user(rules: TopicRules) -> None:
    for vhost, exchange in (("/", "t"), ("x", "t"), ("x", "s")):
        rules.set(TopicPermission("drone", vhost, exchange, "", ""))
    rules.set(TopicPermission("other", "/", "t", "", ""))
    assert [one.exchange for one in rules.remove("drone", "/", "t")] == ["t"]
    assert sorted(one.exchange for one in rules.remove("drone", "x")) == ["s", "t"]
    assert [one.exchange for one in rules.remove("drone", None)] == ["amq.topic"]
    assert [one.user for one in rules.permissions()] == ["other"]
    assert rules.rule("drone", "/", "amq.topic") is None
