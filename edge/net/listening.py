"""What a person reads when a listener cannot be opened."""

import errno
import os

from edge.core.errors import StartupError


def listen_error(name: str, address: object, error: OSError) -> StartupError:
    """Of the setting ``listeners.<name>``; ``address`` shows itself as host:port."""
    if error.errno == errno.EADDRINUSE:
        advice = "another program listens there: stop it, or set another port"
    elif error.errno == errno.EACCES:
        advice = "ports below 1024 are for root and CAP_NET_BIND_SERVICE: set a higher one"
    else:  # EADDRNOTAVAIL, or a name that nobody knows
        advice = "it must be an address of this machine, such as 127.0.0.1, or 0.0.0.0 for all"
    # asyncio puts a text of its own, with the address, in the place of the system's; look-ups have only theirs.
    number = error.errno or 0
    reason = os.strerror(number) if number > 0 else error.strerror or str(error)
    return StartupError(f"listeners.{name}: cannot listen on {address}: {reason}; {advice}")
