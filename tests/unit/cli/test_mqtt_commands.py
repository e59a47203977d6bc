"""What ``leveret publish`` and ``subscribe`` refuse before they connect, and the formats of what is printed."""

import json
import ssl

import aiomqtt
import click
import pytest
from click.testing import CliRunner
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edge.cli.main import main
from edge.cli.mqtt_client import Lost, NotAnswered, Target
from edge.cli.mqtt_format import Format, NotJson, json_of
from edge.cli.mqtt_options import connection_options
from edge.cli.mqtt_properties import PropertyCommand


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("publish -t a", "one of -m, -f, -l, -s and -n"),
        ("publish -t a -m b -n", "one of -m, -f, -l, -s and -n"),
        ("publish -t a -m b -c", "say which by -i"),
        ("publish -t a -m b -V 311 -x 5", "-D and -x are of MQTT 5"),
        ("publish -t a -m b -V 4", "'4' is not one of"),
        ("publish -t a -m b -q 3", "0<=x<=2"),
        ("publish -t a -m b -D", "-D wants a packet"),
        ("publish -t a -m b -D ping content-type x", "-D wants a packet"),
        ("publish -t a -m b -D publish user-property x", "-D wants a packet"),
        ("publish -t a -m b -D publish colour red", "-D does not know 'colour'"),
        ("publish -t a -m b -D publish topic-alias many", "-D publish topic-alias many: "),
        ("publish -t a -m b -D publish session-expiry-interval 5", "-D publish session-expiry-interval 5: "),
        ("publish -t a -m b -I x -i y", "-i and -I both say"),
        ("publish -t a -m b -L mqtt://h/b", "-t or -L"),
        ("publish -m b", "-t or -L"),
        ("publish -L mqtt://u:secret@h -m b", "-L wants mqtt(s)://"),
        ("publish -L amqp://h/t -m b", "-L wants mqtt(s)://"),
        ("publish -L mqtt://h:65536/t -m b", "-L wants mqtt(s)://"),
        ("publish -L mqtt://h/t -m b -h other", "-L says what -h says"),
        ("publish -L mqtt://u@h/t -m b -u other", "-L says what -u says"),
        ("publish -t a -m b --unix /s -p 1", "--unix is instead of -p"),
        ("publish -t a -l --repeat 2", "--repeat is for -m, -f, -s and -n"),
        ("publish -t a -m b --will-qos 1", "a will needs --will-topic"),
        ("publish -t a -m b -x -2", "-1<=x<="),
        ("publish -t a -m b --insecure", "--insecure is of TLS, which --cafile"),
        ("publish -t a -m b --tls-version tlsv1.1 --cafile x", "'tlsv1.1' is not one of"),
        ("publish -t a -m b --tls-use-os-certs --cert x", "--cert and --key go together"),
        ("subscribe", "-t or -L"),
        ("subscribe -t a -R --retained-only", "leave nothing to print"),
        ("subscribe -t a --random-filter 0", "0<x<=100"),
        ("subscribe -t a -F %z", "-F does not know %z"),
        ("subscribe -t a -C 0", "x>=1"),
    ],
)
def test_wrong_usage_says_what_is_right(arguments: str, text: str) -> None:
    result = CliRunner().invoke(main, arguments.split())
    assert result.exit_code == 2
    assert text in result.output
    assert "secret" not in result.output


def test_a_file_that_is_not_there_is_named() -> None:
    result = CliRunner().invoke(main, ["publish", "-t", "a", "-f", "/nowhere/at-all"])
    assert result.exit_code == 1
    assert "cannot read /nowhere/at-all: No such file or directory" in result.output


@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        ("--cafile /nowhere/ca.pem", "--cafile and --capath name: [Errno 2] No such file"),
        (
            "--tls-use-os-certs --cert /nowhere/a --key /nowhere/b",
            "--cert and --key name: [Errno 2] No such file",
        ),
        ("--tls-use-os-certs --ciphers none-of-them", "--ciphers name: "),
    ],
)
def test_what_tls_cannot_use_is_named(arguments: str, text: str) -> None:
    result = CliRunner().invoke(main, ["publish", "-t", "a", "-n", *arguments.split()])
    assert result.exit_code == 1
    assert text in result.output


def message(payload: bytes, properties: Properties | None = None) -> aiomqtt.Message:
    return aiomqtt.Message("a/b", payload, qos=1, retain=True, mid=7, properties=properties)


def test_formats_show_every_field_and_escape() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.CorrelationData = b"\xff"
    properties.UserProperty = [("k", "v"), ("k", "w")]
    form = Format(r"%t %p %q %r %l %m %x %X %% %D %P %C @@ \t\n\q.")
    expected = b"a/b \xfe 1 1 1 7 fe FE % \xff k:v k:w  @ \t\n\\q."
    assert form.render(message(b"\xfe", properties)) == expected
    assert Format("@Y %U %I").render(message(b"")).startswith(b"20")


@pytest.mark.parametrize(
    ("template", "shown"),
    [
        ("%6t|%-6t|%06t|%6.2t|%.1t", b"   a/b|a/b   |   a/b|    a/|a"),
        ("%5l|%05l|%-5l|%-05l|%3q|%3r", b"    2|00002|2    |2    |1|1"),
        ("%4p|%-4p|%04p|%6x|%06X", b"  hi|hi  |  hi|  6869|006869"),
    ],
)
def test_widths_pad_and_cut_as_printf(template: str, shown: bytes) -> None:
    assert Format(template).render(message(b"hi")) == shown


def test_times_are_strftimes_with_nanoseconds() -> None:
    year, nanoseconds = Format("@Y @N").render(message(b"")).split()
    assert (len(year), len(nanoseconds)) == (4, 9)


def test_json_over_several_lines_and_what_is_not_json() -> None:
    assert b'\n\t"topic": "a/b",\n' in Format("%j", pretty=True).render(message(b"x"))
    with pytest.raises(NotJson, match="the payload on topic a/b is not JSON: "):
        Format("%J").render(message(b"{"))


def test_json_shows_properties_and_what_is_not_text() -> None:
    properties = Properties(PacketTypes.PUBLISH)
    properties.UserProperty = ("k", "v")
    properties.ContentType = "x"
    row = json.loads(json_of(message(b"\xff", properties)))
    assert row["properties"] == {"content-type": "x", "user-properties": [{"k": "v"}]}
    assert (row["payload"], row["mid"], row["retain"]) == ("\ufffd", 7, 1)
    assert json.loads(json_of(message(b"[1]"), parse_payload=True))["payload"] == [1]


def target(*arguments: str) -> Target:
    """What the options of a connection come to."""
    found: list[Target] = []

    @click.command(cls=PropertyCommand)
    @connection_options
    def probe(target: Target, /, url_topic: str | None) -> None:
        found.append(target)

    result = CliRunner().invoke(probe, arguments)
    assert result.exit_code == 0, result.output
    return found[0]


@pytest.mark.parametrize(
    ("url", "host", "port", "username", "password", "is_tls"),
    [
        ("mqtt://h/a", "h", 1883, None, None, False),
        ("mqtt://h:1/a/b", "h", 1, None, None, False),
        ("mqtts://u:p@h/a", "h", 8883, "u", "p", True),
        ("mqtt://v%2Fw%3Au:p%40q@h/a@b:c", "h", 1883, "v/w:u", "p@q", False),
        ("mqtt://[::1]:2/a", "::1", 2, None, None, False),
    ],
)
def test_a_url_is_spread_over_the_options(
    url: str, host: str, port: int, username: str | None, password: str | None, is_tls: bool
) -> None:
    found = target("-L", url)
    assert (found.host, found.port, found.username, found.password) == (host, port, username, password)
    assert (found.tls is not None) is is_tls


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("-1", 0xFFFF_FFFF), ("∞", 0xFFFF_FFFF), ("60", 60)])
def test_a_session_expires_after_seconds_or_never(text: str, seconds: int) -> None:
    assert target("-x", text).properties.SessionExpiryInterval == seconds


@pytest.mark.parametrize(
    ("arguments", "error", "text"),
    [
        ((), Lost(), "h:1883 closed the connection; so MQTT 3 refuses what is not allowed"),
        (("-V", "5"), Lost(), "h:1883 closed the connection, and gave no reason; its log may say more"),
        ((), aiomqtt.MqttError("Operation timed out"), "h:1883 did not answer within 10 s; so MQTT 3 refuses"),
        ((), NotAnswered(), "h:1883 closed the connection instead of answering; is it for MQTT, and does it want TLS"),
        ((), NotAnswered(has_waited=True), "h:1883 was silent for 10 s instead of answering; is it for MQTT"),
        (("--tls-use-os-certs",), NotAnswered(), "does it want a client certificate (--cert and --key)?"),
        (("--tls-use-os-certs",), aiomqtt.MqttError("refused"), "h:8883: refused; is a broker with TLS"),
        (("-p", "7"), aiomqtt.MqttError("refused"), "no MQTT connection to h:7: refused; is a broker running there"),
    ],
)  # fmt: skip
def test_a_connection_that_fails_is_explained(
    arguments: tuple[str, ...], error: aiomqtt.MqttError, text: str
) -> None:
    assert text in target("-h", "h", *arguments).loss(error)


def test_tls_that_fails_is_explained() -> None:
    untrusted, other = aiomqtt.MqttError("x"), aiomqtt.MqttError("x")
    untrusted.__cause__ = ssl.SSLCertVerificationError(1, "failed")
    untrusted.__cause__.verify_message = "unknown authority"
    other.__cause__ = ssl.SSLError(1, "an error")
    other.__cause__.reason = "WRONG_VERSION_NUMBER"
    found = target("-h", "h", "--tls-use-os-certs")
    assert "certificate of the broker at h:8883 is not trusted: unknown authority; see" in found.loss(
        untrusted
    )
    assert "no TLS with h:8883: WRONG_VERSION_NUMBER; is that a listener for TLS?" in found.loss(other)
