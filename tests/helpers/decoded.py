"""What machines and decoders have made of bytes, in a form that does not depend on how the bytes were cut."""

from edge.amqp091 import events as amqp
from mqtt import constants as c
from mqtt.codec import Decoder
from mqtt.connection import Connection
from mqtt.filters import WireCache
from mqtt.packets import AckRun, Connack, Connect, Event, PublishRun

Seen = tuple[list[object], list[tuple[int, int, int]], list[object], int]


def flat_events(events: list[amqp.Event]) -> list[object]:
    """Runs of AMQP taken apart: how long they are depends on how the bytes were cut."""
    flat: list[object] = []
    for event in events:
        if isinstance(event, amqp.PublishRun):
            flat += [("publish", event.channel, message) for message in event.messages]
        elif isinstance(event, amqp.DeliverRun):
            runs = zip(event.tags, event.redelivered, event.messages, strict=True)
            flat += [("deliver", event.channel, event.consumer_tag, *each) for each in runs]
        elif isinstance(event, amqp.AckRun):
            flat += [("ack", event.channel, tag, event.multiple) for tag in event.tags]
        elif isinstance(event, amqp.ContentReceived):
            flat.append((event.channel, event.method, event.message))
        elif isinstance(event, amqp.MethodReceived):
            flat.append((event.channel, event.method))
        elif isinstance(event, amqp.Fault):
            flat.append((event.channel, event.error.code))
        else:
            flat.append(type(event))
    return flat


def decoded_mqtt(version: int, chunks: list[bytes]) -> Seen:
    """Publishes, acknowledgements of each kind and other packets, each in order, and the fault's reason or 0."""
    decoder = Decoder(c.SERVER, version, WireCache())
    decoder.packet_bytes_max = 100_000
    decoder.alias_max = c.TOPIC_ALIAS_MAX
    events: list[Event] = []
    for chunk in chunks:
        events += decoder.feed(chunk)
    publishes: list[object] = []
    acks: list[tuple[int, int, int]] = []
    others: list[object] = []
    for event in events:
        if isinstance(event, PublishRun):
            publishes += zip(event.messages, event.packet_ids, strict=True)
        elif isinstance(event, AckRun):
            acks += [(event.kind, one, event.reasons.get(one, 0)) for one in event.packet_ids]
        else:
            others.append(event)
    # Kinds of acknowledgement are independent of each other, and so are PUBACKs: those in short form may pass others.
    acks.sort(key=lambda ack: (ack[0], ack[2] != 0, ack[1] if ack[0] == c.PUBACK else 0))
    return publishes, acks, others, decoder.fault.reason if decoder.fault is not None else 0


def mqtt_machine(role: int, version: int) -> Connection:
    """A machine that is open, as after CONNECT and CONNACK."""
    machine = Connection(role, WireCache())
    if role == c.CLIENT:
        machine.connect(Connect(version, "c", properties={0x22: 5}))
        machine.receive(b"\x20\x03\0\0\0" if version == c.V5 else b"\x20\x02\0\0")
    elif version:
        machine._decoder.version = version
        machine.accept(Connack(), 16, 100_000)
    assert machine.fault is None
    return machine
