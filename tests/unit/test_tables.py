"""Tables of a configuration file are checked against their keys, and a mistake reads the same everywhere."""

import pytest

from edge.core.errors import ConfigError
from edge.tables import BOOLEAN, INTEGER, NUMBER, TABLE, TEXT, TEXTS, Key, Table, check_table

KEYS = (
    Key("name", (TEXT,), required=True),
    Key("ack-mode", (TEXT,), default="on-confirm", choices=("on-confirm", "on-publish", "no-ack")),
    Key(
        "src-prefetch-count", (INTEGER,), default=1000, minimum=1, maximum=65535, aliases=("prefetch-count",)
    ),
    Key("reconnect-delay", (NUMBER,), default=5, minimum=0),
    Key("uri", (TEXT, TEXTS)),
    Key("args", (TABLE,)),
    Key("predeclared", (BOOLEAN,), default=False),
)


def check(**values: object) -> dict[str, object]:
    return check_table(
        Table("f.toml: [[shovel]] r", {key.replace("_", "-"): v for key, v in values.items()}), KEYS
    )


def test_what_is_not_given_has_its_default_and_every_key_is_there() -> None:
    assert check(name="r") == {
        "name": "r",
        "ack-mode": "on-confirm",
        "src-prefetch-count": 1000,
        "reconnect-delay": 5,
        "uri": None,
        "args": None,
        "predeclared": False,
    }


def test_an_alias_is_its_key() -> None:
    assert check(name="r", prefetch_count=7)["src-prefetch-count"] == 7


@pytest.mark.parametrize("uri", ["amqp://", ["amqp://a", "amqp://b"]])
def test_a_key_may_take_more_than_one_kind(uri: object) -> None:
    assert check(name="r", uri=uri)["uri"] == uri


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ({}, "name: missing; it must be text"),
        ({"name": "r", "ack_mod": "x"}, "ack-mod: unknown key; the closest known key is ack-mode"),
        ({"name": "r", "zzz": 1}, "zzz: unknown key; the closest known key is "),
        ({"name": "r", "ack_mode": "never"}, "must be one of on-confirm, on-publish, no-ack, not 'never'"),
        ({"name": "r", "prefetch_count": 0}, "prefetch-count: must be at least 1, not 0"),
        ({"name": "r", "prefetch_count": 65536}, "must be at most 65535, not 65536"),
        ({"name": "r", "prefetch_count": True}, "must be an integer, not True (boolean)"),
        ({"name": "r", "prefetch_count": 1.5}, "must be an integer, not 1.5 (number)"),
        ({"name": "r", "reconnect_delay": "5"}, "must be a number, not '5' (text)"),
        ({"name": "r", "uri": [1]}, "uri: must be text or a list of text, not [1] (list)"),
        ({"name": "r", "args": []}, "args: must be a table, not [] (list)"),
        ({"name": "r", "predeclared": 1}, "must be true or false, not 1 (integer)"),
        (
            {"name": "r", "prefetch_count": 1, "src_prefetch_count": 1},
            "src-prefetch-count: means the same as src-prefetch-count",
        ),
    ],
)
def test_a_mistake_names_table_key_and_what_is_wrong(values: dict[str, object], text: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check(**values)
    assert caught.value.text.startswith("f.toml: [[shovel]] r: ")
    assert text in caught.value.text


def test_a_long_value_is_cut_short_in_the_error() -> None:
    with pytest.raises(ConfigError) as caught:
        check(name={"a": "b" * 1000})
    assert len(caught.value.text) < 120
