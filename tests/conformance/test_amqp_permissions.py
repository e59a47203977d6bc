"""Every operation with and without each permission that it needs, against Leveret and against RabbitMQ."""

from collections.abc import AsyncIterator

import pytest

from edge.amqp091 import spec
from edge.amqp091.credentials import Credentials
from edge.amqp091.events import MethodReceived
from edge.auth.users import Permission
from tests.conformance.conftest import Bench
from tests.helpers.amqp import RawPeer
from tests.helpers.leveret import LeveretInProcess
from tests.helpers.rabbitmq import RabbitMQ
from tests.wire.amqp_permissions import ACCESS, CONFIGURE, READ, RIGHTS, USER, WRITE, exchange, queue
from tests.wire.amqp_refusals import frames

PASSWORD = "secret"


@pytest.fixture(params=["leveret", "rabbitmq"])
def bench(request: pytest.FixtureRequest) -> Bench:
    """A broker with the user ``limited``."""
    if request.param == "leveret":
        node: LeveretInProcess = request.getfixturevalue("edge_node")
        node.node.broker.set_user(USER, PASSWORD, [])
        node.node.broker.set_permission(Permission(USER, "/", CONFIGURE, WRITE, READ))
    else:
        rabbitmq: RabbitMQ = request.getfixturevalue("rabbitmq")
        rabbitmq.ctl("add_user", USER, PASSWORD)
        rabbitmq.ctl("set_permissions", USER, CONFIGURE, WRITE, READ)
    found = request.getfixturevalue("at_leveret" if request.param == "leveret" else "rabbitmq_bench")
    assert isinstance(found, Bench)
    return found


@pytest.fixture
async def at_leveret(edge_node: LeveretInProcess) -> AsyncIterator[Bench]:
    bench = Bench(edge_node.ports.amqp)
    yield bench
    await bench.close()


async def outcome(peer: RawPeer, operation: spec.Method | bytes) -> str:
    """The text of the refusal, "" if there was none."""
    peer.writer.write(operation if isinstance(operation, bytes) else frames(operation))
    peer.send(spec.BasicQos())
    while True:
        event = await peer.event()
        method = event.method if isinstance(event, MethodReceived) else None
        if isinstance(method, spec.ChannelClose):
            assert method.reply_code == 403, method.reply_text
            return method.reply_text
        if isinstance(method, spec.BasicQosOk):
            return ""


async def test_operations_need_what_they_need_in_rabbitmq(
    bench: Bench, request: pytest.FixtureRequest
) -> None:
    is_older = request.node.name.endswith("[rabbitmq]")
    guest = await bench.peer()
    for rights in RIGHTS:
        await guest.call(spec.QueueDeclare(queue=queue(rights)))
        await guest.call(spec.ExchangeDeclare(exchange=exchange(rights), type="fanout"))
    wrong: list[str] = []
    for name, case in ACCESS.items():
        peer = await bench.peer(credentials=Credentials(USER, PASSWORD))
        text = await outcome(peer, case.operation)
        if case.refused is None or (is_older and case.older_allows):
            is_right = not text
        else:
            permission, kind, resource = case.refused
            # RabbitMQ 3 does not say which permission is missing.
            what = "" if is_older else f"{permission} "
            is_right = f"{what}access to {kind} '{resource}" in text
        if not is_right:
            wrong.append(f"{name}: {text or 'allowed'}")
    assert not wrong
