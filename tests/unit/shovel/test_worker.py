"""The worker: what it settles, what it sends again and in which order, what it parks, and what it shows."""

import asyncio
import time

from edge.core.errors import ConfigError
from edge.core.properties import headers
from edge.workers import GIVE_UP_S, STALLED_S, LinkError
from shovel.destination import MessageFault
from shovel.refusals import Refusal
from tests.unit.shovel.conftest import message, until


def publish(broker, bodies, key="q"):
    broker.publish(broker.vhost("/"), "", [message(body, key) for body in bodies])


def queue(broker, name="q"):
    return broker.vhost("/").queues[name]


async def test_the_source_is_settled_only_for_what_is_confirmed(broker, run_worker):
    _, destinations = await run_worker()
    publish(broker, range(5))
    await until(lambda: destinations[0].bodies == list("01234"))
    assert queue(broker).messages_unacknowledged == 5
    destinations[0].feedback.confirmed([(1, 2)])
    assert queue(broker).messages == 3
    destinations[0].feedback.confirmed([(4, 4)])
    destinations[0].feedback.confirmed([(1, 5)])
    assert queue(broker).messages == 0


async def test_after_a_broken_link_all_that_is_not_confirmed_is_sent_again_in_order(broker, run_worker):
    worker, destinations = await run_worker()
    publish(broker, range(6))
    await until(lambda: len(destinations[0].published) == 6)
    destinations[0].feedback.confirmed([(1, 1), (4, 4)])
    destinations[0].feedback.destination_failed(LinkError("cut"))
    await until(lambda: len(destinations) == 2 and len(destinations[1].published) == 4)
    assert destinations[1].bodies == list("1245")
    assert not destinations[0].is_open
    assert worker.details()["reconnects"] == 1
    assert worker.details()["last_error"] == "cut"


async def test_a_window_given_by_prefetch_count_is_kept(broker, run_worker):
    _, destinations = await run_worker(src_prefetch_count=3)
    publish(broker, range(10))
    await until(lambda: len(destinations[0].published) == 3)
    await asyncio.sleep(0.02)
    assert destinations[0].bodies == list("012")
    destinations[0].feedback.confirmed([(1, 2)])
    await until(lambda: destinations[0].bodies == list("01234"))


async def test_on_publish_settles_what_is_written(broker, run_worker):
    await run_worker(ack_mode="on-publish")
    publish(broker, range(3))
    await until(lambda: queue(broker).messages == 0)


async def test_no_ack_takes_messages_off_the_queue_at_once(broker, run_worker):
    worker, _ = await run_worker(ack_mode="no-ack")
    publish(broker, range(3))
    await until(lambda: worker.forwarded == 3)
    assert queue(broker).messages == 0


async def test_a_message_refused_for_good_is_parked_and_the_rest_flows(broker, run_worker):
    worker, destinations = await run_worker()
    publish(broker, ["good", "bad", "fine"])
    destination = destinations[0]
    seen = 0

    def answer():
        nonlocal seen
        for number, entry in destination.published[seen:]:
            seen += 1
            if entry[1].body == b"bad":
                destination.feedback.refused([(number, number)], Refusal("406 too large", of_message=True))
            else:
                destination.feedback.confirmed([(number, number)])
        return worker.parked

    await until(answer)
    assert destination.bodies.count("bad") == 3, "the first time and its budget"
    assert worker.forwarded == 2
    assert queue(broker).messages == 0
    (_, parked, _) = queue(broker, "q.parked").ready[0]
    assert parked.body == b"bad"
    assert headers(parked.properties)["x-parked-reason"] == "406 too large"
    assert headers(parked.properties)["x-parked-by"] == "s"
    assert headers(parked.properties)["x-parked-routing-key"] == "q"


async def test_a_parked_message_goes_to_the_dead_letter_exchange_of_its_queue(broker, run_worker):
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "dead")
    broker.declare_queue(
        vhost, "mine", arguments={"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "dead"}
    )
    worker, destinations = await run_worker(src_queue="mine", budget=0)
    publish(broker, ["bad"], key="mine")
    await until(lambda: destinations[0].published)
    destinations[0].feedback.refused([(1, 1)], Refusal("too large", of_message=True))
    assert worker.parked == 1
    (_, dead, _) = queue(broker, "dead").ready[0]
    assert "rejected" in str(headers(dead.properties)["x-death"])
    assert headers(dead.properties)["x-parked-reason"] == "too large"
    assert "mine.parked" not in vhost.queues


async def test_a_dead_letter_exchange_that_leads_nowhere_loses_nothing(broker, run_worker):
    vhost = broker.vhost("/")
    broker.declare_queue(vhost, "mine", arguments={"x-dead-letter-exchange": "amq.fanout"})
    _, destinations = await run_worker(src_queue="mine", budget=0)
    publish(broker, ["bad"], key="mine")
    await until(lambda: destinations[0].published)
    destinations[0].feedback.refused([(1, 1)], Refusal("too large", of_message=True))
    assert queue(broker, "mine.parked").messages == 1


async def test_a_nacked_message_holds_back_the_rest_and_order_is_kept(broker, run_worker):
    worker, destinations = await run_worker(src_prefetch_count=2)
    publish(broker, range(6))
    destination = destinations[0]
    await until(lambda: len(destination.published) == 2)
    destination.feedback.refused([(1, 2)], Refusal("full", of_room=True))
    assert worker.details()["blocked_status"] == "refused"
    await until(lambda: len(destination.published) == 3)
    assert destination.bodies[2:] == ["0"]
    destination.feedback.confirmed([(3, 3)])
    assert destination.bodies[3:] == ["1"]
    destination.feedback.confirmed([(4, 4)])
    await until(lambda: len(destination.published) == 6)
    assert destination.bodies[4:] == ["2", "3"]
    assert worker.parked == 0


async def test_a_nacked_message_that_is_never_answered_again_stalls_the_link(broker, run_worker):
    """While it is in flight nothing else is, and what waits for its next turn is no stall."""
    worker, destinations = await run_worker()
    publish(broker, range(3))
    await until(lambda: len(destinations[0].published) == 3)
    destinations[0].feedback.refused([(1, 3)], Refusal("full", of_room=True))
    now_s = time.monotonic()
    for i in range(3):
        worker.tick(now_s + i * GIVE_UP_S)
    await until(lambda: len(destinations[0].published) == 4)
    await asyncio.sleep(0.05)
    assert destinations[0].bodies[3:] == ["0"]
    worker.tick(now_s + 3 * GIVE_UP_S)
    assert not worker.has_failed
    worker.tick(now_s + 4 * GIVE_UP_S + 1)
    await until(lambda: len(destinations) == 2 and destinations[1].bodies == list("012"))


async def test_the_message_that_ends_connections_is_found_and_parked(broker, run_worker):
    """A channel error names no message: RabbitMQ answers 406 to one that is too large (rabbit_channel)."""
    worker, destinations = await run_worker(budget=1)
    publish(broker, [*range(20), "bad", *range(20, 40)])
    arrived = []

    def answer():
        destination = destinations[-1]
        if destination.is_open and destination.published:
            taken, destination.published = destination.published, []
            for number, entry in taken:
                if entry[1].body == b"bad":
                    destination.feedback.destination_failed(MessageFault("406 too large"))
                    return False
                arrived.append(entry[1].body.decode())
                destination.feedback.confirmed([(number, number)])
        return worker.forwarded == 40

    await until(answer)
    assert arrived == [str(i) for i in range(40)]
    assert worker.parked == 1
    assert queue(broker, "q.parked").ready[0][1].body == b"bad"


async def test_a_blocked_or_full_destination_gets_nothing(broker, run_worker):
    worker, destinations = await run_worker()
    destinations[0].free = 0
    destinations[0].blocked = "low on disk"
    publish(broker, range(3))
    await asyncio.sleep(0.02)
    assert destinations[0].published == []
    assert worker.details()["blocked_status"] == "blocked"
    assert worker.details()["state"] == "running"
    destinations[0].free = 10
    destinations[0].feedback.has_room()
    await until(lambda: len(destinations[0].published) == 3)


async def test_uris_are_tried_in_turn_and_errors_name_each_without_credentials(broker, run_worker):
    def prepare(destination):
        destination.refuses_to_open = OSError("refused")

    worker, _ = await run_worker(prepare, dest_uri=["amqp://u:secret@one", "amqp://u:secret@two"])
    await until(lambda: worker.last_error)
    assert worker.last_error == "amqp://one:5672: refused; amqp://two:5672: refused"
    assert worker.details()["state"] == "starting"
    assert worker.details()["reason"] == worker.last_error
    assert "secret" not in str(worker.details())


async def test_a_configuration_error_is_final(broker, run_worker):
    def prepare(destination):
        destination.refuses_to_open = ConfigError("no such thing")

    worker, _ = await run_worker(prepare)
    await worker.task
    assert worker.details()["state"] == "terminated"
    assert worker.details()["reason"] == "no such thing"


async def test_a_reconnect_delay_of_0_makes_one_failure_final(broker, run_worker):
    worker, destinations = await run_worker(reconnect_delay=0)
    await until(lambda: worker.state == "running")
    destinations[0].feedback.destination_failed(LinkError("cut"))
    await worker.task
    assert worker.details()["state"] == "terminated"


async def test_a_link_without_progress_is_stalled_and_then_made_anew(broker, run_worker):
    worker, destinations = await run_worker()
    publish(broker, range(3))
    await until(lambda: len(destinations[0].published) == 3)
    now_s = time.monotonic()
    worker.tick(now_s)
    worker.tick(now_s)
    assert worker.shown_state == "running"
    worker._progress_at_s = now_s - STALLED_S - 1
    assert worker.details()["blocked_status"] == "stalled"
    worker.tick(now_s + GIVE_UP_S)
    await until(lambda: len(destinations) == 2 and len(destinations[1].published) == 3)
    assert "nothing got across" in worker.last_error


async def test_an_idle_link_never_stalls(broker, run_worker):
    worker, destinations = await run_worker()
    await until(lambda: worker.state == "running")
    now_s = time.monotonic()
    for i in range(5):
        worker.tick(now_s + i * GIVE_UP_S)
    await asyncio.sleep(0.01)
    assert len(destinations) == 1


async def test_a_stop_waits_for_confirms_on_their_way(broker, run_worker):
    worker, destinations = await run_worker()
    publish(broker, range(3))
    await until(lambda: len(destinations[0].published) == 3)
    worker.task.cancel()
    await asyncio.sleep(0.01)
    destinations[0].feedback.confirmed([(1, 3)])
    await asyncio.gather(worker.task, return_exceptions=True)
    assert queue(broker).messages == 0
    assert queue(broker).consumer_count == 0


async def test_a_deleted_source_queue_is_declared_again(broker, run_worker):
    _, destinations = await run_worker()
    await until(lambda: queue(broker).consumer_count)
    broker.delete_queue(broker.vhost("/"), queue(broker))
    await until(lambda: len(destinations) == 2 and "q" in broker.vhost("/").queues)
    publish(broker, ["x"])
    await until(lambda: destinations[1].bodies == ["x"])


async def test_status_rows_have_the_keys_of_rabbitmq_and_tell_the_backlog(broker, run_worker):
    worker, destinations = await run_worker(src_prefetch_count=2, dest_exchange="fleet")
    publish(broker, range(10))
    await until(lambda: len(destinations[0].published) == 2)
    row = worker.details()
    assert (
        row.items()
        >= {
            "node": "edge",
            "name": "s",
            "vhost": "/",
            "type": "dynamic",
            "state": "running",
            "blocked_status": "flow",
            "src_uri": "amqp://",
            "dest_uri": "amqp://base:5672",
            "src_protocol": "amqp091",
            "dest_protocol": "amqp091",
            "src_queue": "q",
            "dest_exchange": "fleet",
            "remaining": "unlimited",
            "remaining_unacked": "unlimited",
            "pending": 2,
            "forwarded": 0,
            "lag": 10,
            "eta_s": None,
        }.items()
    )
    destinations[0].feedback.confirmed([(1, 2)])
    worker.tick(time.monotonic())
    assert worker.details()["rate"] > 0
    assert worker.details()["eta_s"] == round(8 / worker.rate)
