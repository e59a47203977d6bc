"""Type x-federation-upstream, which federation links declare at their upstream (RabbitMQ, "Federated Exchanges")."""

from edge.core.binding import Binding
from edge.core.errors import PreconditionFailed
from edge.core.exchanges.fanout import FanoutExchange
from edge.core.message import Message, amqp_properties
from edge.core.properties import headers as decode_headers
from edge.core.table import type_name


class FederationUpstreamExchange(FanoutExchange):
    """Passes on only what has not been to the downstream yet and has hops left.

    RabbitMQ's type ``x-federation-upstream``: the filter runs here, before the message crosses the link.
    """

    type = "x-federation-upstream"
    by_key = False
    compared_arguments = ("x-max-hops", "x-downstream-name", "x-downstream-vhost")

    def check_arguments(self) -> None:
        super().check_arguments()
        if "x-max-hops" not in self.arguments:
            raise PreconditionFailed("Argument x-max-hops missing")
        if type_name(self.arguments["x-max-hops"]) != "long":
            raise PreconditionFailed("Argument x-max-hops must be of type long")

    def matching(self, message: Message) -> list[Binding]:
        received = decode_headers(amqp_properties(message)).get("x-received-from")
        if isinstance(received, list) and received:
            hops = self.arguments["x-max-hops"]
            if not isinstance(hops, int) or len(received) >= hops:
                return []
            here = (self.arguments.get("x-downstream-name"), self.arguments.get("x-downstream-vhost"))
            for visit in received:
                if isinstance(visit, dict) and (visit.get("cluster-name"), visit.get("vhost")) == here:
                    return []
        return super().matching(message)
