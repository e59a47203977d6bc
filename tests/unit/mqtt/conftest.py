from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.helpers.mqtt_node import MqttNode


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[MqttNode]:
    """A started broker that speaks MQTT alone."""
    async with MqttNode(tmp_path / "node") as started:
        yield started
