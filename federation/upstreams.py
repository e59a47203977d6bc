"""All upstreams of a node and the sets that they are in (rabbit_federation_upstream, "Federation Reference").

They stand in the configuration, or are runtime parameters of the components federation-upstream and
federation-upstream-set. A set is a list of objects: each names an upstream, and may say any of its keys anew.
"""

import logging
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

from edge.core.errors import ConfigError
from edge.core.exchange import Exchange
from edge.core.policy import Policy
from edge.parameters import UPSTREAM, UPSTREAM_SET, Parameter, Parameters
from edge.tables import Table, check_table, describe
from federation.upstream import KEYS, Upstream, read_upstream

logger = logging.getLogger("federation.upstreams")

ALL: Final = "all"
"""The set that every upstream of the vhost is in."""
_OVERRIDES: Final = tuple(key for key in KEYS if key.name not in ("name", "vhost"))


def read_set(parameter: Parameter) -> list[tuple[str, dict[str, object]]]:
    """Upstreams by name, each with the keys that it says anew. Raises ConfigError."""
    where = f"{UPSTREAM_SET} '{parameter.name}' in vhost '{parameter.vhost}'"
    if not isinstance(parameter.value, list):
        raise ConfigError(f"{where}: must be a list of objects, not {describe(parameter.value)}")
    found: list[tuple[str, dict[str, object]]] = []
    for at, item in enumerate(parameter.value, 1):
        if not isinstance(item, dict) or not isinstance(item.get("upstream"), str):
            raise ConfigError(
                f"{where}: item {at}: must be an object with the key upstream, not {describe(item)}"
            )
        overrides = {key: value for key, value in item.items() if key != "upstream"}
        # An upstream has an URI already; the name stands in for it in the check.
        check_table(Table(f"{where}: item {at}", {"uri": "amqp://", **overrides}), _OVERRIDES)
        found.append((item["upstream"], overrides))
    return found


class Upstreams:
    """What policies can name. Raises ConfigError when a table of the configuration is wrong."""

    def __init__(self, parameters: Parameters, configured: Sequence[Table]) -> None:
        self._parameters = parameters
        self._configured = {(upstream.vhost, upstream.name): table for upstream, table in _read(configured)}
        self._all: dict[tuple[str, str], Upstream] = {}
        self._sets: dict[tuple[str, str], list[Upstream]] = {}
        self.read()

    def read(self) -> None:
        """Follow a change of parameters. Of two upstreams of one name that of the configuration counts."""
        tables = {
            **{(one.vhost, one.name): one.table() for one in self._parameters.list(UPSTREAM)},
            **self._configured,
        }
        self._all = {key: upstream for key, table in tables.items() for upstream in _lenient(table)}
        self._sets = {}
        for parameter in self._parameters.list(UPSTREAM_SET):
            self._sets[parameter.vhost, parameter.name] = _members(parameter, tables)

    def wanted(self, policy: Policy | None, exchange: Exchange) -> list[Upstream]:
        """The upstreams that an exchange is federated from.

        Never federated: the default exchange and internal ones (RabbitMQ, "Federated Exchanges").
        """
        if policy is None or not exchange.name or exchange.internal:
            return []
        definition, vhost = policy.definition, exchange.vhost
        mine = [upstream for upstream in self._all.values() if upstream.vhost == vhost]
        if (name := definition.get("federation-upstream")) is not None:
            return [upstream for upstream in mine if upstream.name == name]
        if (pattern := definition.get("federation-upstream-pattern")) is not None:
            return [upstream for upstream in mine if re.search(str(pattern), upstream.name)]
        set_name = definition.get("federation-upstream-set")
        return mine if set_name == ALL else self._sets.get((vhost, str(set_name)), [])


def _members(parameter: Parameter, tables: Mapping[tuple[str, str], Table]) -> list[Upstream]:
    """The upstreams of a set that are there; none for a set that an older version has let in."""
    members: list[Upstream] = []
    try:
        items = read_set(parameter)
    except ConfigError as error:
        logger.error("%s", error.text)
        return members
    for name, overrides in items:
        table = tables.get((parameter.vhost, name))
        if table is None:
            logger.warning("%s '%s': there is no upstream '%s'", UPSTREAM_SET, parameter.name, name)
        else:
            members += _lenient(Table(table.where, {**table.values, **overrides}))
    return members


def _read(tables: Iterable[Table]) -> list[tuple[Upstream, Table]]:
    return [(read_upstream(table), table) for table in tables]


def _lenient(table: Table) -> list[Upstream]:
    """None for what an older version has let in, or what a set makes of it: the node runs without it."""
    try:
        return [read_upstream(table)]
    except ConfigError as error:
        logger.error("%s", error.text)
        return []
