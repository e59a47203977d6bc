"""What the documents say is true: commands exist, configurations load, settings are described, links lead somewhere."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path

import click
import pytest

import federation.upstream
import shovel.config
from edge.cli.main import COMMANDS, main
from edge.config import POLICY_KEYS, Config, load
from edge.settings import SETTINGS, Listeners, Setting
from edge.tables import Key, check_value

ROOT = Path(__file__).parent.parent
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
EXAMPLES = sorted([*(ROOT / "configs").glob("*.toml"), *(ROOT / "deploy").glob("*.toml")])
SHORT_HELP_COLUMNS_MAX = 60
"""What click leaves for a line of a list of commands, on 80 columns."""
SAMPLE = ROOT / "configs" / "leveret.toml"

HOST_DEPENDENT = ("LEVERET_NODE_NAME",)
"""Settings whose default is no constant."""


def blocks(language: str) -> Iterator[str]:
    """Code blocks of a language in all documents."""
    for document in DOCUMENTS:
        yield from re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Command lines in the documents, without prompts, comments and environment."""
    lines = [re.split(r"(?:^|\s)#", line)[0].strip() for block in blocks("sh") for line in block.splitlines()]
    return sorted({re.sub(r"^([A-Z_]+=\S+ )+|^\.venv/bin/", "", line) for line in lines if line})


def by_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("leveret")])
def test_a_command_in_the_documents_is_one(line: str) -> None:
    name, *arguments = shlex.split(line)[1:]
    if name.startswith("-"):
        return
    assert name in COMMANDS, line
    with click.Context(main, info_name="leveret") as context:
        command: click.Command | None = main.get_command(context, name)
        while isinstance(command, click.Group) and arguments and not arguments[0].startswith("-"):
            name, *arguments = arguments
            command = command.get_command(context, name)
        assert command is not None, line
        command.make_context(name, arguments, parent=context)


@pytest.mark.parametrize("line", [line for line in commands() if line.startswith("make ")])
def test_a_make_target_in_the_documents_is_one(line: str) -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    words = [word for word in shlex.split(line)[1:] if "=" not in word]
    assert set(words) <= targets, line


def every_command(group: click.Group = main, prefix: str = "leveret") -> Iterator[tuple[str, click.Command]]:
    with click.Context(group) as context:
        for name in group.list_commands(context):
            command = group.get_command(context, name)
            assert command is not None
            yield f"{prefix} {name}", command
            if isinstance(command, click.Group):
                yield from every_command(command, f"{prefix} {name}")


@pytest.mark.parametrize(("name", "command"), list(every_command()), ids=str)
def test_every_command_and_option_describes_itself(name: str, command: click.Command) -> None:
    short = command.get_short_help_str(SHORT_HELP_COLUMNS_MAX)
    assert short, f"{name} has no help"
    assert not short.endswith("..."), f"what lists say of {name} is cut: give it a short_help"
    for option in command.params:
        if isinstance(option, click.Option):
            assert option.help, f"{name} {option.opts[-1]} has no help"


@pytest.mark.parametrize(("name", "command"), list(every_command()), ids=str)
def test_no_variable_of_a_command_looks_like_one_of_a_node(name: str, command: click.Command) -> None:
    """Else a node in the same environment would refuse to start."""
    for parameter in command.params:
        if isinstance(parameter.envvar, str):
            load(environ={parameter.envvar: "x"})


def check(path: Path) -> Config:
    """Load a configuration and check its shovels and upstreams too, as a node does at its start."""
    config = load(path, {})
    for table in config.shovels:
        shovel.config.read_shovel(table)
    for table in config.federation_upstreams:
        federation.upstream.read_upstream(table)
    return config


@pytest.mark.parametrize("path", EXAMPLES, ids=by_name)
def test_an_example_configuration_loads(path: Path) -> None:
    check(path)


@pytest.mark.parametrize("text", list(blocks("toml")))
def test_a_configuration_in_the_documents_loads(text: str, tmp_path: Path) -> None:
    path = tmp_path / "leveret.toml"
    path.write_text(text)
    check(path)


def test_the_sample_with_everything_switched_on_loads_and_holds_the_defaults(tmp_path: Path) -> None:
    path = tmp_path / "leveret.toml"
    path.write_text(re.sub(r"^# ?(?=\S+ = |\[\[)", "", SAMPLE.read_text(), flags=re.MULTILINE))
    switched_on, defaults = check(path), load(None, {})
    for row in SETTINGS:
        if row.variable not in (*HOST_DEPENDENT, "LEVERET_NODE_DATA_DIR"):
            values = [getattr(getattr(config, row.section), row.key) for config in (switched_on, defaults)]
            assert values[0] == values[1], (
                f"{SAMPLE.name}: [{row.section}] {row.key} does not show its default"
            )
    assert [len(switched_on.shovels), len(switched_on.federation_upstreams), len(switched_on.policies)] == [
        1,
        1,
        1,
    ]


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: f"{row.section}.{row.key}")
def test_every_setting_is_in_the_sample_with_its_help(row: Setting) -> None:
    section = re.split(r"^\[(\w+)\]\n", SAMPLE.read_text(), flags=re.MULTILINE)
    text = dict(zip(section[1::2], section[2::2], strict=True))[row.section]
    described = " ".join(line.removeprefix("# ") for line in text.splitlines())
    assert row.help.rstrip(".") in described, f"{SAMPLE.name} does not say of {row.key}: {row.help}"
    assert f"# {row.key} = {shown(row)}" in text
    for choice in row.choices:
        assert choice in text


@pytest.mark.parametrize(
    ("table", "keys"),
    [
        ("shovel", shovel.config.KEYS),
        ("federation-upstream", federation.upstream.KEYS),
        ("policy", POLICY_KEYS),
    ],
)
def test_every_key_of_a_link_or_policy_is_in_the_sample_with_its_default(
    table: str, keys: tuple[Key, ...]
) -> None:
    text = SAMPLE.read_text().partition(f"\n# [[{table}]]\n")[2].partition("\n# [[")[0]
    for key in keys:
        line = re.search(rf"^# (# )?{key.name} = (.*?)(  +#.*)?$", text, re.MULTILINE)
        assert line is not None, f"{SAMPLE.name} does not have {key.name} of [[{table}]]"
        value = tomllib.loads(f"value = {line[2]}")["value"]
        if key.default is not None and line[1] is None and key.name not in ("apply-to",):
            assert value == key.default, f"{SAMPLE.name}: {key.name} does not show its default"
        check_value(key.name, value, key)


@pytest.mark.parametrize(
    ("heading", "keys"),
    [("Keys of a shovel", shovel.config.KEYS), ("Keys of an upstream", federation.upstream.KEYS)],
)
def test_the_document_of_links_has_every_key_with_its_default(heading: str, keys: tuple[Key, ...]) -> None:
    text = (ROOT / "docs" / "links.md").read_text().partition(f"\n## {heading}\n")[2].partition("\n\n")[0]
    rows = dict(re.findall(r"^\| `([\w-]+)` \| (.*?) ?\|", text, re.MULTILINE))
    assert set(rows) == {key.name for key in keys}
    for key in keys:
        if key.required:
            assert rows[key.name] == "required"
        elif key.default not in (None, ""):
            assert rows[key.name].strip("`") == str(key.default).removesuffix(".0").replace("False", "false")


def shown(row: Setting) -> str:
    """The default as TOML has it; nothing for one that depends on the machine."""
    if row.variable in HOST_DEPENDENT:
        return ""
    if row.type == Listeners:
        assert isinstance(row.default, tuple)
        return f'"{row.default[0]}"'
    if isinstance(row.default, bool):
        return str(row.default).lower()
    if isinstance(row.default, int | float):
        return str(row.default)
    return f'"{row.default or ""}"'


@pytest.mark.parametrize("row", SETTINGS, ids=lambda row: f"{row.section}.{row.key}")
def test_every_setting_is_read_by_something(row: Setting) -> None:
    spelled = re.compile(rf"\b{row.section}(_settings)?\.{row.key}\b")
    sources = [*(ROOT / "edge").rglob("*.py"), *(ROOT / "mqtt").rglob("*.py")]
    readers = [path for path in sources if spelled.search(path.read_text())]
    assert readers, f"[{row.section}] {row.key} does nothing"


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_links_between_the_documents_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text()):
        assert (document.parent / target).exists(), (
            f"{by_name(document)} links to {target}, which is not there"
        )


@pytest.mark.parametrize("document", DOCUMENTS, ids=by_name)
def test_files_that_the_documents_name_are_there(document: Path) -> None:
    for name in re.findall(
        r"``?((?:edge|mqtt|shovel|federation|tests|configs|deploy|docs)/[\w./]+\.\w+)`", document.read_text()
    ):
        assert (ROOT / name).exists(), f"{by_name(document)} names {name}, which is not there"
