"""Sessions over several connections, takeover, login, expiry."""

from collections.abc import Generator

import pytest

from tests.interop.mqtt.client import Json, Refused
from tests.interop.mqtt.scenarios.registry import DISCONNECTS, UNACKNOWLEDGED, UNACKNOWLEDGED_2, V5, scenario
from tests.interop.mqtt.scene import Client, Scene, will

SESSION_TAKEN_OVER = 0x8E
COUNT = 100


@scenario()
def offline_messages(s: Scene) -> Json:
    """A persistent session gets all of QoS 1 and 2 that came while it was away, in order"""
    publisher, seen = s.connect(), []
    for qos in (1, 2):
        name, topic = s.name(f"offline-{qos}"), s.name(f"offline/{qos}")
        first = s.connect(name, persistent=True)
        first.subscribe(topic, qos=2)
        first.disconnect()
        publisher.publish(topic, qos=qos, count=50)
        again = s.connect(name, persistent=True)
        assert again.bodies(50) == [str(number) for number in range(50)]
        publisher.publish(topic, "live", qos=qos)
        seen.append([first.present, again.present, again.message()])
        again.assert_nothing()
        again.disconnect()
        s.connect(name).disconnect()
    return seen


@scenario()
def subscriptions_of_a_session(s: Scene) -> Json:
    """A session keeps its subscriptions and their QoS, after a disconnect and after a cut"""
    name, publisher, seen = s.name("survives"), s.connect(), []
    topics = [s.name(f"survives/{qos}") for qos in range(3)]
    client = s.connect(name, persistent=True)
    for qos, topic in enumerate(topics):
        client.subscribe(topic, qos=qos)
    for leave in (Client.disconnect, Client.drop):
        leave(client)
        client = s.connect(name, persistent=True)
        for topic in topics:
            publisher.publish(topic, f"after a {leave.__name__}", qos=2)
        # What came before a cut may come again.
        messages = [m for m in client.messages() if m["body"] == f"after a {leave.__name__}"]
        seen.append([client.present, messages])
    client.disconnect()
    s.connect(name).disconnect()
    return seen


@scenario()
def qos_0_while_away(s: Scene) -> Json:
    """What is published with QoS 0 while a session is away does not wait for it"""
    name, topic, publisher = s.name("away"), s.name("away/t"), s.connect()
    client = s.connect(name, persistent=True)
    client.subscribe(topic, qos=2)
    client.disconnect()
    for qos in range(3):
        publisher.publish(topic, f"sent with {qos}", qos=qos)
    client = s.connect(name, persistent=True)
    seen = client.messages()
    client.disconnect()
    s.connect(name).disconnect()
    return seen


def unacknowledged(s: Scene, qos: int) -> Json:
    name, topic, publisher, gone = s.name("unacknowledged"), s.name("t"), s.connect(), s.name("gone")
    publisher.subscribe(gone)
    client = s.connect(name, persistent=True, acknowledge=False, will=will(gone, "gone"))
    client.subscribe(topic, qos=2)
    publisher.publish(topic, "held", qos=qos)
    seen = [client.delivery()]
    client.drop()
    # What is published before the broker has seen the cut may have been sent, and is marked.
    publisher.message()
    publisher.publish(topic, "while away", qos=qos)
    client = s.connect(name, persistent=True)
    seen += [client.delivery(), client.delivery()]
    client.assert_nothing()
    client.disconnect()
    client = s.connect(name, persistent=True)
    client.assert_nothing()
    client.disconnect()
    s.connect(name).disconnect()
    return seen


@scenario(UNACKNOWLEDGED)
def unacknowledged_of_qos_1(s: Scene) -> Json:
    """What was not acknowledged when the connection was cut comes again, first and marked, and then no more: QoS 1"""
    return unacknowledged(s, qos=1)


@scenario(UNACKNOWLEDGED_2)
def unacknowledged_of_qos_2(s: Scene) -> Json:
    """What was not acknowledged when the connection was cut comes again, first and marked, and then no more: QoS 2"""
    return unacknowledged(s, qos=2)


def resumed(s: Scene, qos: int) -> list[str]:
    name, topic, subscriber = s.name("resumed"), s.name("resumed/t"), s.connect()
    subscriber.subscribe(topic, qos=2)
    client = s.connect(name, persistent=True)
    client.publish(topic, qos=qos, count=COUNT, wait=False)
    client.drop()
    client.resume()
    assert client.present
    bodies = [message["body"] for message in subscriber.messages()]
    client.disconnect()
    s.connect(name).disconnect()
    return sorted(bodies, key=int)


@scenario()
def resumed_of_qos_1(s: Scene) -> Json:
    """A client that is cut while it publishes sends what is not acknowledged again: with QoS 1 all arrive"""
    bodies = set(resumed(s, qos=1))
    assert bodies == set(map(str, range(COUNT)))
    return sorted(bodies)


@scenario()
def resumed_of_qos_2(s: Scene) -> Json:
    """A client that is cut while it publishes sends what is not acknowledged again: with QoS 2 each arrives once"""
    bodies = resumed(s, qos=2)
    assert bodies == list(map(str, range(COUNT)))
    return bodies


@scenario()
def clean_start(s: Scene) -> Json:
    """A clean start ends the session that was there, its subscriptions and messages"""
    name, topic, publisher = s.name("clean"), s.name("clean/t"), s.connect()
    first = s.connect(name, persistent=True)
    first.subscribe(topic)
    first.disconnect()
    publisher.publish(topic, "lost")
    clean = s.connect(name)
    publisher.publish(topic, "lost too")
    clean.assert_nothing()
    clean.disconnect()
    again = s.connect(name, persistent=True)
    again.assert_nothing()
    return [clean.present, again.present]


@scenario()
def takeover(s: Scene) -> Json:
    """A second connection of a client identifier ends the first, and takes its session over"""
    name, topic = s.name("taken"), s.name("taken/t")
    first = s.connect(name, persistent=True)
    first.subscribe(topic)
    second = s.connect(name, persistent=True)
    first.closed()
    second.publish(topic, "to the second")
    seen = [second.present, second.message()]
    second.disconnect()
    s.connect(name).disconnect()
    return seen


@scenario(V5, control="Mosquitto closes without a DISCONNECT")
def takeover_code(s: Scene) -> Json:
    """Who is taken over is told so, by 0x8E [MQTT-3.1.4-3]"""
    name = s.name("told")
    first = s.connect(name)
    s.connect(name)
    return s.strictly(first.closed(), SESSION_TAKEN_OVER, control=None)


@scenario(control="Mosquitto says that the client is not authorized")
def wrong_password(s: Scene) -> Json:
    """A wrong password is refused: bad user name or password, 4 in 3.1.1 and 0x86 in 5"""
    with pytest.raises(Refused) as raised:
        s.connect(password="wrong")
    bad, not_authorized = (0x86, 0x87) if s.v5 else (4, 5)
    return [raised.value.scope, s.strictly(raised.value.code, bad, control=not_authorized)]


@scenario(V5)
def message_expiry(s: Scene) -> Generator[None, None, Json]:
    """A message that expires while its session is away does not come; others do"""
    name, topic, publisher = s.name("expiry"), s.name("expiry/t"), s.connect()
    first = s.connect(name, persistent=True)
    first.subscribe(topic)
    first.disconnect()
    publisher.publish(topic, "short", message_expiry=1)
    publisher.publish(topic, "long")
    yield
    again = s.connect(name, persistent=True)
    seen = again.message()
    again.assert_nothing()
    again.disconnect()
    s.connect(name).disconnect()
    return seen


@scenario(V5)
def session_expiry(s: Scene) -> Generator[None, None, Json]:
    """A session is gone when its expiry is over, with its subscriptions and messages"""
    name, topic, publisher = s.name("expires"), s.name("expires/t"), s.connect()
    client = s.connect(name, persistent=True, expiry_s=1)
    client.subscribe(topic)
    client.disconnect()
    publisher.publish(topic, "lost")
    yield
    client = s.connect(name, persistent=True)
    publisher.publish(topic, "lost too")
    client.assert_nothing()
    client.disconnect()
    s.connect(name).disconnect()
    return client.present


@scenario(V5, DISCONNECTS)
def session_expiry_at_the_end(s: Scene) -> Json:
    """A disconnect may change the expiry of the session: to 0, and it ends at once"""
    name, seen = s.name("ends"), []
    for expiry in (None, 300, 0):
        client = s.connect(name, persistent=True)
        client.subscribe(s.name("ends/t"))
        client.disconnect(expiry=expiry)
        client = s.connect(name, persistent=True)
        seen.append(client.present)
        client.disconnect()
    s.connect(name).disconnect()
    return seen
