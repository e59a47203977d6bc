"""The window in flight: order, bounds in bytes, and how it follows the confirm latency."""

import itertools

from edge.core.message import Message
from shovel.window import LIMIT_BYTES_MAX, LIMIT_BYTES_MIN, LIMIT_BYTES_START, Window, weight


def entries(first, count, size=100):
    return [(i, Message("", "q", b"", b"x" * size), 0) for i in range(first, first + count)]


def sequences(taken):
    return [entry[0] for entry in taken]


def test_confirms_in_any_order_give_back_each_entry_once():
    window = Window()
    assert window.add(entries(10, 5), 0.0) == 1
    assert window.add(entries(20, 2), 0.0) == 6
    assert sequences(window.take([(2, 3)], 0.0)) == [11, 12]
    assert sequences(window.take([(1, 4), (99, 99)], 0.0)) == [10, 13]
    assert sequences(window.take([(1, 5)], 0.0)) == [14]
    assert [(number, entry[0]) for number, entry in window.outstanding()] == [(6, 20), (7, 21)]
    assert sequences(window.clear()) == [20, 21]
    assert (window.count, window.bytes, window.next_number) == (0, 0, 1)


def test_numbers_stay_right_when_confirmed_entries_are_forgotten():
    window = Window()
    window.add(entries(0, 10_000), 0.0)
    window.take([(1, 9_000)], 0.0)
    assert sequences(window.take([(9_001, 9_001)], 0.0)) == [9_000]
    assert window.add(entries(10_000, 1), 0.0) == 10_001
    assert len(sequences(window.take([(1, 10_001)], 0.0))) == 1_000


def test_the_bound_is_in_bytes():
    window = Window()
    big = entries(0, 4, size=100_000)
    window.add(big, 0.0)
    assert window.bytes == sum(weight(entry) for entry in big)
    assert window.bytes > LIMIT_BYTES_START
    assert window.room() == 0
    assert window.is_full
    window.take([(1, 4)], 0.1)
    assert window.room() > 0


def test_a_message_larger_than_the_bound_still_goes_alone():
    window = Window()
    assert window.room() > 0
    window.add(entries(0, 1, size=LIMIT_BYTES_MAX * 2), 0.0)
    assert window.room() == 0


def test_a_given_prefetch_count_bounds_the_number_and_does_not_adapt():
    window = Window(prefetch_count=10)
    assert window.room() == 10
    window.add(entries(0, 10), 0.0)
    assert window.room() == 0
    window.take([(1, 10)], 5.0)
    assert window.limit_bytes == LIMIT_BYTES_MAX
    assert window.room() == 10


class Wire:
    """A link with a delay and a rate, in simulated time: what is sent is confirmed in order."""

    def __init__(self, delay_s, bytes_per_s):
        self.delay_s = delay_s
        self.bytes_per_s = bytes_per_s
        self.now_s = 0.0
        self.free_s = 0.0
        self.confirmed = 0
        self.sent = []

    def run(self, window, seconds):
        end_s = self.now_s + seconds
        while self.now_s < end_s:
            while (room := window.room()) > 0:
                batch = entries(0, min(room, 256))
                number = window.add(batch, self.now_s)
                for i, each in enumerate(batch):
                    self.free_s = max(self.free_s, self.now_s) + weight(each) / self.bytes_per_s
                    self.sent.append((self.free_s + self.delay_s, number + i))
            self.now_s = max(self.now_s + 0.005, self.sent[0][0])
            due = [number for at, number in self.sent if at <= self.now_s]
            self.sent = self.sent[len(due) :]
            self.confirmed += len(window.take([(due[0], due[-1])], self.now_s))


def test_600_ms_of_delay_are_no_ceiling():
    window, wire = Window(), Wire(delay_s=0.6, bytes_per_s=5_000_000)
    wire.run(window, 15)
    before = wire.confirmed
    wire.run(window, 5)
    assert (wire.confirmed - before) * weight(entries(0, 1)[0]) / 5 > 0.85 * 5_000_000


def test_a_slow_moment_while_it_tries_does_not_keep_it_narrow():
    window, wire = Window(), Wire(delay_s=0.6, bytes_per_s=5_000_000)
    while window.limit_bytes == LIMIT_BYTES_START:
        wire.run(window, 0.1)
    wire.free_s = wire.now_s + 2.0
    wire.run(window, 1.5)
    while window.limit_bytes > LIMIT_BYTES_START:
        wire.run(window, 0.1)
    wire.run(window, 10)
    assert window.limit_bytes >= 8 * LIMIT_BYTES_START


def test_a_thin_link_is_not_stuffed():
    window, wire = Window(), Wire(delay_s=0.1, bytes_per_s=100_000)
    limits = []
    for _ in range(300):
        wire.run(window, 1)
        limits.append(window.limit_bytes)
    assert max(limits) <= 2 * LIMIT_BYTES_START
    tried = [after > before for before, after in itertools.pairwise(limits)]
    assert sum(tried) < 20, "trials are half a minute apart when they bring nothing"


def test_it_shrinks_when_the_link_becomes_thin():
    window, wire = Window(), Wire(delay_s=0.05, bytes_per_s=20_000_000)
    wire.run(window, 5)
    wide = window.limit_bytes
    assert wide > LIMIT_BYTES_START
    wire.bytes_per_s = 100_000
    wire.run(window, 60)
    assert LIMIT_BYTES_MIN <= window.limit_bytes < wide


def test_it_does_not_grow_while_the_source_is_what_limits():
    window = Window()
    for i in range(20):
        window.add(entries(0, 1), float(i))
        window.take([(i + 1, i + 1)], i + 0.01)
    assert window.limit_bytes == LIMIT_BYTES_START


def test_it_knows_since_when_the_oldest_waits():
    window = Window()
    assert window.oldest_s(10.0) == 0.0
    window.add(entries(0, 2), 10.0)
    window.add(entries(2, 2), 11.0)
    assert window.oldest_s(13.0) == 3.0
    window.take([(1, 2)], 13.0)
    assert window.oldest_s(13.0) == 2.0
