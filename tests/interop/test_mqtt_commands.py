"""``leveret publish`` and ``subscribe`` beside mosquitto_pub and mosquitto_sub, at a node and at Mosquitto."""

import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.helpers.ports import free_port
from tests.interop.mqtt_commands import ENV, PUBLISH, SUBSCRIBE, keep, published, run, waiting


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, int]]:
    """The MQTT port of each broker."""
    directory = tmp_path_factory.mktemp("commands")
    leveret, mosquitto = LeveretProcess(directory / "leveret"), Mosquitto(directory / "mosquitto")
    leveret.start()
    mosquitto.start()
    yield {"leveret": leveret.ports.mqtt, "mosquitto": mosquitto.mqtt_port}
    mosquitto.stop()
    leveret.stop()


@pytest.fixture(params=["leveret", "mosquitto"])
def port(request: pytest.FixtureRequest, nodes: dict[str, int]) -> int:
    return nodes[request.param]


@pytest.mark.parametrize("by", ["leveret", "mosquitto"])
def test_each_way_to_say_a_payload_publishes_what_mosquitto_pub_does(
    port: int, by: str, tmp_path: Path
) -> None:
    (tmp_path / "payload").write_bytes(b"of\na \x00 file")
    name = f"ways-{by}"
    keep(port, name, "-t", f"{name}/#")
    for arguments, stdin in (
        (("-m", "grüße"), b""),
        (("-f", str(tmp_path / "payload")), b""),
        (("-s",), b"all\nof it\n"),
        (("-l",), b"one\n\ntwo\nthree"),
        (("-n",), b""),
    ):
        published(port, "-t", f"{name}/a", "-q", "1", *arguments, by=by, stdin=stdin)
    lines = waiting("leveret", port, name, 8, "-t", f"{name}/#", "-F", "%t %q %r %l %x").splitlines()
    bodies = ["grüße".encode(), b"of\na \x00 file", b"all\nof it\n", b"one", b"", b"two", b"three", b""]
    assert lines == [f"{name}/a 1 0 {len(body)} {body.hex()}".encode() for body in bodies]


@pytest.mark.parametrize(
    "arguments",
    [
        (),
        ("-v",),
        ("-N",),
        ("-T", "+/b"),
        ("-R",),
        ("-F", r"%t|%p|%q|%r|%l|%x|%X|%%|@@\t\\"),
        ("-F", "%8t|%-8t|%08t|%.3t|%4l|%04l|%-4l|%4q|%4r|%5p|%-5p|%9%|"),
        ("-F", "%j", "--pretty", "-T", "#"),
        ("-V", "mqttv5", "-F", "%20C|%20.4C|%4E|%04F|%04A|%04S"),
        ("-V", "mqttv5", "-F", "%C|%R|%D|%P|%t"),
    ],
    ids=" ".join,
)
def test_subscribe_prints_what_mosquitto_sub_prints(port: int, arguments: tuple[str, ...]) -> None:
    published(
        port,
        *(
            "-V",
            "5",
            "-t",
            "out/a",
            "-m",
            "1",
            "-q",
            "1",
            "-r",
            "-D",
            "publish",
            "content-type",
            "text/plain",
        ),
        *("-D", "publish", "response-topic", "answers", "-D", "publish", "correlation-data", "xyz"),
        *("-D", "publish", "user-property", "k", "v", "-D", "publish", "user-property", "k", "w"),
    )
    published(port, "-t", "out/b", "-m", "2", "-q", "2", "-r", by="mosquitto")
    ours, theirs = (
        run(SUBSCRIBE[each], port, "-t", "out/a", "-t", "out/b", "-q", "2", "-C", "2", "-W", "1", *arguments)
        for each in ("leveret", "mosquitto")
    )
    assert (ours.stdout, ours.returncode) == (theirs.stdout, theirs.returncode)
    assert ours.returncode == (27 if {"-T", "-R"} & {*arguments} else 0)


def test_json_has_mosquitto_subs_keys_and_values(port: int) -> None:
    published(port, "-t", "json", "-m", '{"a": 1}', "-r", "-D", "publish", "user-property", "k", "v")
    for version in ("mqttv311", "mqttv5"):
        for template in ("%j", "%J"):
            arguments = ("-t", "json", "-C", "1", "-V", version, "-F", template)
            ours, theirs = (
                json.loads(run(SUBSCRIBE[each], port, *arguments).stdout) for each in ("leveret", "mosquitto")
            )
            assert ours.pop("tst")
            assert theirs.pop("tst")
            if version == "mqttv5":
                # Ours is a list, because names may come again.
                assert ours["properties"].pop("user-properties") == [{"k": "v"}]
                assert theirs["properties"].pop("user-properties") == {"k": "v"}
            assert ours == theirs


def test_a_will_and_a_retained_message_that_is_cleared(port: int) -> None:
    keep(port, "will-watcher", "-t", "will")
    dying = subprocess.Popen(
        [
            *SUBSCRIBE["leveret"],
            *("-h", "127.0.0.1", "-p", str(port), "-t", "alive", "--will-topic", "will"),
            *("--will-payload", "gone", "--will-qos", "1", "--will-retain"),
        ],
        env=ENV,
        stdout=subprocess.PIPE,
    )
    assert dying.stdout is not None
    published(port, "-t", "alive", "-m", "yes", "-r")
    assert dying.stdout.readline() == b"yes\n"
    dying.kill()
    dying.wait()
    dying.stdout.close()
    assert waiting("leveret", port, "will-watcher", 1, "-t", "will", "-F", "%p %q %r") == b"gone 1 0\n"
    published(port, "-t", "will", "-n", "-r")
    cleared = run(SUBSCRIBE["leveret"], port, "-t", "will", "-W", "1")
    assert (cleared.returncode, cleared.stdout) == (27, b"")


def test_a_session_ends_after_its_expiry(port: int) -> None:
    ours = ("-i", "short", "-c", "-x", "1", "-t", "short", "-q", "1")
    assert run(SUBSCRIBE["leveret"], port, *ours, "-E").returncode == 0
    published(port, "-t", "short", "-m", "lost", "-q", "1")
    time.sleep(2.0)
    done = run(SUBSCRIBE["leveret"], port, *ours, "-W", "1")
    assert (done.returncode, done.stdout) == (27, b"")


def test_errors_say_what_where_and_what_to_do(nodes: dict[str, int]) -> None:
    nobody = free_port()
    for command in (PUBLISH["leveret"], SUBSCRIBE["leveret"]):
        arguments = ("-t", "t", "-n") if command is PUBLISH["leveret"] else ("-t", "t")
        done = run(command, nobody, *arguments)
        assert done.returncode == 1
        assert f"no MQTT connection to 127.0.0.1:{nobody}: ".encode() in done.stderr
        assert b"are -h and -p right?" in done.stderr
        for version in ("311", "5"):
            done = run(command, nodes["leveret"], *arguments, "-u", "guest", "-P", "wrong", "-V", version)
            assert done.returncode == 1
            assert f"the broker at 127.0.0.1:{nodes['leveret']} refused user 'guest'".encode() in done.stderr
            assert b"wrong" not in done.stderr
