"""Runtime parameters and global parameters, kept in the store (RabbitMQ, "Parameters and Policies").

A parameter belongs to a component, a vhost and a name: shovels, federation upstreams and their sets. What policies and
limits of vhosts say has places of its own; definitions files show them as parameters too.
"""

from collections.abc import Callable
from typing import Final, NamedTuple

import msgspec

from edge.store.store import Store
from edge.tables import Table

KIND_PARAMETER: Final = "parameter"
KIND_GLOBAL_PARAMETER: Final = "global-parameter"
SHOVEL: Final = "shovel"
UPSTREAM: Final = "federation-upstream"
UPSTREAM_SET: Final = "federation-upstream-set"
COMPONENTS: Final = (SHOVEL, UPSTREAM, UPSTREAM_SET)
"""What has an effect here; definitions files may hold others, which are kept."""

Listener = Callable[[str, str, str], None]
"""Called with vhost, component and name of a parameter that was made, changed or cleared."""


class Parameter(NamedTuple):
    """One runtime parameter; ``value`` is JSON."""

    vhost: str
    component: str
    name: str
    value: object

    def table(self) -> Table:
        """In the form of the configuration's ``[[shovel]]`` and ``[[federation-upstream]]``."""
        values = self.value if isinstance(self.value, dict) else {}
        where = f"{self.component} '{self.name}' in vhost '{self.vhost}'"
        return Table(where, {"name": self.name, "vhost": self.vhost, **values})


class Parameters:
    """All of a node."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._parameters: dict[tuple[str, str, str], Parameter] = {}
        self.globals: dict[str, object] = {}
        #: Component -> what raises ConfigError for a value that its owner could not use; set by the node.
        self.checks: dict[str, Callable[[Parameter], None]] = {}
        #: Who follows changes, at once: shovels and federation links.
        self.listeners: list[Listener] = []

    async def recover(self) -> None:
        """Bring back what the store holds."""
        for value in (await self._store.records(KIND_PARAMETER)).values():
            parameter = Parameter(*msgspec.json.decode(value, type=tuple[str, str, str, object]))
            self._parameters[parameter[:3]] = parameter
        for name, value in (await self._store.records(KIND_GLOBAL_PARAMETER)).items():
            self.globals[name] = msgspec.json.decode(value)

    def list(self, component: str = "") -> list[Parameter]:
        """All parameters, or those of a component."""
        return [found for found in self._parameters.values() if component in ("", found.component)]

    def find(self, vhost: str, component: str, name: str) -> Parameter | None:
        return self._parameters.get((vhost, component, name))

    def put(self, parameter: Parameter) -> None:
        """Make or change a parameter. Raises ConfigError for a value that its component does not take."""
        check = self.checks.get(parameter.component)
        if check is not None:
            check(parameter)
        key = parameter[:3]
        if self._parameters.get(key) == parameter:
            return
        self._parameters[key] = parameter
        self._store.put(KIND_PARAMETER, "\0".join(key), msgspec.json.encode(parameter))
        self._tell(*key)

    def clear(self, vhost: str, component: str, name: str) -> bool:
        """Forget a parameter; return whether there was one."""
        key = (vhost, component, name)
        if self._parameters.pop(key, None) is None:
            return False
        self._store.put(KIND_PARAMETER, "\0".join(key), None)
        self._tell(*key)
        return True

    def _tell(self, vhost: str, component: str, name: str) -> None:
        # A copy: the first parameter of a component may bring the listener that runs it.
        for listener in list(self.listeners):
            listener(vhost, component, name)

    def put_global(self, name: str, value: object) -> None:
        self.globals[name] = value
        self._store.put(KIND_GLOBAL_PARAMETER, name, msgspec.json.encode(value))
