"""``python -m edge`` is the ``leveret`` program."""

from edge.cli.main import main

if __name__ == "__main__":
    main()
