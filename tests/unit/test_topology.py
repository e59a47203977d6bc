"""Declarations: equivalence, refusals, and what a restart brings back."""

import logging
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from edge.broker import Broker
from edge.core.binding import Binding
from edge.core.errors import AccessRefused, NotFound, PreconditionFailed
from edge.core.exchange import Exchange
from edge.core.queue import Queue
from edge.core.table import Int8
from edge.core.vhost import VHost
from edge.store import records
from edge.topology import QUEUE_IDS
from tests.helpers.brokers import crash, message, numbered, start, stop


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Broker]:
    made = await start(tmp_path)
    yield made
    await stop(made)


@pytest.fixture
def vhost(broker: Broker) -> VHost:
    return broker.vhosts["/"]


class TestExchanges:
    async def test_an_equivalent_declaration_finds_the_exchange(self, broker: Broker, vhost: VHost) -> None:
        arguments: dict[str, object] = {"alternate-exchange": "x"}
        made = broker.declare_exchange(vhost, "e", "topic", arguments=arguments)
        assert broker.declare_exchange(vhost, "e", "topic", arguments=dict(arguments)) is made

    @pytest.mark.parametrize(
        ("name", "kind", "options", "text"),
        [
            ("type", "fanout", {}, "received 'fanout' but current is 'topic'"),
            ("durable", "topic", {"durable": False}, "received 'false' but current is 'true'"),
            ("auto_delete", "topic", {"auto_delete": True}, "received 'true' but current is 'false'"),
            ("internal", "topic", {"internal": True}, "received 'true' but current is 'false'"),
            (
                "alternate-exchange",
                "topic",
                {"arguments": {"alternate-exchange": "x"}},
                "received the value 'x' of type 'longstr' but current is none",
            ),
            (
                "alternate-exchange",
                "topic",
                {"arguments": {"alternate-exchange": b"x"}},
                "received the value 'x' of type 'binary' but current is none",
            ),
            (
                "alternate-exchange",
                "topic",
                {"arguments": {"alternate-exchange": None}},
                "received the value 'undefined' of type 'void' but current is none",
            ),
            (
                "alternate-exchange",
                "topic",
                {"arguments": {"alternate-exchange": [{"é": True}]}},
                "received the value '[{\"é\": true}]' of type 'array' but current is none",
            ),
        ],
    )
    async def test_an_inequivalent_declaration_is_refused_in_rabbitmqs_words(
        self, broker: Broker, vhost: VHost, name: str, kind: str, options: dict[str, bool], text: str
    ) -> None:
        broker.declare_exchange(vhost, "e", "topic")
        with pytest.raises(PreconditionFailed) as refused:
            broker.declare_exchange(vhost, "e", kind, **options)  # type: ignore[arg-type]
        assert refused.value.text == f"inequivalent arg '{name}' for exchange 'e' in vhost '/': {text}"

    async def test_reserved_names_and_the_default_exchange_are_refused(
        self, broker: Broker, vhost: VHost
    ) -> None:
        with pytest.raises(AccessRefused, match="reserved prefix"):
            broker.declare_exchange(vhost, "amq.mine", "fanout")
        with pytest.raises(AccessRefused, match="default exchange"):
            broker.declare_exchange(vhost, "", "direct")
        assert broker.declare_exchange(vhost, "amq.topic", "topic") is vhost.exchange("amq.topic")

    async def test_an_unknown_type_is_refused(self, broker: Broker, vhost: VHost) -> None:
        with pytest.raises(PreconditionFailed, match="invalid exchange type 'x-none'"):
            broker.declare_exchange(vhost, "e", "x-none")
        with pytest.raises(PreconditionFailed, match="x-max-hops"):
            broker.declare_exchange(vhost, "e", "x-federation-upstream")
        assert "e" not in vhost.exchanges

    async def test_arguments_that_are_no_text_are_refused(self, broker: Broker, vhost: VHost) -> None:
        for arguments in ({"x": "\udcff"}, {"\udcff": 1}, {"x": ["\udcff"]}):
            with pytest.raises(PreconditionFailed, match="not UTF-8"):
                broker.declare_exchange(vhost, "e", "fanout", arguments=arguments)  # type: ignore[arg-type]
            with pytest.raises(PreconditionFailed, match="not UTF-8"):
                broker.declare_queue(vhost, "q", arguments=arguments)  # type: ignore[arg-type]

    async def test_deleting_what_is_not_there_is_no_error_and_what_is_used_may_be_kept(
        self, broker: Broker, vhost: VHost
    ) -> None:
        broker.delete_exchange(vhost, "none")
        broker.declare_exchange(vhost, "e", "fanout")
        broker.declare_queue(vhost, "q")
        broker.bind(vhost, "e", "q", "")
        with pytest.raises(PreconditionFailed, match="in use"):
            broker.delete_exchange(vhost, "e", if_unused=True)
        broker.unbind(vhost, "e", "q", "")
        broker.delete_exchange(vhost, "e", if_unused=True)
        assert "e" not in vhost.exchanges

    async def test_an_auto_delete_exchange_goes_with_its_last_binding_and_so_do_those_before_it(
        self, broker: Broker, vhost: VHost
    ) -> None:
        for name in ("first", "second"):
            broker.declare_exchange(vhost, name, "fanout", auto_delete=True)
        queue = broker.declare_queue(vhost, "q")
        broker.bind(vhost, "first", "second", "", to_exchange=True)
        broker.bind(vhost, "second", "q", "one")
        broker.bind(vhost, "second", "q", "two")
        broker.unbind(vhost, "second", "q", "one")
        assert "second" in vhost.exchanges
        broker.delete_queue(vhost, queue)
        assert not {"first", "second"} & set(vhost.exchanges)

    async def test_an_auto_delete_exchange_bound_to_itself_can_be_deleted(
        self, broker: Broker, vhost: VHost
    ) -> None:
        broker.declare_exchange(vhost, "e", "fanout", auto_delete=True)
        broker.bind(vhost, "e", "e", "", to_exchange=True)
        broker.delete_exchange(vhost, "e")
        assert "e" not in vhost.exchanges
        assert list(vhost.bindings()) == []


class TestQueues:
    async def test_an_equivalent_declaration_finds_the_queue(self, broker: Broker, vhost: VHost) -> None:
        made = broker.declare_queue(vhost, "q", arguments={"x-max-length": 1})
        assert broker.declare_queue(vhost, "q", arguments={"x-max-length": Int8(1)}) is made
        with pytest.raises(
            PreconditionFailed, match="inequivalent arg 'x-max-length' for queue 'q' in vhost '/'"
        ):
            broker.declare_queue(vhost, "q")
        with pytest.raises(PreconditionFailed, match="'durable'"):
            broker.declare_queue(vhost, "q", durable=False)

    async def test_names_are_made_up_on_request_and_reserved_ones_refused(
        self, broker: Broker, vhost: VHost
    ) -> None:
        made = broker.declare_queue(vhost, "")
        assert made.name.startswith("amq.gen-")
        assert broker.declare_queue(vhost, made.name) is made
        with pytest.raises(AccessRefused, match=r"queue name 'amq\.mine' contains reserved prefix"):
            broker.declare_queue(vhost, "amq.mine")

    async def test_ids_are_never_used_twice(self, tmp_path: Path) -> None:
        seen: list[int] = []
        for _ in range(3):
            broker = await start(tmp_path)
            queue = broker.declare_queue(broker.vhosts["/"], "q", durable=False)
            seen.append(queue.id)
            broker.delete_queue(broker.vhosts["/"], queue)
            await broker.store.committed()
            await crash(broker)
        assert seen == sorted(set(seen))

    async def test_queues_that_are_never_written_share_the_commit_that_reserves_their_ids(
        self, broker: Broker, vhost: VHost
    ) -> None:
        await broker.store.committed()
        commits, seen = broker.store.wear.commits, set[int]()
        for _ in range(4 * QUEUE_IDS):
            queue = broker.declare_queue(vhost, "", durable=False)
            seen.add(queue.id)
            broker.delete_queue(vhost, queue)
            await broker.store.committed()
        assert len(seen) == 4 * QUEUE_IDS
        assert broker.store.wear.commits - commits == 4

    async def test_a_queue_of_the_same_name_begins_empty(self, broker: Broker, vhost: VHost) -> None:
        queue = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(3))
        broker.delete_queue(vhost, queue)
        again = broker.declare_queue(vhost, "q")
        broker.publish(vhost, "", numbered(1))
        assert (again.messages, queue.messages) == (1, 3)

    async def test_a_protocol_may_build_queues_of_its_own_kind(self, tmp_path: Path) -> None:
        class Special(Queue):
            kind = "special"

        broker = await start(tmp_path)
        broker.queue_kinds["special"] = Special
        assert isinstance(broker.declare_queue(broker.vhosts["/"], "s", kind="special"), Special)
        await stop(broker)
        store = broker.store.__class__(tmp_path)
        await store.open()
        again = Broker("edge", store, broker.clock, broker.auth)
        again.queue_kinds["special"] = Special
        await again.recover()
        assert isinstance(again.vhosts["/"].queues["s"], Special)
        await stop(again)


class TestBindings:
    async def test_the_ends_must_be_there(self, broker: Broker, vhost: VHost) -> None:
        broker.declare_queue(vhost, "q")
        with pytest.raises(NotFound, match="no exchange 'x'"):
            broker.bind(vhost, "x", "q", "")
        with pytest.raises(NotFound, match="no queue 'x'"):
            broker.bind(vhost, "amq.fanout", "x", "")
        with pytest.raises(NotFound, match="no exchange 'q'"):
            broker.bind(vhost, "amq.fanout", "q", "", to_exchange=True)

    async def test_whether_a_queue_is_bound(self, broker: Broker, vhost: VHost) -> None:
        broker.declare_queue(vhost, "q")
        broker.bind(vhost, "amq.direct", "q", "a", {"x": 1})
        assert broker.is_bound(vhost, "amq.direct", "q", "a", {"x": 1})
        for source, queue, key in (("none", "q", "a"), ("amq.direct", "none", "a"), ("amq.direct", "q", "a")):
            assert not broker.is_bound(vhost, source, queue, key)

    async def test_unbinding_what_is_not_bound_is_no_error(self, broker: Broker, vhost: VHost) -> None:
        broker.declare_queue(vhost, "q")
        broker.unbind(vhost, "x", "q", "")
        broker.unbind(vhost, "amq.fanout", "x", "")
        broker.unbind(vhost, "amq.fanout", "q", "never")
        with pytest.raises(AccessRefused):
            broker.unbind(vhost, "", "q", "q")

    async def test_listeners_hear_of_exchanges_and_bindings_once(self, broker: Broker, vhost: VHost) -> None:
        heard: list[tuple[str, str]] = []

        def listen(event: str, subject: object) -> None:
            assert isinstance(subject, (Exchange, Binding))
            heard.append((event, subject.name if isinstance(subject, Exchange) else subject.routing_key))

        broker.listeners.append(listen)
        broker.declare_queue(vhost, "q")
        broker.declare_exchange(vhost, "e", "fanout")
        broker.declare_exchange(vhost, "e", "fanout")
        broker.bind(vhost, "e", "q", "k")
        broker.bind(vhost, "e", "q", "k")
        broker.delete_exchange(vhost, "e")
        assert heard == [
            ("exchange.created", "e"),
            ("binding.created", "k"),
            ("binding.deleted", "k"),
            ("exchange.deleted", "e"),
        ]


class TestRecovery:
    @pytest.mark.parametrize("end", [stop, crash])
    async def test_what_is_durable_comes_back_and_routes(self, tmp_path: Path, end: object) -> None:
        assert callable(end)
        broker = await start(tmp_path)
        other = broker.add_vhost("other")
        assert broker.add_vhost("other") is other
        for vhost in broker.vhosts.values():
            broker.declare_exchange(vhost, "e", "topic", arguments={"alternate-exchange": "rest"})
            broker.declare_exchange(vhost, "rest", "fanout", auto_delete=True)
            broker.declare_exchange(vhost, "passing", "fanout", durable=False)
            broker.declare_queue(vhost, "q", auto_delete=True, arguments={"x-a": 1})
            broker.declare_queue(vhost, "t", durable=False)
            broker.bind(vhost, "e", "rest", "deep.#", to_exchange=True)
            broker.bind(vhost, "rest", "q", "")
            broker.bind(vhost, "passing", "q", "")
            broker.bind(vhost, "e", "t", "#")
            broker.bind(vhost, "e", "q", "gone")
            broker.unbind(vhost, "e", "q", "gone")
        await broker.store.committed()
        await end(broker)
        broker = await start(tmp_path)
        assert set(broker.vhosts) == {"/", "other"}
        for vhost in broker.vhosts.values():
            assert set(vhost.queues) == {"q"}
            assert (vhost.queues["q"].auto_delete, vhost.queues["q"].arguments) == (True, {"x-a": 1})
            assert "passing" not in vhost.exchanges
            assert vhost.exchanges["rest"].auto_delete
            assert len(list(vhost.bindings())) == 2
            for key in ("deep.1", "unmatched"):
                assert not vhost.publish("e", [message(key)]).unrouted
            assert vhost.queues["q"].messages == 2
        await stop(broker)

    async def test_what_was_deleted_stays_deleted(self, tmp_path: Path) -> None:
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        broker.declare_exchange(vhost, "e", "fanout")
        queue = broker.declare_queue(vhost, "q")
        broker.bind(vhost, "e", "q", "")
        broker.publish(vhost, "e", numbered(3))
        await broker.store.committed()
        broker.delete_queue(vhost, queue)
        broker.delete_exchange(vhost, "e")
        await broker.store.committed()
        await crash(broker)
        broker = await start(tmp_path)
        assert "e" not in broker.vhosts["/"].exchanges
        assert not broker.vhosts["/"].queues
        assert not list(broker.vhosts["/"].bindings())
        await stop(broker)

    async def test_a_binding_that_has_lost_an_end_is_left_out_with_a_log_line(
        self, tmp_path: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        broker = await start(tmp_path)
        vhost = broker.vhosts["/"]
        broker.declare_queue(vhost, "q")
        broker.bind(vhost, "amq.fanout", "q", "")
        broker.store.put(records.QUEUE, records.entity_key("/", "q"), None)
        await stop(broker)
        with caplog.at_level(logging.ERROR):
            broker = await start(tmp_path)
        assert "'amq.fanout' to queue 'q' in vhost '/' has lost an end" in caplog.text
        await stop(broker)
