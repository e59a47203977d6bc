"""Real servers for the tests: each on ports of its own, with a data directory of its own, stopped by its process id."""
