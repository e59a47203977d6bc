"""What a client leaves behind."""

import time
from collections.abc import Generator

from tests.interop.mqtt.client import Json
from tests.interop.mqtt.scenarios.registry import DISCONNECTS, V5, WILL_PROPERTIES, scenario
from tests.interop.mqtt.scene import Scene, will

WITH_WILL = 0x04
LONG_S = 300
TICK_S = 1.0
"""Mosquitto counts in whole seconds, and may be early by one."""


@scenario()
def will_of_a_lost_client(s: Scene) -> Json:
    """The will of a client whose connection is cut is published with its QoS, and retained if it says so"""
    watcher, seen = s.connect(), []
    for qos in range(3):
        topic = s.name(f"will/{qos}")
        watcher.subscribe(topic, qos=2)
        s.connect(will=will(topic, "gone", qos=qos, retain=True)).drop()
        seen.append(watcher.message())
        late = s.connect()
        late.subscribe(topic, qos=2)
        seen.append(late.message())
        late.publish(topic, "", retain=True)
    return seen


@scenario()
def no_will_after_disconnect(s: Scene) -> Json:
    """A client that disconnects in order leaves no will"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    s.connect(will=will(topic, "gone")).disconnect()
    watcher.assert_nothing()
    return None


@scenario(V5, DISCONNECTS)
def disconnect_with_will(s: Scene) -> Json:
    """A client that disconnects by 0x04 leaves its will"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    s.connect(will=will(topic, "gone")).disconnect(WITH_WILL)
    return watcher.message()


@scenario(V5, WILL_PROPERTIES)
def will_properties(s: Scene) -> Json:
    """The properties of a will arrive as they were given"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    told: dict[str, Json] = {
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": "c-1",
        "user_properties": [["a", "1"], ["a", "2"], ["b", "ü"]],
        "message_expiry": 600,
    }
    s.connect(will=will(topic, "gone", **told)).drop()
    seen = watcher.message()
    assert 590 <= seen["properties"].pop("message_expiry") <= 600
    return seen


@scenario(V5)
def will_of_a_client_taken_over(s: Scene) -> Json:
    """A client that is taken over leaves its will, if it has no delay"""
    watcher, topic, name = s.connect(), s.name("will"), s.name("taken")
    watcher.subscribe(topic)
    s.connect(name, will=will(topic, "gone"))
    s.connect(name)
    return watcher.message()


@scenario(V5)
def delayed_will(s: Scene) -> Generator[None, None, Json]:
    """A will with a delay is published after it"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    leaving = s.connect(persistent=True, will=will(topic, "gone", delay_s=2))
    left_at = time.monotonic()
    leaving.drop()
    yield
    seen = watcher.message()
    assert watcher.came_at - left_at > 2 - TICK_S
    return seen


@scenario(V5, control="Mosquitto waits for the delay")
def will_of_a_session_that_ends(s: Scene) -> Generator[None, None, Json]:
    """A will with a delay is published when the session ends, as it does with the connection"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    s.connect(will=will(topic, "gone", delay_s=LONG_S)).drop()
    yield
    seen = [message["body"] for message in watcher.messages()]
    return s.strictly(seen, ["gone"], control=[])


@scenario(V5)
def will_of_a_session_that_expires(s: Scene) -> Generator[None, None, Json]:
    """A will with a delay is published when its session expires, if that is earlier"""
    watcher, topic = s.connect(), s.name("will")
    watcher.subscribe(topic)
    s.connect(expiry_s=1, will=will(topic, "gone", delay_s=LONG_S)).drop()
    yield
    return watcher.message()


@scenario(V5)
def delayed_will_of_who_comes_again(s: Scene) -> Generator[None, None, Json]:
    """A will with a delay is not published when its client has come again to its session [MQTT-3.1.3-9]"""
    watcher, topic, name = s.connect(), s.name("will"), s.name("again")
    watcher.subscribe(topic)
    s.connect(name, persistent=True, will=will(topic, "gone", delay_s=1))
    again = s.connect(name, persistent=True)
    yield
    watcher.assert_nothing()
    again.disconnect()
    s.connect(name).disconnect()
    return again.present
