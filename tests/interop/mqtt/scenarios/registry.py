"""The one list of scenarios with MQTT, and what they may need of a client."""

from tests.interop.harness import Scenarios
from tests.interop.mqtt.scene import V5, Scene

__all__ = [
    "DISCONNECTS",
    "IDENTIFIERS",
    "SCENARIOS",
    "UNACKNOWLEDGED",
    "UNACKNOWLEDGED_2",
    "V5",
    "WILL_PROPERTIES",
    "scenario",
]

DISCONNECTS = "a reason code and properties of DISCONNECT"
IDENTIFIERS = "several subscription identifiers of a message"
UNACKNOWLEDGED = "leaving messages of QoS 1 unacknowledged"
UNACKNOWLEDGED_2 = "leaving messages of QoS 2 unacknowledged"
WILL_PROPERTIES = "properties of a will"

SCENARIOS: Scenarios[Scene] = Scenarios()

scenario = SCENARIOS.register
