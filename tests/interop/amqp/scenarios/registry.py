"""The one list of scenarios with AMQP."""

from tests.interop.amqp.scene import Scene
from tests.interop.harness import Scenarios

SCENARIOS: Scenarios[Scene] = Scenarios()

scenario = SCENARIOS.register
