"""``leveret store``: what is done with a store's file, and with the device it lies on."""

import click

from edge.cli.store_files import export, import_, inspect, verify
from edge.cli.torture import torture


@click.group()
def store() -> None:
    """Look into a store, and try the device it is to lie on."""


for command in (verify, inspect, export, import_, torture):
    store.add_command(command)
