"""Retained messages."""

from tests.interop.mqtt.client import Json
from tests.interop.mqtt.scenarios.registry import V5, scenario
from tests.interop.mqtt.scene import Scene


@scenario()
def retained(s: Scene) -> Json:
    """The last retained message comes to who subscribes later, marked; an empty one clears it"""
    publisher, early, late, topic = s.connect(), s.connect(), s.connect(), s.name("retained")
    early.subscribe(topic)
    publisher.publish(topic, "old", retain=True)
    publisher.publish(topic, "new", retain=True)
    late.subscribe(topic)
    seen = [early.message(), early.message(), late.message()]
    publisher.publish(topic, "", retain=True)
    seen += [early.message(), late.message()]
    after = s.connect()
    after.subscribe(topic)
    after.assert_nothing()
    return seen


@scenario()
def retained_by_wildcard(s: Scene) -> Json:
    """A filter with wildcards gets all retained messages that match"""
    publisher, root, seen = s.connect(), s.name("tree"), []
    topics = [f"{root}/{name}" for name in ("a/x", "a/y", "b/x", "b")]
    for topic in topics:
        publisher.publish(topic, "kept", retain=True)
    for topic_filter, count in ((f"{root}/#", 4), (f"{root}/+/x", 2), (f"{root}/a/+", 2)):
        client = s.connect()
        client.subscribe(topic_filter, qos=2)
        seen.append(
            sorted((client.message() for _ in range(count)), key=lambda message: str(message["topic"]))
        )
        client.assert_nothing()
    for topic in topics:
        publisher.publish(topic, "", retain=True)
    return seen


@scenario(V5)
def retain_options(s: Scene) -> Json:
    """Retain handling says when retained messages come, retain as published keeps their mark"""
    client, publisher, topic, seen = s.connect(), s.connect(), s.name("options"), []
    publisher.publish(topic, "kept", retain=True)
    client.subscribe(topic, retain_handling=2)
    client.assert_nothing()
    client.subscribe(topic, retain_handling=1)
    client.assert_nothing()
    other = s.connect()
    other.subscribe(topic, retain_handling=1, retain_as_published=True)
    seen.append(other.message())
    publisher.publish(topic, "live", retain=True)
    seen += [client.message(), other.message()]
    publisher.publish(topic, "", retain=True)
    return seen


@scenario(V5, control="Mosquitto keeps the option of the first time")
def subscribing_again(s: Scene) -> Json:
    """Subscribing again replaces the options, and brings retained messages again [MQTT-3.8.4-3]"""
    client, publisher, topic = s.connect(), s.connect(), s.name("again")
    publisher.publish(topic, "kept", retain=True)
    codes = [client.subscribe(topic, qos=1), client.subscribe(topic, qos=2, retain_as_published=True)]
    seen = [client.message(), client.message()]
    publisher.publish(topic, "live", qos=2, retain=True)
    live = client.message()
    client.assert_nothing()
    s.strictly(live["retain"], True, control=False)
    publisher.publish(topic, "", retain=True)
    return [codes, seen, live["body"], live["qos"]]


@scenario()
def retained_of_each_qos(s: Scene) -> Json:
    """A retained message is kept with its QoS, and comes with the lower of it and the subscription's"""
    publisher, seen = s.connect(), []
    for qos in range(3):
        topic = s.name(f"kept/{qos}")
        publisher.publish(topic, f"sent with {qos}", qos=qos, retain=True)
        # Mosquitto and Leveret answer in order: what was sent with QoS 0 is kept when this has been acknowledged.
        publisher.publish(s.name("after"), qos=1)
        for granted in range(3):
            client = s.connect()
            client.subscribe(topic, qos=granted)
            seen.append(client.message())
        publisher.publish(topic, "", qos=qos, retain=True)
    return seen


@scenario(control="Mosquitto sends retained messages")
def retained_and_shared(s: Scene) -> Json:
    """A shared subscription brings no retained messages when it is made, and live ones without their mark"""
    member, publisher, topic = s.connect(), s.connect(), s.name("retained")
    publisher.publish(topic, "kept", retain=True)
    member.subscribe(f"$share/{s.name('group')}/{topic}")
    s.strictly([message["body"] for message in member.messages()], [], control=["kept"])
    publisher.publish(topic, "live", retain=True)
    seen = member.messages()
    publisher.publish(topic, "", retain=True)
    return seen
