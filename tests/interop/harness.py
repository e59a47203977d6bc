"""What the interop tests of both protocols have in common: scenarios, drivers, and the table of docs/clients.md."""

import contextlib
import inspect
import os
import uuid
from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Generic, TypeVar

from tests.interop.driver import Driver, Json

ROOT = Path(__file__).parents[2]
DOCUMENT = ROOT / "docs" / "clients.md"
BUILT = ROOT / ".tools" / "interop"
"""Where .ci/clients puts what it fetches and builds."""


@dataclass(frozen=True)
class ClientLibrary:
    """How a driver is started, and which types of table fields it has."""

    command: tuple[str, ...]
    types: frozenset[str] = frozenset()
    lacks: Mapping[str, str] = field(default_factory=dict)
    """Each thing that the client does not do, and why; docs/clients.md shows it."""
    modules: Path | None = None
    """Where a program in JavaScript finds its packages."""


class UniqueNames:
    """A broker is shared by all scenarios of a run: names that nobody else has."""

    def __init__(self) -> None:
        self._unique = uuid.uuid4().hex[:8]

    def name(self, word: str) -> str:
        return f"{word}-{self._unique}"

    def plain(self, value: Json) -> Json:
        """What was observed, without what differs from run to run."""
        if isinstance(value, dict):
            return {name: self.plain(item) for name, item in value.items()}
        if isinstance(value, list | tuple):
            return [self.plain(item) for item in value]
        return value.replace(f"-{self._unique}", "") if isinstance(value, str) else value


S = TypeVar("S", bound="Scene")


@dataclass(frozen=True)
class Scenario(Generic[S]):
    """A function of a scene that asserts, and returns what was observed. It must pass at the control, and what is
    observed at Leveret must be the same. The docstring's first line describes it in docs/clients.md.

    One that needs time to go by is a generator and says ``yield`` for it: many of them wait at once."""

    name: str
    what: str
    run: Callable[[S], Json]
    needs: tuple[str, ...]
    """What not every client has."""
    control: str
    """What the control does in the place of what the standard asks; "" when it does the same."""

    @property
    def waits(self) -> bool:
        return inspect.isgeneratorfunction(self.run)

    def begin(self, scene: S) -> Callable[[], Json]:
        """Play it up to its wait, or all of one that has none; what is returned plays the rest."""
        played = self.run(scene)
        if not isinstance(played, Generator):
            return lambda: played
        next(played)

        def finish() -> Json:
            try:
                next(played)
            except StopIteration as end:
                return end.value
            raise AssertionError(f"{self.name} waits twice")

        return finish

    def lacking(self, library: ClientLibrary) -> list[str]:
        """The reasons why this client cannot play it."""
        return [library.lacks[need] for need in self.needs if need in library.lacks]


class Scenarios(dict[str, Scenario[S]]):
    """By name, in order."""

    def register(
        self, *needs: str, control: str = ""
    ) -> Callable[[Callable[[S], Json]], Callable[[S], Json]]:
        def register(run: Callable[[S], Json]) -> Callable[[S], Json]:
            name = run.__name__
            assert run.__doc__ is not None
            assert name not in self
            self[name] = Scenario(name, run.__doc__.splitlines()[0].rstrip("."), run, needs, control)
            return run

        return register

    def cases(
        self, clients: Mapping[str, ClientLibrary], *, waits: bool = False
    ) -> list[tuple[str, Scenario[S]]]:
        """All pairs of a client and a scenario that it can play, of those that wait, or of the others."""
        return [
            (client, scenario)
            for client, library in clients.items()
            for scenario in self.values()
            if scenario.waits is waits and not scenario.lacking(library)
        ]

    def table(self, clients: Mapping[str, ClientLibrary]) -> str:
        """The scenarios as docs/clients.md shows them."""
        lines = [f"| scenario | {' | '.join(clients)} |", f"|---|{'---|' * len(clients)}"]
        for scenario in self.values():
            plays = "differs" if scenario.control else "same"
            cells = ["-" if scenario.lacking(library) else plays for library in clients.values()]
            lines.append(f"| {scenario.what} | {' | '.join(cells)} |")
        return "\n".join(lines)

    def differences(self) -> str:
        """What ``differs`` stands for, as docs/clients.md shows it."""
        return "\n".join(f"- {each.what}: {each.control}" for each in self.values() if each.control)

    def reasons(self, clients: Mapping[str, ClientLibrary]) -> str:
        """Why there are cells of ``-``, as docs/clients.md shows them."""
        found: dict[str, list[str]] = {}
        for client, library in clients.items():
            reasons = [reason for scenario in self.values() for reason in scenario.lacking(library)]
            for reason in dict.fromkeys(reasons):
                found.setdefault(reason, []).append(client)
        return "\n".join(f"- {'; '.join(names)}: {reason}" for reason, names in found.items())


@dataclass(frozen=True)
class Stage:
    """Where a scene plays: a driver's process, and a broker."""

    driver: Driver
    library: ClientLibrary
    uri: str
    is_control: bool
    start: Callable[[], Driver]
    """Starts a further process of the client, which a scenario may kill."""


class Scene(UniqueNames):
    """What a scenario works with; ``close`` ends what it left open."""

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.stage = stage

    def strictly(self, observed: Json, asked: Json, *, control: Json) -> Json:
        """What the standard asks: the control may show something else, which its scenario's ``control`` tells."""
        allowed = [asked, control] if self.stage.is_control else [asked]
        assert self.plain(observed) in allowed, f"{observed}, not {asked}"
        return asked

    def close(self) -> None:
        raise NotImplementedError


class Drivers(Generic[S]):
    """The drivers of a run: one for each client, and further ones that scenarios kill."""

    def __init__(
        self, directory: Path, clients: Mapping[str, ClientLibrary], scene: Callable[[Stage], S]
    ) -> None:
        self._directory = directory
        self._clients = clients
        self._scene = scene
        self._running: dict[str, Driver] = {}
        self._started: list[Driver] = []

    def start(self, client: str) -> Driver:
        library = self._clients[client]
        env = {**os.environ, "PYTHONPATH": str(ROOT)}
        if library.modules is not None:
            env["NODE_PATH"] = str(library.modules)
        driver = Driver(library.command, env, self._directory / f"{client}.log")
        self._started.append(driver)
        return driver

    def observe(self, client: str, scenario: Scenario[S], uri: str, *, is_control: bool) -> Json:
        """Play a scenario; what it observed."""
        return self.begin(client, scenario, uri, is_control=is_control)()

    def begin(self, client: str, scenario: Scenario[S], uri: str, *, is_control: bool) -> Callable[[], Json]:
        """Play a scenario up to its wait; what is returned plays the rest, and tells what it observed."""
        if client not in self._running:
            self._running[client] = self.start(client)
        driver = self._running[client]
        with self._given_up(client, driver, scenario):
            stage = Stage(driver, self._clients[client], uri, is_control, partial(self.start, client))
            scene = self._scene(stage)
            rest = scenario.begin(scene)

        def finish() -> Json:
            with self._given_up(client, driver, scenario):
                observed = scene.plain(rest())
                scene.close()
            return observed

        return finish

    @contextlib.contextmanager
    def _given_up(self, client: str, driver: Driver, scenario: Scenario[S]) -> Iterator[None]:
        """After a failure the driver may be in any state: what follows starts another one."""
        try:
            yield
        except BaseException:
            if self._running.get(client) is driver:
                del self._running[client]
            if not scenario.waits:  # else others may wait in it
                driver.kill()
            raise

    def close(self) -> None:
        for driver in self._started:
            driver.kill()
