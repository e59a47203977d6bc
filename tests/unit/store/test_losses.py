"""What was lost is remembered, but not without end."""

from edge.store.losses import LOSSES_MAX, Loss, Losses, of_queue


def test_a_loss_is_a_line_for_people() -> None:
    assert of_queue("/", "q", 5, 15, "kept").text() == (
        "messages of queue 'q' in vhost '/' cannot be read, 10 messages, sequences 5 to 14 (kept in kept)"
    )
    assert Loss("the log is missing").text() == "the log is missing"


def test_what_was_remembered_comes_back_in_its_order() -> None:
    records: dict[str, bytes] = {}
    losses = Losses()
    for i in range(12):
        for (_, key), value in losses.add([of_queue("/", "q", i, i + 1)]).items():
            assert value is not None
            records[key] = value
    again = Losses()
    again.restore(records)
    assert [loss.first for loss in again.entries] == list(range(12))
    assert again.messages == 12
    ((_, key),) = again.add([of_queue("/", "q", 99, 100)])
    assert key not in records


def test_of_too_many_the_oldest_are_forgotten() -> None:
    losses = Losses()
    kept: dict[tuple[str, str], bytes | None] = {}
    for i in range(LOSSES_MAX + 30):
        kept |= losses.add([of_queue("/", "q", i, i + 1)])
    assert len([value for value in kept.values() if value is not None]) == LOSSES_MAX
    assert losses.entries[0].first == 30
    assert losses.messages == LOSSES_MAX + 30, "counted all the same"
