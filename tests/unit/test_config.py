"""The configuration is read whole or refused with the file, the key and the closest known key."""

from pathlib import Path

import pytest

from edge.config import _from_text, _value, load
from edge.core.errors import ConfigError
from edge.settings import SETTINGS, Address, Setting


def write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "leveret.toml"
    path.write_text(text)
    return path


def refusal(path: Path | None, environ: dict[str, str] | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(path, environ or {})
    return caught.value.text


def test_without_a_file_it_listens_on_loopback_and_keeps_its_data_in_the_working_directory() -> None:
    config = load(environ={})
    assert config.node.data_dir == Path("leveret-data")
    assert config.listeners.amqp == (Address("127.0.0.1", 5672),)
    assert config.listeners.mqtt == (Address("127.0.0.1", 1883),)
    assert config.listeners.http == (Address("127.0.0.1", 15672),)


def test_the_file_sets_what_it_names_and_the_rest_keeps_its_default(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[node]\nname = "drone-17"\n[log]\nlevel = "debug"\n'), {})
    assert config.node.name == "drone-17"
    assert config.log.level == "debug"
    assert config.listeners.mqtt == (Address("127.0.0.1", 1883),)


def test_relative_paths_in_the_file_are_relative_to_the_file(tmp_path: Path) -> None:
    config = load(write(tmp_path, '[node]\ndata_dir = "data"\n[definitions]\nfile = "d.json"\n'), {})
    assert config.node.data_dir == tmp_path / "data"
    assert config.definitions.file == tmp_path / "d.json"


def test_the_environment_overrides_the_file(tmp_path: Path) -> None:
    path = write(tmp_path, '[node]\nname = "from-file"\ndata_dir = "data"\n')
    environ = {"LEVERET_NODE_NAME": "from-env", "LEVERET_NODE_DATA_DIR": "elsewhere"}
    config = load(path, environ)
    assert config.node.name == "from-env"
    assert config.node.data_dir == Path("elsewhere"), (
        "relative to the working directory, as on a command line"
    )


def test_every_setting_has_a_variable_of_its_own() -> None:
    assert len({row.variable for row in SETTINGS}) == len(SETTINGS)
    assert "LEVERET_LISTENERS_AMQP" in {row.variable for row in SETTINGS}


@pytest.mark.parametrize(
    ("text", "addresses"),
    [
        ('"0.0.0.0:5672"', [("0.0.0.0", 5672)]),
        ('"[::1]:5672"', [("::1", 5672)]),
        ('["127.0.0.1:5672", "[::1]:5672"]', [("127.0.0.1", 5672), ("::1", 5672)]),
        ('""', []),
        ("[]", []),
    ],
)
def test_a_listener_is_an_address_a_list_of_them_or_off(
    tmp_path: Path, text: str, addresses: list[tuple[str, int]]
) -> None:
    config = load(write(tmp_path, f"[listeners]\namqp = {text}\n"), {})
    assert list(config.listeners.amqp) == addresses


def test_listeners_in_the_environment_are_separated_by_commas() -> None:
    config = load(environ={"LEVERET_LISTENERS_MQTT": "127.0.0.1:1, [::1]:2", "LEVERET_LISTENERS_HTTP": ""})
    assert [str(address) for address in config.listeners.mqtt] == ["127.0.0.1:1", "[::1]:2"]
    assert config.listeners.http == ()


@pytest.mark.parametrize(
    "text", ["5672", '"5672"', '":5672"', '"localhost:amqp"', '"localhost:70000"', "[1]"]
)
def test_a_listener_that_is_no_address_is_refused(tmp_path: Path, text: str) -> None:
    assert "[listeners] amqp: must be" in refusal(write(tmp_path, f"[listeners]\namqp = {text}\n"))


def test_an_unknown_key_is_refused_with_the_closest_known_one(tmp_path: Path) -> None:
    path = write(tmp_path, '[node]\ndatadir = "x"\n')
    assert refusal(path) == f"{path}: [node]: datadir: unknown key; the closest known key is data_dir"


def test_an_unknown_section_is_refused_with_the_closest_known_one(tmp_path: Path) -> None:
    path = write(tmp_path, "[[shovels]]\n")
    assert refusal(path) == f"{path}: shovels: unknown section; the closest known section is shovel"


def test_an_unknown_variable_of_a_section_is_refused_and_other_variables_are_left_alone() -> None:
    text = refusal(None, {"LEVERET_NODE_NAMES": "x"})
    assert text == "environment: LEVERET_NODE_NAMES: unknown key; the closest known key is LEVERET_NODE_NAME"
    text = refusal(None, {"LEVERET_LISTENER_AMQP": "x"})
    assert text == (
        "environment: LEVERET_LISTENER_AMQP: unknown key; the closest known key is LEVERET_LISTENERS_AMQP"
    )
    load(environ={"LEVERET_URL": "http://127.0.0.1:1", "NODE_NAME": "x"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("[node]\nname = 3\n", "[node] name: must be text, not 3 (integer)"),
        ("[node]\nname = true\n", "[node] name: must be text, not True (boolean)"),
        ('[log]\nlevel = "loud"\n', "[log] level: must be one of debug, info, warning, error, not 'loud'"),
        ("node = 3\n", "node: must be a table; write [node]"),
        ("[shovel]\n", "shovel: must be an array of tables; write [[shovel]]"),
        ("[[shovel]]\n", "[[shovel]] number 1: name: missing; it must be text"),
        ('[[shovel]]\nname = "a"\n[[shovel]]\nname = "a"\n', "another [[shovel]] has the same name"),
        ('[[policy]]\nname = "a"\n', "[[policy]] a: pattern: missing; it must be text"),
        (
            '[[policy]]\nname = "a"\npattern = "("\ndefinition = {}\n',
            "[[policy]] a: pattern: not a regular expression",
        ),
        (
            '[[policy]]\nname = "a"\npattern = ""\ndefinition = {}\napply_to = "queues"\n',
            "[[policy]] a: apply_to: unknown key; the closest known key is apply-to",
        ),
        (
            '[[policy]]\nname = "a"\npattern = ""\ndefinition = { federation-upstreams = "b" }\n',
            "[[policy]] a: definition: federation-upstreams: unknown key; the closest known key is federation-upstream",
        ),
        ("[node\n", "not TOML: "),
    ],
)
def test_a_mistake_is_named_with_its_file(tmp_path: Path, text: str, expected: str) -> None:
    path = write(tmp_path, text)
    assert refusal(path).startswith(f"{path}: ")
    assert expected in refusal(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    path = tmp_path / "nowhere.toml"
    assert refusal(path) == f"{path}: cannot be read: No such file or directory"


def test_a_file_that_is_not_text_is_named(tmp_path: Path) -> None:
    path = tmp_path / "leveret.toml"
    path.write_bytes(b"\xff\xfe")
    assert refusal(path).startswith(f"{path}: not TOML: ")


def test_policies_come_as_in_a_definitions_file(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        '[[policy]]\nname = "fed"\npattern = "^fleet"\ndefinition = { federation-upstream-set = "all" }\n',
    )
    assert load(path, {}).policies == (
        {
            "name": "fed",
            "vhost": "/",
            "pattern": "^fleet",
            "apply-to": "all",
            "priority": 0,
            "definition": {"federation-upstream-set": "all"},
        },
    )


def test_shovels_and_upstreams_are_handed_on_as_written_with_where_they_stand(tmp_path: Path) -> None:
    path = write(
        tmp_path, '[[shovel]]\nname = "r"\nsrc-uri = "amqp://"\n[[federation-upstream]]\nname = "base"\n'
    )
    config = load(path, {})
    assert config.shovels[0].where == f"{path}: [[shovel]] r"
    assert config.shovels[0].values == {"name": "r", "src-uri": "amqp://"}
    assert config.federation_upstreams[0].values == {"name": "base"}


def test_two_shovels_of_one_name_may_live_in_two_vhosts(tmp_path: Path) -> None:
    path = write(tmp_path, '[[shovel]]\nname = "r"\n[[shovel]]\nname = "r"\nvhost = "other"\n')
    assert len(load(path, {}).shovels) == 2


@pytest.mark.parametrize(
    ("kind", "text", "value"),
    [
        (int, "5", 5),
        (float, "2.5", 2.5),
        (float, "2", 2.0),
        (bool, "true", True),
        (bool, "0", False),
        (tuple[str, ...], "a, b", ("a", "b")),
        (str, "5", "5"),
    ],
)
def test_the_text_of_a_variable_becomes_the_type_of_its_setting(
    kind: object, text: str, value: object
) -> None:
    row = Setting("node", "x", kind, None, "", None, None, (), False)
    assert _value("x", row, _from_text(row, text), Path()) == value


@pytest.mark.parametrize(("kind", "text"), [(int, "5.5"), (int, "x"), (float, "x"), (bool, "yes")])
def test_a_variable_that_is_nothing_of_the_kind_is_refused(kind: object, text: str) -> None:
    row = Setting("node", "x", kind, None, "", None, None, (), False)
    with pytest.raises(ConfigError, match=f"X: must be .*, not '{text}' "):
        _value("X", row, _from_text(row, text), Path())
