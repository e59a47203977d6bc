"""Taken sequences, kept with the messages themselves."""

from edge.core.settled import Settled
from federation.progress import RANGES_MAX, Progress
from tests.helpers import brokers


async def test_what_was_taken_is_known_again_after_a_crash(tmp_path):
    broker = await brokers.start(tmp_path)
    progress = await Progress.load(broker, "seq-a-1")
    progress.take([0, 1, 5, 3])
    await broker.store.committed()
    progress.take([2])
    await brokers.crash(broker)
    broker = await brokers.start(tmp_path)
    progress = await Progress.load(broker, "seq-a-1")
    assert [i in progress.taken for i in range(7)] == [
        True,
        True,
        progress.taken.low > 2,
        True,
        False,
        True,
        False,
    ]
    assert (await Progress.load(broker, "seq-b-1")).taken.low == 0
    await brokers.stop(broker)


async def test_gaps_older_than_any_prefetch_are_given_up(tmp_path):
    broker = await brokers.start(tmp_path)
    progress = Progress(broker, "seq-a-1", Settled())
    progress.take([2 * i + 1 for i in range(RANGES_MAX + 1)])
    assert len(progress.taken.starts) == RANGES_MAX
    assert progress.taken.low == 2
    await brokers.stop(broker)


async def test_going_back_forgets_what_is_numbered_anew_and_nothing_else(tmp_path):
    broker = await brokers.start(tmp_path)
    progress = Progress(broker, "seq-a-1", Settled(3, [(5, 9), (12, 14)]))
    progress.go_back(7)
    assert [i for i in range(20) if i in progress.taken] == [0, 1, 2, 5, 6]
    progress.go_back(1)
    assert [i for i in range(20) if i in progress.taken] == [0]
    await brokers.stop(broker)
