"""What else mosquitto_pub and mosquitto_sub can be told, told to ``leveret publish`` and ``subscribe``."""

import re
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

from edge.cli.main import main
from tests.helpers.leveret import LeveretProcess
from tests.helpers.mosquitto import Mosquitto
from tests.interop.mqtt_commands import (
    ENV,
    PUBLISH,
    ROOT,
    SUBSCRIBE,
    WAIT_S,
    execute,
    keep,
    published,
    run,
    waiting,
)


@pytest.fixture(scope="module")
def port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    leveret = LeveretProcess(tmp_path_factory.mktemp("options"))
    leveret.start()
    yield leveret.ports.mqtt
    leveret.stop()


def started(command: tuple[str, ...], port: int, *arguments: str) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(
        [*command, "-h", "127.0.0.1", "-p", str(port), *arguments],
        env=ENV,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def listening(port: int, topic: str, *arguments: str) -> "subprocess.Popen[bytes]":
    """A subscriber that is there: it has printed the retained message of its topic."""
    published(port, "-t", topic, "-m", "ready", "-r", "-q", "1")
    process = started(SUBSCRIBE["leveret"], port, "-t", topic, *arguments)
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    return process


def test_a_url_says_who_where_and_what(port: int) -> None:
    published(port, "-t", "url/a%2Fb", "-m", "by url", "-r", "-q", "1")
    place = f"127.0.0.1:{port}/url/a%2Fb/#"
    # Only ours decodes user and password, which may have to be: vhost:user.
    for by, url in (("leveret", f"mqtt://%2F%3Aguest:guest@{place}"), ("mosquitto", f"mqtt://{place}")):
        done = execute(*SUBSCRIBE[by], "-L", url, "-C", "1", "-v")
        assert (done.stdout, done.stderr, done.returncode) == (b"url/a%2Fb by url\n", b"", 0)


def test_a_unix_socket_leads_to_a_broker(tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto", f"listener 0 {tmp_path / 'socket'}\n")
    mosquitto.start()
    try:
        where = ("--unix", str(tmp_path / "socket"), "-t", "unix")
        for words in (
            (*PUBLISH["leveret"], *where, "-m", "x", "-r"),
            (*SUBSCRIBE["leveret"], *where, "-C", "1"),
        ):
            done = execute(*words)
            assert (done.stderr, done.returncode) == (b"", 0)
        assert done.stdout == b"x\n"
    finally:
        mosquitto.stop()


def test_debug_shows_the_packets_and_the_identifier_of_a_prefix(port: int) -> None:
    process = started(SUBSCRIBE["leveret"], port, "-t", "debug", "-I", "gauge-", "-E", "-d", "--nodelay")
    out, err = process.communicate(timeout=WAIT_S)
    assert (out, process.returncode) == (b"", 0)
    assert f"client_id=b'gauge-{process.pid}'".encode() in err
    for packet in (b"Sending CONNECT", b"Received CONNACK", b"Sending SUBSCRIBE", b"Received SUBACK"):
        assert packet in err


def test_unsubscribing_ends_one_subscription_of_a_session(port: int) -> None:
    keep(port, "leaver", "-t", "leave/a", "-t", "leave/b")
    done = run(SUBSCRIBE["leveret"], port, "-c", "-i", "leaver", "-U", "leave/a", "-E")
    assert (done.returncode, done.stderr) == (0, b"")
    for topic in ("leave/a", "leave/b"):
        published(port, "-t", topic, "-m", topic, "-q", "1")
    assert waiting("leveret", port, "leaver", 1, "-U", "none") == b"leave/b\n"


def test_a_session_may_be_given_up_by_the_properties_of_disconnect(port: int) -> None:
    """3.14.2.2.2: the session expiry interval of DISCONNECT replaces that of CONNECT."""
    for client_id, expiry_s, kept in (("stays", "60", b"x\n"), ("leaves", "0", b"")):
        goodbye = ("-D", "disconnect", "session-expiry-interval", expiry_s)
        keep(port, client_id, "-x", "60", "-t", "goodbye", *goodbye)
        published(port, "-t", "goodbye", "-m", "x", "-q", "1")
        session = ("-i", client_id, "-c", "-V", "5", "-t", "goodbye", "-q", "1", "-W", "1")
        assert run(SUBSCRIBE["leveret"], port, *session).stdout == kept


def test_a_message_is_repeated_and_lines_stay_in_order_whatever_the_window(port: int) -> None:
    keep(port, "order", "-t", "order/#")
    published(port, "-t", "order/again", "-m", "again", "-q", "1", "--repeat", "3", "--repeat-delay", "0.01")
    numbers = [str(number) for number in range(300)]
    published(port, "-t", "order/20", "-l", "-q", "1", stdin="\n".join(numbers).encode())
    published(port, "-t", "order/1", "-l", "-q", "2", "-M", "1", stdin="\n".join(numbers[:30]).encode())
    lines = waiting("leveret", port, "order", 333, "-t", "order/#").decode().split()
    assert lines == ["again"] * 3 + numbers + numbers[:30]


def test_retained_messages_are_cleared_but_for_those_filtered_out(port: int) -> None:
    for name in ("a", "b", "keep"):
        published(port, "-t", f"clear/{name}", "-m", name, "-r", "-q", "1")
    arguments = ("-t", "clear/#", "--remove-retained", "-T", "clear/keep", "--retained-only")
    # Clearing is publishing an empty message, which comes as one that is not retained.
    done = run(SUBSCRIBE["leveret"], port, *arguments)
    assert (sorted(done.stdout.split()), done.returncode) == ([b"a", b"b"], 0)
    done = run(SUBSCRIBE["leveret"], port, "-t", "clear/#", "-W", "1")
    assert (done.stdout, done.returncode) == (b"keep\n", 27)


def test_a_random_filter_prints_about_so_many(port: int) -> None:
    keep(port, "dice", "-t", "dice")
    published(port, "-t", "dice", "-m", "x", "-q", "1", "--repeat", "400")
    done = run(
        SUBSCRIBE["leveret"],
        port,
        "-c",
        "-i",
        "dice",
        "-t",
        "dice",
        "-q",
        "1",
        "-W",
        "1",
        "--random-filter",
        "50",
    )
    # Nine standard deviations on each side.
    assert 110 < done.stdout.count(b"x") < 290


def test_ctrl_c_ends_a_subscriber_in_order(port: int) -> None:
    will = ("--will-topic", "ctrl-c/will", "--will-payload", "lost", "--will-qos", "1")
    keep(port, "mourner", "-t", "ctrl-c/will")
    for number in (signal.SIGINT, signal.SIGTERM):
        process = listening(port, "ctrl-c", *will)
        process.send_signal(number)
        _, err = process.communicate(timeout=WAIT_S)
        assert (process.returncode, err) == (0, b"")
    done = run(SUBSCRIBE["leveret"], port, "-c", "-i", "mourner", "-t", "ctrl-c/will", "-W", "1")
    assert done.stdout == b"", "a client that was interrupted says goodbye"


def test_ctrl_c_ends_a_publisher_with_130(port: int) -> None:
    keep(port, "hearer", "-t", "interrupted")
    process = started(PUBLISH["leveret"], port, "-t", "interrupted", "-l", "-q", "1")
    assert process.stdin is not None
    process.stdin.write(b"before\n")
    process.stdin.flush()
    assert waiting("leveret", port, "hearer", 1, "-t", "interrupted") == b"before\n"
    process.send_signal(signal.SIGINT)
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 130
    assert b"Traceback" not in err


def test_a_broker_that_goes_ends_a_publisher_that_waits_for_a_line(tmp_path: Path) -> None:
    mosquitto = Mosquitto(tmp_path / "mosquitto")
    mosquitto.start()
    keep(mosquitto.mqtt_port, "hearer", "-t", "gone")
    process = started(PUBLISH["leveret"], mosquitto.mqtt_port, "-t", "gone", "-l", "-q", "1")
    assert process.stdin is not None
    assert process.stderr is not None
    process.stdin.write(b"before\n")
    process.stdin.flush()
    assert waiting("leveret", mosquitto.mqtt_port, "hearer", 1, "-t", "gone") == b"before\n"
    mosquitto.kill()
    assert process.wait(WAIT_S) == 1, "while standard input is open"
    (line,) = process.stderr.read().decode().splitlines()
    assert line.startswith(f"Error: the broker at 127.0.0.1:{mosquitto.mqtt_port} closed the connection")
    process.communicate()


def test_a_pipe_that_nobody_reads_any_more_ends_a_subscriber_quietly(port: int) -> None:
    process = listening(port, "pipe")
    assert process.stdout is not None
    process.stdout.close()
    published(port, "-t", "pipe", "-m", "x", "-q", "1")
    assert process.wait(WAIT_S) == 1
    assert process.stderr is not None
    assert process.stderr.read() == b""
    process.stderr.close()
    assert process.stdin is not None
    process.stdin.close()


def test_who_takes_a_client_identifier_ends_the_other_subscriber(port: int) -> None:
    process = listening(port, "taken", "-i", "one", "-V", "5")
    keep(port, "one", "-t", "taken", "-V", "5")
    _, err = process.communicate(timeout=WAIT_S)
    assert process.returncode == 1
    assert f"the broker at 127.0.0.1:{port} closed the connection: Session taken over".encode() in err


def test_a_subscriber_connects_again_when_the_broker_is_back(tmp_path: Path) -> None:
    leveret = LeveretProcess(tmp_path)
    leveret.start()
    process = listening(leveret.ports.mqtt, "again")
    leveret.kill()
    assert process.stderr is not None
    warning = process.stderr.readline().decode()
    assert f"Warning: the broker at 127.0.0.1:{leveret.ports.mqtt} closed the connection" in warning
    assert "trying again in" in warning
    leveret.start()
    assert process.stdout is not None
    assert process.stdout.readline() == b"ready\n"
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=WAIT_S)
    assert process.returncode == 0
    leveret.stop()


def test_quiet_says_nothing(port: int) -> None:
    done = run(PUBLISH["leveret"], port, "-t", "t", "-n", "-u", "guest", "-P", "wrong", "--quiet")
    assert (done.returncode, done.stderr) == (1, b"")


@pytest.mark.parametrize(("ours", "theirs"), [("publish", "mosquitto_pub"), ("subscribe", "mosquitto_sub")])
def test_each_option_of_mosquitto_is_there_or_left_out_in_the_documents(ours: str, theirs: str) -> None:
    text = subprocess.run([theirs, "--help"], capture_output=True, text=True, timeout=WAIT_S).stdout
    wanted = {*re.findall(r"(?<![\w-])--?[A-Za-z][\w-]*", text)}
    with click.Context(main) as context:
        command = main.get_command(context, ours)
    assert command is not None
    # -D is taken by PropertyCommand, before click sees it.
    known = {"-D", "--property", "--help", *(each for option in command.params for each in option.opts)}
    rows = re.search(r"\| left out \|.*?\n\n", (ROOT / "docs" / "commands.md").read_text(), re.DOTALL)
    assert rows is not None
    left_out = set(re.findall(r"`(--?[\w-]+)`", rows[0]))
    assert len(wanted) > 40
    assert wanted - known == left_out
