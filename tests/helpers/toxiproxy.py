"""The real Toxiproxy server, driven by toxiproxy-python: a link that can be cut, slowed and torn."""

import shutil
from pathlib import Path

from toxiproxy import Toxiproxy
from toxiproxy.proxy import Proxy

from tests.helpers.ports import answers, free_port
from tests.helpers.process import ServerProcess

BUILT = Path(__file__).parents[2] / ".tools" / "bin" / "toxiproxy-server"


def program() -> str:
    found = str(BUILT) if BUILT.exists() else shutil.which("toxiproxy-server")
    assert found, "the Toxiproxy server is not built; run: make test-setup"
    return found


class Link:
    """One proxied port: clients connect to ``port``, and reach what listens on ``target_port`` when the link allows it.

    Toxics are named ``<type>_<stream>``; ``stream`` is "upstream" (client to server) or "downstream".
    """

    def __init__(self, proxy: Proxy, target_port: int) -> None:
        self.proxy = proxy
        self.port = int(proxy.listen.rsplit(":", 1)[1])
        self.target_port = target_port

    def cut(self) -> None:
        """Close every connection and refuse new ones."""
        self.proxy.disable()

    def restore(self) -> None:
        """Accept connections again; toxics stay."""
        self.proxy.enable()

    def add(self, kind: str, stream: str = "downstream", toxicity: float = 1.0, **attributes: int) -> None:
        """Add a toxic: latency(latency, jitter ms), bandwidth(rate KB/s), slicer(average_size, size_variation,
        delay us), timeout(timeout ms), reset_peer(timeout ms), limit_data(bytes), slow_close(delay ms)."""
        self.proxy.add_toxic(type=kind, stream=stream, toxicity=toxicity, attributes=attributes)

    def clear(self) -> None:
        """Remove every toxic."""
        for name in self.proxy.toxics():
            self.proxy.destroy_toxic(name)

    def heal(self) -> None:
        """Remove every toxic and accept connections."""
        self.clear()
        self.restore()


class ToxiproxyServer(ServerProcess):
    """One Toxiproxy server; ``link(port)`` opens a proxied port to a server on loopback.

    toxiproxy-python keeps the server's address in a class attribute, so one server serves a whole test run.
    """

    name = "toxiproxy"

    def __init__(self, directory: Path) -> None:
        self.api_port = free_port()
        super().__init__(
            directory,
            [program(), "-host", "127.0.0.1", "-port", str(self.api_port)],
            # Its default is a line for every step of every request.
            {"LOG_LEVEL": "warn"},
        )
        self.client = Toxiproxy()
        self.client.update_api_consumer("127.0.0.1", self.api_port)

    def ready(self) -> bool:
        return answers(self.api_port)

    def link(self, target_port: int) -> Link:
        """A new proxied port to 127.0.0.1:target_port."""
        port = free_port()
        proxy = self.client.create(f"127.0.0.1:{target_port}", f"link-{port}", listen=f"127.0.0.1:{port}")
        return Link(proxy, target_port)

    def destroy_links(self) -> None:
        """Close every proxied port."""
        self.client.destroy_all()
