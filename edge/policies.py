"""Policies and operator policies: runtime state that is kept in the store (RabbitMQ, "Parameters and Policies")."""

from typing import Final

import msgspec

from edge.core.exchange import Exchange
from edge.core.names import CLASSIC, QUORUM
from edge.core.policy import CLASSIC_QUEUES, EXCHANGES, QUORUM_QUEUES, Policy, merged, policy_for
from edge.core.queue import Queue
from edge.policy_keys import APPLY_TO, check_definition
from edge.store.records import entity_key
from edge.store.store import Store
from edge.tables import TEXT, Key, check_value

KIND_POLICY: Final = "policy"
KIND_OPERATOR_POLICY: Final = "operator-policy"


class PolicyRecord(msgspec.Struct):
    """As the store keeps it."""

    vhost: str
    name: str
    pattern: str
    definition: dict[str, object]
    apply_to: str
    priority: int


class Policies:
    """All of a node; who changes one lets the objects of its vhost go by it (``Broker.set_policy``)."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._by_kind: dict[str, dict[tuple[str, str], Policy]] = {KIND_POLICY: {}, KIND_OPERATOR_POLICY: {}}

    async def recover(self) -> None:
        """Bring back what the store holds."""
        for kind in self._by_kind:
            for value in (await self._store.records(kind)).values():
                record = msgspec.json.decode(value, type=PolicyRecord)
                policy = Policy(
                    record.vhost,
                    record.name,
                    record.pattern,
                    record.definition,
                    apply_to=record.apply_to,
                    priority=record.priority,
                    operator=kind == KIND_OPERATOR_POLICY,
                )
                self._by_kind[kind][policy.vhost, policy.name] = policy

    def list(self, *, operator: bool = False) -> list[Policy]:
        """All policies, or all operator policies."""
        return list(self._by_kind[_kind(operator)].values())

    def find(self, vhost: str, name: str, *, operator: bool = False) -> Policy | None:
        return self._by_kind[_kind(operator)].get((vhost, name))

    def put(self, policy: Policy, *, stored: bool) -> None:
        """Make or change a policy; one that is not ``stored`` is gone with the process. Raises ConfigError."""
        where = f"{'operator policy' if policy.operator else 'policy'} '{policy.name}'"
        check_value(f"{where}: apply-to", policy.apply_to, Key("apply-to", (TEXT,), choices=APPLY_TO))
        check_definition(where, policy.definition, operator=policy.operator)
        self._by_kind[_kind(policy.operator)][policy.vhost, policy.name] = policy
        if stored:
            record = PolicyRecord(
                policy.vhost,
                policy.name,
                policy.pattern,
                policy.definition,
                policy.apply_to,
                policy.priority,
            )
            key = entity_key(policy.vhost, policy.name)
            self._store.put(_kind(policy.operator), key, msgspec.json.encode(record))

    def remove(self, vhost: str, name: str, *, operator: bool) -> bool:
        """Forget a policy; return whether there was one."""
        if self._by_kind[_kind(operator)].pop((vhost, name), None) is None:
            return False
        self._store.put(_kind(operator), entity_key(vhost, name), None)
        return True

    def of(self, entity: Queue | Exchange, *, operator: bool = False) -> Policy | None:
        """The policy, or operator policy, in force for a queue or an exchange."""
        policies = self._by_kind[_kind(operator)]
        if not policies:
            return None
        kinds = {CLASSIC: CLASSIC_QUEUES, QUORUM: QUORUM_QUEUES}
        kind = EXCHANGES if isinstance(entity, Exchange) else kinds[entity.type]
        return policy_for(policies.values(), entity.vhost, kind, entity.name)

    def definition_for(self, entity: Queue | Exchange) -> dict[str, object]:
        """What policies together say to a queue or an exchange."""
        own, cap = self.of(entity), self.of(entity, operator=True)
        if cap is None:
            return {} if own is None else own.definition
        return merged({} if own is None else own.definition, cap.definition)


def _kind(operator: bool) -> str:
    return KIND_OPERATOR_POLICY if operator else KIND_POLICY
