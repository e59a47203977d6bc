"""Refused messages: budget, pauses, parking, and what holds the rest back."""

from edge.core.message import Message
from shovel.refusals import BUDGET, DELAY_MAX_S, KNOWN_FOR_S, SET_ASIDE_MAX, Refusal, Refusals

NACK = Refusal("nack", of_room=True)
NO_ROUTE = Refusal("312 NO_ROUTE", of_route=True)
TOO_LARGE = Refusal("406 too large", of_message=True)


def entry(sequence, key="k"):
    return (sequence, Message("x", key, b"", b""), 0)


def offer_and_refuse(refusals, refusal, now_s=0.0):
    return refusals.refused(refusals.due(), refusal, now_s)


def test_an_unroutable_message_among_others_is_parked_after_its_budget():
    refusals = Refusals()
    assert refusals.refused([entry(5)], NO_ROUTE, 0.0) == []
    assert not refusals.holds, "the rest flows"
    for _ in range(BUDGET - 1):
        refusals.confirmed([entry(9)])
        assert offer_and_refuse(refusals, NO_ROUTE) == []
    refusals.confirmed([entry(9)])
    assert offer_and_refuse(refusals, NO_ROUTE) == [entry(5)]
    assert not refusals.aside
    assert not refusals.counts


def test_nothing_is_parked_while_the_destination_refuses_everything():
    refusals = Refusals()
    refusals.refused([entry(i) for i in range(10)], NO_ROUTE, 0.0)
    for _ in range(50):
        assert offer_and_refuse(refusals, NO_ROUTE) == []
    assert len(refusals.aside) == 10
    assert DELAY_MAX_S / 2 <= refusals.delay_s() <= DELAY_MAX_S, "and the pauses are capped"


def test_what_is_wrong_with_the_message_itself_counts_alone():
    refusals = Refusals()
    refusals.refused([entry(1)], TOO_LARGE, 0.0)
    parked = [offer_and_refuse(refusals, TOO_LARGE) for _ in range(BUDGET)]
    assert parked[-1] == [entry(1)]
    assert not any(parked[:-1])


def test_what_cannot_be_sent_at_all_is_parked_at_once():
    refusals = Refusals()
    assert refusals.refused([entry(1)], Refusal("0x95", of_message=True, is_final=True), 0.0) == [entry(1)]
    assert not refusals.aside


def test_a_nack_holds_back_what_comes_behind_it_until_it_is_taken():
    refusals = Refusals()
    refusals.refused([entry(1), entry(2), entry(3)], NACK, 0.0)
    assert refusals.holds
    assert refusals.due() == [entry(1)], "a full queue is asked with one message"
    refusals.confirmed([entry(1)])
    assert refusals.holds
    assert refusals.goes_on
    assert refusals.due() == [entry(2), entry(3)], "then with two, in order"
    refusals.confirmed([entry(2), entry(3)])
    assert not refusals.holds


def test_nothing_follows_a_nacked_message_that_is_not_answered_yet():
    """Or a queue that gets room in between takes the second and not the first."""
    refusals = Refusals()
    refusals.refused([entry(1), entry(2), entry(3)], NACK, 0.0)
    assert refusals.due() == [entry(1)]
    assert refusals.due() == []
    refusals.confirmed([entry(1)])
    assert refusals.due() == [entry(2), entry(3)]
    refusals.confirmed([entry(2)])
    assert refusals.due() == []
    refusals.refused([entry(3)], NACK, 0.0)
    assert refusals.due() == [entry(3)]


def test_messages_of_a_key_that_led_nowhere_are_parked_at_once_for_a_while():
    refusals = Refusals(budget=1)
    refusals.refused([entry(1, "debug")], NO_ROUTE, 0.0)
    refusals.confirmed([entry(9)])
    assert offer_and_refuse(refusals, NO_ROUTE) == [entry(1, "debug")]
    assert refusals.refused([entry(2, "debug")], NO_ROUTE, 1.0) == [entry(2, "debug")]
    assert refusals.refused([entry(3, "other")], NO_ROUTE, 1.0) == []
    assert refusals.refused([entry(4, "debug")], NO_ROUTE, KNOWN_FOR_S + 1) == []


def test_too_many_set_aside_hold_the_rest_back():
    refusals = Refusals()
    refusals.refused([entry(i) for i in range(SET_ASIDE_MAX)], NO_ROUTE, 0.0)
    assert not refusals.holds
    refusals.refused([entry(SET_ASIDE_MAX)], NO_ROUTE, 0.0)
    assert refusals.holds


def test_a_lost_connection_gives_back_what_waits_and_keeps_the_budgets():
    refusals = Refusals()
    refusals.refused([entry(2), entry(1)], TOO_LARGE, 0.0)
    assert refusals.clear() == [entry(1), entry(2)]
    assert not refusals.is_waiting
    assert refusals.counts == {1: 1, 2: 1}
    refusals.confirmed([entry(1), entry(2)])
    assert refusals.counts == {}


def test_it_tells_why():
    refusals = Refusals()
    assert refusals.reason == ""
    refusals.refused([entry(1)], NO_ROUTE, 0.0)
    assert refusals.reason == "312 NO_ROUTE"
