"""Numbers of the MQTT wire and the limits a node keeps, with their reasons."""

from typing import Final

V31: Final = 3
V311: Final = 4
V5: Final = 5

# Protocol name a version announces itself by (MQTT 3.1 section 3.1, 3.1.1 and 5.0 section 3.1.2.1).
PROTOCOL_NAMES: Final[dict[int, str]] = {V31: "MQIsdp", V311: "MQTT", V5: "MQTT"}
# Mosquitto's bridges set this bit in the protocol level; it asks for no-local and retain-as-published.
BRIDGE_BIT: Final = 0x80

CONNECT: Final = 1
CONNACK: Final = 2
PUBLISH: Final = 3
PUBACK: Final = 4
PUBREC: Final = 5
PUBREL: Final = 6
PUBCOMP: Final = 7
SUBSCRIBE: Final = 8
SUBACK: Final = 9
UNSUBSCRIBE: Final = 10
UNSUBACK: Final = 11
PINGREQ: Final = 12
PINGRESP: Final = 13
DISCONNECT: Final = 14
AUTH: Final = 15
WILL: Final = 0  # not a packet: the will properties inside CONNECT have their own set

PACKET_NAMES: Final[tuple[str, ...]] = (
    "reserved",
    "CONNECT",
    "CONNACK",
    "PUBLISH",
    "PUBACK",
    "PUBREC",
    "PUBREL",
    "PUBCOMP",
    "SUBSCRIBE",
    "SUBACK",
    "UNSUBSCRIBE",
    "UNSUBACK",
    "PINGREQ",
    "PINGRESP",
    "DISCONNECT",
    "AUTH",
)

# Lower four bits of the first byte that every packet but PUBLISH must carry (section 2.1.3).
FIXED_FLAGS: Final[tuple[int, ...]] = (0, 0, 0, 0, 0, 0, 2, 0, 2, 0, 2, 0, 0, 0, 0, 0)

SERVER: Final = 0
CLIENT: Final = 1

REMAINING_LENGTH_MAX: Final = 268_435_455  # four bytes of seven bits (section 2.2.3 / 2.1.4)
PACKET_ID_MAX: Final = 65_535
NO_EXPIRY_S: Final = 0xFFFFFFFF  # a session expiry interval of all ones never ends

# A stranger may make us buffer this much and no more; RabbitMQ's mqtt.max_packet_size_unauthenticated.
CONNECT_BYTES_MAX: Final = 65_536
PACKET_BYTES_MAX: Final = 16_777_216  # RabbitMQ's mqtt.max_packet_size_authenticated
RECEIVE_MAX: Final = 8_192  # QoS>0 publishes a v5 client may have unconfirmed; several group commits' worth
TOPIC_ALIAS_MAX: Final = 16  # RabbitMQ's mqtt.topic_alias_maximum
OUTBOUND_ALIAS_MAX: Final = (
    128  # aliases we use towards a peer that allows more: bounds memory per connection
)
TOPIC_LEVELS_MAX: Final = 128  # what edge.core.topic tells apart (WORDS_MAX); EMQX has 128, Mosquitto 200
SUBSCRIPTIONS_MAX: Final = 10_000  # per session
FILTERS_MAX: Final = (
    SUBSCRIPTIONS_MAX  # topic filters in one SUBSCRIBE or UNSUBSCRIBE: no session can have more
)
USER_PROPERTIES_MAX: Final = (
    1_024  # in one packet: a millisecond's work, where 16 MB of empty ones would take seconds
)
RETAINED_MESSAGES_MAX: Final = 250_000  # per vhost; RabbitMQ's stores stop at 100,000
RETAINED_BYTES_MAX: Final = 67_108_864  # per vhost: they are kept in RAM as well as on disk
TOPIC_CACHE_MAX: Final = 8_192  # topics whose routing key is remembered, for all connections together
TOPIC_CACHED_BYTES_MAX: Final = (
    512  # longer ones are translated each time: 8,192 of 64 KB would be a gigabyte
)
PROPERTIES_CACHE_MAX: Final = 1_024  # PUBLISH property blocks whose parse is remembered
PROPERTIES_CACHED_BYTES_MAX: Final = 128  # longer blocks carry what differs from message to message

TOPIC_EXCHANGE: Final = "amq.topic"
SYS_KEY_PREFIX: Final = "$SYS."  # routing keys of the topics that a server alone publishes (section 4.7.2)
