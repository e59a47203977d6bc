"""Publishing and subscribing: QoS, filters, properties, shared subscriptions."""

from tests.interop.mqtt.client import Json
from tests.interop.mqtt.scenarios.registry import IDENTIFIERS, V5, scenario
from tests.interop.mqtt.scene import Scene


@scenario()
def each_qos(s: Scene) -> Json:
    """A message comes with the lower of its own QoS and the subscription's"""
    publisher, seen = s.connect(), []
    for granted in range(3):
        subscriber, topic = s.connect(), s.name(f"qos/{granted}")
        codes = subscriber.subscribe(topic, qos=granted)
        for qos in range(3):
            publisher.publish(topic, f"sent with {qos}", qos=qos)
            seen.append([codes, subscriber.message()])
    return seen


@scenario()
def order(s: Scene) -> Json:
    """100 messages of each QoS arrive once each, in their order"""
    publisher = s.connect()
    for qos in range(3):
        subscriber, topic = s.connect(), s.name(f"order/{qos}")
        subscriber.subscribe(topic, qos=2)
        publisher.publish(topic, qos=qos, count=100)
        assert subscriber.bodies(100) == [str(number) for number in range(100)]
        subscriber.assert_nothing()
    return None


@scenario()
def bodies(s: Scene) -> Json:
    """Bodies of nothing, of any script and of 1 MB arrive whole"""
    client, topic = s.connect(), s.name("größe/体")
    client.subscribe(topic, qos=2)
    seen = []
    for body, size in (("", None), ("Überraschung 体", None), ("", 1_000_000)):
        client.publish(topic, body, size=size, qos=2)
        seen.append(client.message())
    return seen


@scenario()
def wildcards(s: Scene) -> Json:
    """+ matches one level, # all that follow and the parent"""
    client, publisher, root = s.connect(), s.connect(), s.name("wild")
    client.subscribe(f"{root}/+/c", f"{root}/x/#")
    for topic in ("a/c", "a/b/c", "x", "x/y/z", "/c", "a"):
        publisher.publish(f"{root}/{topic}", topic)
    return client.bodies(4)


@scenario()
def unsubscribe(s: Scene) -> Json:
    """After an unsubscribe nothing more comes; other filters stay"""
    client, publisher, first, second = s.connect(), s.connect(), s.name("first"), s.name("second")
    client.subscribe(first, second)
    client.unsubscribe(first)
    publisher.publish(first, "no")
    publisher.publish(second, "yes")
    seen = client.message()
    client.assert_nothing()
    return seen


@scenario()
def shared(s: Scene) -> Json:
    """The members of a shared subscription get each message of each QoS once between them; others get all"""
    group, topic = s.name("group"), s.name("shared")
    members, other, publisher = [s.connect(), s.connect()], s.connect(), s.connect()
    for member in members:
        member.subscribe(f"$share/{group}/{topic}", qos=2)
    other.subscribe(topic, qos=2)
    seen = []
    for qos in range(3):
        publisher.publish(topic, qos=qos, count=20)
        assert other.bodies(20) == [str(number) for number in range(20)]
        shares = [[message["body"] for message in member.messages()] for member in members]
        assert all(shares), "one member is not served"
        seen.append(sorted([body for share in shares for body in share], key=int))
    return seen


@scenario(control="Mosquitto sends a copy for each filter by MQTT 5, as it may")
def overlapping_filters(s: Scene) -> Json:
    """What matches several filters of a client comes once, with the highest of their QoS [MQTT-3.3.4-2]"""
    client, publisher, topic, seen = s.connect(), s.connect(), s.name("overlap"), []
    filters = {f"{topic}/#": 0, f"{topic}/a": 2, f"{topic}/+": 1}
    for topic_filter, qos in filters.items():
        client.subscribe(topic_filter, qos=qos)
    for qos in range(3):
        publisher.publish(f"{topic}/a", f"sent with {qos}", qos=qos)
        copies = sorted(client.messages(), key=lambda message: int(message["qos"]))
        s.strictly(len(copies), 1, control=len(filters))
        seen.append(copies[-1])
    return seen


@scenario(V5, IDENTIFIERS)
def overlapping_identifiers(s: Scene) -> Json:
    """What matches several filters of a client tells the identifiers of all [MQTT-3.3.4-3]"""
    client, publisher, topic = s.connect(), s.connect(), s.name("overlap")
    client.subscribe(f"{topic}/#", identifier=1)
    client.subscribe(f"{topic}/a", identifier=2)
    client.subscribe(f"{topic}/+")
    publisher.publish(f"{topic}/a", "x")
    told = [message["properties"].get("identifiers", []) for message in client.messages()]
    return sorted(number for numbers in told for number in numbers)


@scenario(V5)
def properties(s: Scene) -> Json:
    """Content type, response topic, correlation data and user properties arrive as sent; the expiry runs"""
    client, topic = s.connect(), s.name("properties")
    client.subscribe(topic, identifier=7)
    user = [["a", "1"], ["a", "2"], ["b", "ü"]]
    told: dict[str, Json] = {
        "content_type": "text/plain",
        "response_topic": "answers",
        "correlation_data": "c-1",
    }
    client.publish(topic, "x", user_properties=user, message_expiry=600, **told)
    seen = client.message()
    assert 590 <= seen["properties"].pop("message_expiry") <= 600
    return seen


@scenario(V5)
def request_and_response(s: Scene) -> Json:
    """A request names the topic of its answer, which carries its correlation data"""
    asking, answering, question, answer = s.connect(), s.connect(), s.name("question"), s.name("answer")
    answering.subscribe(question)
    asking.subscribe(answer)
    asking.publish(question, "?", response_topic=answer, correlation_data="17")
    request = answering.message()["properties"]
    answering.publish(request["response_topic"], "!", correlation_data=request["correlation_data"])
    return asking.message()


@scenario(V5)
def no_local(s: Scene) -> Json:
    """With no local a client does not get what it publishes itself"""
    client, other, topic = s.connect(), s.connect(), s.name("local")
    client.subscribe(topic, no_local=True)
    client.publish(topic, "own")
    other.publish(topic, "other's")
    seen = client.message()
    client.assert_nothing()
    return seen
