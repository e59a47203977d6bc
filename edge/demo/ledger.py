"""What was sent, confirmed and has arrived, kept outside of the nodes."""


class Device:
    """One device's account; its messages are numbered from 0."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.sent = 0
        self.confirmed: set[int] = set()
        self.arrived: set[int] = set()
        self.duplicates = 0
        self.out_of_order = 0
        self._newest = -1

    def arrive(self, number: int) -> None:
        """Note an arrival; what came before is a duplicate, what should have come before is out of order."""
        if number in self.arrived:
            self.duplicates += 1
            return
        self.arrived.add(number)
        if number < self._newest:
            self.out_of_order += 1
        else:
            self._newest = number

    @property
    def lost(self) -> int:
        """Confirmed, but never arrived."""
        return len(self.confirmed - self.arrived)


class Ledger:
    """All devices."""

    def __init__(self) -> None:
        self.devices: dict[str, Device] = {}

    def device(self, name: str) -> Device:
        if name not in self.devices:
            self.devices[name] = Device(name)
        return self.devices[name]

    def total(self, column: str) -> int:
        """Sum of a number, or of the sizes of a set, over all devices."""
        values = [getattr(device, column) for device in self.devices.values()]
        return sum(len(value) if isinstance(value, set) else value for value in values)

    @property
    def complete(self) -> bool:
        """Whether everything that was confirmed has arrived."""
        return self.total("lost") == 0
