"""One node a data directory."""

import errno
import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from edge.core.errors import StartupError
from edge.store.lock import LOCK_NAME, DataDirectoryLock


def test_a_directory_in_use_is_refused_by_its_process_id(tmp_path: Path) -> None:
    lock = DataDirectoryLock(tmp_path)
    lock.acquire()
    with pytest.raises(StartupError, match=rf"in use by a running node, process id {os.getpid()}\b"):
        DataDirectoryLock(tmp_path).acquire()
    lock.release()
    lock.release()
    again = DataDirectoryLock(tmp_path)
    again.acquire()
    again.release()


def test_a_killed_process_lets_go(tmp_path: Path) -> None:
    code = (
        "import os, pathlib, signal, sys\n"
        "from edge.store.lock import DataDirectoryLock\n"
        "DataDirectoryLock(pathlib.Path(sys.argv[1])).acquire()\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, str(tmp_path)], check=False)
    assert done.returncode == -9
    assert int((tmp_path / LOCK_NAME).read_text()) != os.getpid()
    lock = DataDirectoryLock(tmp_path)
    lock.acquire()
    assert int((tmp_path / LOCK_NAME).read_text()) == os.getpid()
    lock.release()


def test_a_directory_is_made_and_one_that_cannot_be_says_why(tmp_path: Path) -> None:
    lock = DataDirectoryLock(tmp_path / "a" / "b")
    lock.acquire()
    lock.release()
    (tmp_path / "file").write_text("")
    with pytest.raises(StartupError, match=r"cannot be used: .*; set node\.data_dir"):
        DataDirectoryLock(tmp_path / "file").acquire()


def test_a_file_system_without_locks_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_descriptor: int, _operation: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(StartupError, match="cannot be locked: No locks available"):
        DataDirectoryLock(tmp_path).acquire()


def test_a_lock_without_a_process_id_has_an_unknown_holder(tmp_path: Path) -> None:
    lock = DataDirectoryLock(tmp_path)
    lock.acquire()
    (tmp_path / LOCK_NAME).write_text("")
    with pytest.raises(StartupError, match="process id unknown"):
        DataDirectoryLock(tmp_path).acquire()
    lock.release()
