"""The lines of JSON that drive a client of MQTT; see ``tests.interop.driver``. ``client`` names one of the driver's.

- ``connect``: ``uri, client_id, clean, expiry, username, password, will, acknowledge``; the answer is whether a session
  was present. An ``expiry`` in seconds and properties are for MQTT 5, a driver of 3.1.1 leaves them. A refusal has a
  ``code``, of the version. A client that does not ``acknowledge`` shows messages and never acknowledges one.
- ``disconnect``: with ``code`` and a new ``expiry``, which may be null, by MQTT 5
- ``drop`` cuts the connection without a word; ``resume`` connects the same client again, to its session, answered as
  ``connect`` is, when all that it has published is acknowledged
- ``subscribe``: ``filters``, ``qos``, and ``options`` (``no_local, retain_as_published, retain_handling, identifier``);
  the answer is the codes granted
- ``unsubscribe``: ``filter``
- ``publish``: ``topic, body, size, qos, retain, count, properties, wait``, answered when the broker has acknowledged
  all, with QoS 0 when all are written, and without ``wait`` when the client has taken them; of ``count`` messages the
  bodies are numbered, from 0
- event ``message``: ``client, topic, body, qos, retain, dup, properties``
- event ``closed``: ``client, code``, by the broker; the code of MQTT 5's DISCONNECT

A ``will`` is ``topic, body, qos, retain, delay, properties``. Properties are ``content_type, response_topic,
correlation_data, message_expiry, user_properties, identifiers``.
"""

from tests.interop.driver import Driver, Json, Refused

__all__ = ["Driver", "Json", "Refused"]
