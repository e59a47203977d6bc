"""Build hook: ``LEVERET_COMPILE=1 pip install .`` compiles the hot modules by mypyc; without it all is plain Python.

The sources are the same. They are compiled in a temporary copy, because an extension module beside a source wins the
import silently, also when it is older. Which modules is said in pyproject.toml: those in which a message's CPU is spent
and which win by it (docs/performance.md).
"""

import contextlib
import os
import shutil
import tempfile
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface

SWITCH = "LEVERET_COMPILE"
GROUP = "leveret"
"""Name of the one extension module that holds all of them: calls between its modules are C calls."""
CONFIG = "[mypy]\nfollow_imports = silent\n"


class CompileHook(BuildHookInterface[Any]):
    """Puts the compiled modules beside their sources into the wheel."""

    PLUGIN_NAME = "custom"
    _directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def _is_on(self) -> bool:
        return os.environ.get(SWITCH, "0") not in ("", "0")

    def dependencies(self) -> list[str]:
        # msgspec for the types of what is imported.
        return ["mypy[mypyc]>=1.10", "setuptools>=68", "msgspec>=0.18.6"] if self._is_on else []

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        if not self._is_on:
            return
        if version == "editable":
            self.app.display_warning(
                f"{SWITCH} does nothing for an editable install: sources change under it"
            )
            return
        self._directory = tempfile.TemporaryDirectory(prefix="leveret-compile-")
        work = Path(self._directory.name)
        for package in self.build_config.packages:
            shutil.copytree(Path(self.root) / package, work / package, ignore=shutil.ignore_patterns("*.so"))
        with contextlib.chdir(work):
            compile_modules(self.config["modules"])
        for built in sorted(work.rglob("*.so")):
            if "build" not in built.relative_to(work).parts:
                build_data["force_include"][str(built)] = str(built.relative_to(work))
        build_data["pure_python"] = False
        build_data["infer_tag"] = True

    def finalize(self, version: str, build_data: dict[str, Any], artifact_path: str) -> None:
        if self._directory is not None:
            self._directory.cleanup()


def compile_modules(paths: list[str]) -> None:
    """Compile modules in place, in the working directory. Raises when one of them cannot be."""
    from mypyc.build import mypycify
    from setuptools import Distribution

    Path("mypy.ini").write_text(CONFIG)
    modules = mypycify(
        ["--config-file", "mypy.ini", *paths], group_name=GROUP, opt_level="3", debug_level="0"
    )
    # Not by setup(), which would read this project's pyproject.toml as setuptools understands it.
    command = Distribution({"name": "leveret", "ext_modules": modules}).get_command_obj("build_ext")
    command.inplace = True
    command.ensure_finalized()
    command.run()
