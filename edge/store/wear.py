"""What a node writes to its device: flash cards wear out by bytes written, not by messages kept."""

from pathlib import Path


def written_bytes(process_id: int | str = "self") -> int:
    """Bytes that a process has caused to be written (proc_pid_io(5), ``write_bytes``); 0 where no kernel tells.

    Whole pages of the page cache, counted when they are changed: what is changed again before it reaches the device
    counts once. The file system's journal and what the card does inside come on top.
    """
    try:
        text = Path(f"/proc/{process_id}/io").read_text()
    except OSError:
        return 0
    for line in text.splitlines():
        name, _, value = line.partition(": ")
        if name == "write_bytes":
            return int(value)
    return 0


class Wear:
    """Counts since the node's start; shown in ``status`` and ``/api/overview``."""

    __slots__ = ("_written_before", "commits", "messages_written")

    def __init__(self) -> None:
        self.commits = 0
        #: Messages that commits have brought to the disk, once for each queue.
        self.messages_written = 0
        self._written_before = written_bytes()

    def details(self) -> dict[str, int | float | None]:
        """As the HTTP API shows it; reads /proc."""
        size = written_bytes() - self._written_before
        count = self.messages_written
        return {
            "commits": self.commits,
            "messages_written": count,
            "bytes_written": size,
            "bytes_per_message": round(size / count, 1) if count else None,
        }
