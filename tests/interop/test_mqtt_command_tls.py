"""``leveret publish`` and ``subscribe`` with a Mosquitto whose listeners speak TLS."""

import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.helpers.certificates import Authority, Pair
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.ports import free_port
from tests.interop.mqtt_commands import ENV, PUBLISH, SUBSCRIBE, WAIT_S, execute


@dataclass(frozen=True)
class Broker:
    """A Mosquitto with TLS on ``port``, and on ``mutual_port`` for clients with a certificate."""

    plain_port: int
    port: int
    mutual_port: int
    authority: Authority
    other: Authority
    client: Pair


@pytest.fixture(scope="module")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    directory = tmp_path_factory.mktemp("tls")
    authority, other = Authority(directory, "authority"), Authority(directory, "other")
    server = authority.sign("server", "localhost")
    ports = free_port(), free_port()
    files = f"cafile {authority.cert}\ncertfile {server.cert}\nkeyfile {server.key}\n"
    mosquitto = Mosquitto(
        directory / "mosquitto",
        f"listener {ports[0]} 127.0.0.1\n{files}"
        f"listener {ports[1]} 127.0.0.1\n{files}require_certificate true\nuse_identity_as_username true\n",
    )
    mosquitto.start()
    yield Broker(mosquitto.mqtt_port, *ports, authority, other, authority.sign("device"))
    mosquitto.stop()


def test_what_is_published_over_tls_comes_over_tls(broker: Broker, tmp_path: Path) -> None:
    hashed = tmp_path / "hashed"
    hashed.mkdir()
    shutil.copy(broker.authority.cert, hashed)
    subprocess.run(["openssl", "rehash", hashed], check=True)
    client = ("--cert", broker.client.cert, "--key", broker.client.key)
    ca = ("--cafile", broker.authority.cert)
    for number, arguments in enumerate(
        (
            ("-h", "localhost", "-p", broker.port, *ca, "-t", "tls"),
            (
                "-h",
                "localhost",
                "-p",
                broker.port,
                "--capath",
                hashed,
                "-t",
                "tls",
                "--tls-version",
                "tlsv1.3",
            ),
            ("-h", "127.0.0.1", "-p", broker.port, *ca, "--insecure", "-t", "tls", "--tls-alpn", "mqtt"),
            ("-L", f"mqtts://localhost:{broker.port}/tls", *ca, "--ciphers", "ECDHE+AESGCM"),
            ("-h", "localhost", "-p", broker.mutual_port, *ca, *client, "-t", "tls"),
        )
    ):
        text = f"message {number}"
        done = execute(*PUBLISH["leveret"], *map(str, arguments), "-m", text, "-q", "1", "-r")
        assert (done.returncode, done.stderr) == (0, b"")
        done = execute(*SUBSCRIBE["leveret"], *map(str, arguments), "-C", "1")
        assert (done.returncode, done.stderr, done.stdout) == (0, b"", f"{text}\n".encode())


def test_who_is_not_trusted_is_told_what_to_do(broker: Broker) -> None:
    place = f"localhost:{broker.port}"
    ca = ("--cafile", broker.authority.cert)
    for arguments, text in (
        (
            ("-h", "localhost", "-p", broker.port, "--cafile", broker.other.cert),
            f"the certificate of the broker at {place} is not trusted: ",
        ),
        (
            ("-h", "localhost", "-p", broker.port, "--tls-use-os-certs", "--insecure"),
            f"the certificate of the broker at {place} is not trusted: ",
        ),
        (
            ("-h", "127.0.0.1", "-p", broker.port, *ca),
            "IP address mismatch, certificate is not valid for '127.0.0.1'.; see --cafile, and --host",
        ),
        (
            ("-h", "localhost", "-p", broker.mutual_port, *ca),
            "closed the connection instead of answering; is it for MQTT, and does it want a client certificate",
        ),
        (("-h", "localhost", "-p", broker.port), "and does it want TLS (--cafile)?"),
        # A reset or an end: it depends on how far the handshake was.
        (("-h", "localhost", "-p", broker.plain_port, *ca), "TLS"),
    ):
        # In a process of its own: paho leaves the socket of a handshake that failed to the garbage collector.
        done = subprocess.run(
            [*PUBLISH["leveret"], *map(str, arguments), "-t", "tls", "-m", "x", "-q", "1"],
            env=ENV,
            capture_output=True,
            timeout=WAIT_S,
        )
        assert done.returncode == 1
        assert text in done.stderr.decode()
        assert b"Traceback" not in done.stderr
