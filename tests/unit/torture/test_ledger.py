"""The ledger of the torture finds what it is there to find."""

from edge.torture.ledger import Arrivals, Ledger, body_of


def ledger_of(sent: int, confirmed: set[int]) -> tuple[Ledger, Arrivals]:
    ledger = Ledger()
    ledger.publisher("p")
    for _ in range(sent):
        ledger.send("p")
    ledger.confirmed["p"] = confirmed
    arrivals = Arrivals("q", ("p",))
    ledger.consumers.append(arrivals)
    return ledger, arrivals


def test_what_is_confirmed_and_does_not_arrive_is_lost() -> None:
    ledger, arrivals = ledger_of(3, {1, 2, 3})
    arrivals.arrive(body_of("p", 1))
    arrivals.arrive(body_of("p", 3))
    assert ledger.lost(arrivals) == 1
    assert not ledger.is_complete
    arrivals.arrive(body_of("p", 2))
    assert ledger.lost(arrivals) == 0
    assert ledger.is_complete


def test_what_is_not_confirmed_may_arrive_or_not() -> None:
    ledger, arrivals = ledger_of(3, {1})
    arrivals.arrive(body_of("p", 1))
    arrivals.arrive(body_of("p", 2))
    assert ledger.lost(arrivals) == 0
    assert not ledger.is_complete


def test_a_message_that_comes_again_is_a_duplicate_and_not_out_of_order() -> None:
    _, arrivals = ledger_of(2, set())
    for number in (1, 2, 1, 2):
        arrivals.arrive(body_of("p", number))
    assert arrivals.duplicates == {"p": 2}
    assert arrivals.out_of_order == 0


def test_a_message_that_comes_first_after_its_successor_is_out_of_order() -> None:
    _, arrivals = ledger_of(2, set())
    for number in (2, 1):
        arrivals.arrive(body_of("p", number))
    assert arrivals.out_of_order == 1


def test_a_body_that_nobody_sent_is_damaged() -> None:
    _, arrivals = ledger_of(2, set())
    for body in (b"p 1 " + b"!" * 96, b"stranger 1 ", b"\xff\xfe", b"p one "):
        arrivals.arrive(body)
    assert arrivals.damaged == 4
