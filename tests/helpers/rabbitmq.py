"""A real RabbitMQ from the system's packages, run beside any other: own node name, epmd, ports, data and cookie."""

import os
import subprocess
import tempfile
import urllib.parse
from collections.abc import Sequence
from pathlib import Path

from tests.helpers.ports import answers, free_port
from tests.helpers.process import ServerProcess


def scripts_directory() -> Path:
    """Where RabbitMQ's own scripts are; the ones on the PATH are Debian's wrappers, which change the user."""
    found = sorted(Path("/usr/lib/rabbitmq/lib").glob("rabbitmq_server-*/sbin"))
    assert found, "RabbitMQ is not installed; run: make test-setup"
    return found[-1]


class Epmd(ServerProcess):
    """Erlang's port mapper in the foreground. Left to itself, Erlang starts one that outlives every node."""

    name = "epmd"

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        super().__init__(directory, ["epmd", "-address", "127.0.0.1", "-port", str(self.port)])

    def ready(self) -> bool:
        return answers(self.port)


class RabbitMQ(ServerProcess):
    """One RabbitMQ node on loopback, user guest/guest, vhost ``/``; takes 5 to 20 s to start, so share it.

    ``amqp_port``, ``uri()``; ``ctl("list_queues")`` runs rabbitmqctl; ``kill()`` and ``start()`` keep the data.
    """

    name = "rabbitmq"
    start_timeout_s = 90.0
    stop_timeout_s = 20.0

    def __init__(self, directory: Path, plugins: Sequence[str] = (), extra_config: str = "") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.amqp_port = free_port()
        self._epmd = Epmd(directory)
        # The Erlang cookie is read from $HOME and must be private to its owner. A short path: Erlang also keeps
        # sockets and crash dumps there.
        self._home = tempfile.TemporaryDirectory(prefix="leveret-rabbitmq-")
        self._write_files(directory, plugins, extra_config)
        super().__init__(
            directory, [str(scripts_directory() / "rabbitmq-server")], self._environment(directory)
        )

    def _write_files(self, directory: Path, plugins: Sequence[str], extra_config: str) -> None:
        cookie = Path(self._home.name) / ".erlang.cookie"
        cookie.write_text("leverettests")
        cookie.chmod(0o400)
        (directory / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n")
        (directory / "rabbitmq.conf").write_text(
            f"listeners.tcp.1 = 127.0.0.1:{self.amqp_port}\n"
            "log.console = true\n"
            "log.console.level = info\n"
            "log.file = false\n"
            # The default alarm stops every publisher when the disk has less than 50 MB left; a test machine may.
            "disk_free_limit.absolute = 1MB\n"
            f"{extra_config}"
        )

    def _environment(self, directory: Path) -> dict[str, str]:
        return {
            "HOME": self._home.name,
            "ERL_EPMD_PORT": str(self._epmd.port),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODENAME": f"leveret-{os.getpid()}-{self.amqp_port}@localhost",
            "RABBITMQ_DIST_PORT": str(free_port()),
            "RABBITMQ_NODE_PORT": str(self.amqp_port),
            "RABBITMQ_MNESIA_BASE": str(directory / "mnesia"),
            "RABBITMQ_LOG_BASE": str(directory / "log"),
            "RABBITMQ_CONF_ENV_FILE": str(directory / "no-env.conf"),
            "RABBITMQ_CONFIG_FILE": str(directory / "rabbitmq.conf"),
            "RABBITMQ_ADVANCED_CONFIG_FILE": str(directory / "no-advanced.config"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(directory / "enabled_plugins"),
            # The shell script becomes the Erlang VM, so that our signals reach it.
            "RABBITMQ_ALLOW_INPUT": "",
            "RUNNING_UNDER_SYSTEMD": "true",
            # Two cores are shared with the tests and the nodes they start.
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-noinput +S 2:2 +sbwt none",
        }

    def launch(self) -> None:
        if not self._epmd.running:
            self._epmd.start()
        super().launch()

    def ready(self) -> bool:
        return "Server startup complete" in self.log_text() and answers(self.amqp_port)

    def close(self) -> None:
        """End the node, its port mapper and its home directory; the node cannot be started again."""
        self.kill()
        self._epmd.kill()
        self._home.cleanup()

    def uri(self, vhost: str = "/", port: int | None = None) -> str:
        """AMQP URI of the node; another port for one that goes through a proxy."""
        return f"amqp://guest:guest@127.0.0.1:{port or self.amqp_port}/{urllib.parse.quote(vhost, safe='')}"

    def ctl(self, *arguments: str) -> str:
        """Run rabbitmqctl against this node and return what it printed; takes about 2 s."""
        done = subprocess.run(
            [str(scripts_directory() / "rabbitmqctl"), "--quiet", *arguments],
            env=self._env,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"rabbitmqctl {' '.join(arguments)}: {done.stdout}{done.stderr}"
        return done.stdout
