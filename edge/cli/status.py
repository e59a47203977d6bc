"""``leveret status``: the node, its queues, shovels and federation links at a glance."""

from typing import Any

import click

from edge.cli.api import Api, api_options
from edge.cli.output import cell, format_option, print_json, print_rows

NODE_KEYS = (
    "name",
    "version",
    "uptime",
    "os_pid",
    "mem_used",
    "disk_free",
    "disk_free_limit",
    "disk_free_alarm",
    "fd_used",
)
STORE_KEYS = (
    "commits",
    "messages_written",
    "bytes_written",
    "bytes_per_message",
    "bytes_used",
    "bytes_max",
    "bytes_reusable",
    "bytes_reserved",
    "messages_lost",
    "losses",
    "warnings",
)
QUEUE_KEYS = ("vhost", "name", "messages_ready", "messages_unacknowledged", "consumers")
SHOVEL_KEYS = (
    *("vhost", "name", "state", "blocked_status", "src_uri", "dest_uri"),
    *(
        "lag",
        "oldest_unconfirmed_ms",
        "rate",
        "eta_s",
        "forwarded",
        "parked",
        "reconnects",
        "last_error",
        "reason",
    ),
)
LINK_KEYS = (
    *("vhost", "type", "exchange", "queue", "upstream", "status", "uri"),
    *("forwarded", "rate", "reconnects", "last_error"),
)


@click.command()
@api_options
@format_option
def status(api: Api, output_format: str) -> None:
    """Show a running node.

    Listeners, totals, queues, shovels and federation links.
    """
    report = gather(api)
    if output_format == "json":
        print_json(report)
        return
    node, totals = report["node"], report["totals"]
    click.echo(
        f"{node['name']}  Leveret {node['version']}, process {node['os_pid']}, up {_duration(node['uptime'])}"
    )
    click.echo(
        f"memory {_mebibytes(node['mem_used'])}, disk free {_mebibytes(node['disk_free'])},"
        f" store holds {_mebibytes(report['store']['bytes_used'])}"
    )
    if node["disk_free_alarm"]:
        click.echo("ALARM: low on disk: publishers are blocked until consumers have made room")
    click.echo(_written(report["store"]))
    for listener in report["listeners"]:
        click.echo(f"listens on {listener['ip_address']}:{listener['port']} ({listener['protocol']})")
    click.echo("  ".join(f"{key} {cell(value)}" for key, value in totals.items()))
    for loss in report["store"]["losses"]:
        click.echo(f"LOST: {loss['text']}")
    for warning in report["store"]["warnings"]:
        click.echo(f"warning: {warning}")
    for title, rows, keys in (
        ("queues", report["queues"], QUEUE_KEYS),
        ("shovels", report["shovels"], SHOVEL_KEYS),
        ("federation links", report["federation_links"], LINK_KEYS),
    ):
        if rows:
            click.echo(f"\n{title}:")
            # A column that no row fills would only be wide.
            print_rows(
                rows, [key for key in keys if any(row.get(key) not in (None, "") for row in rows)], "table"
            )


def gather(api: Api) -> dict[str, Any]:
    """All that ``status`` shows, under the keys of its JSON output."""
    overview, node = api.get("/api/overview"), api.get("/api/nodes")[0]
    node["version"] = overview["product_version"]
    return {
        "node": {key: node.get(key) for key in NODE_KEYS},
        "store": {key: overview["store"][key] for key in STORE_KEYS},
        "listeners": [
            {key: listener[key] for key in ("protocol", "ip_address", "port")}
            for listener in overview["listeners"]
        ],
        "totals": {**overview["object_totals"], **_counts(overview["queue_totals"])},
        "queues": [{key: row.get(key) for key in QUEUE_KEYS} for row in api.get("/api/queues")],
        "shovels": [{key: row.get(key) for key in SHOVEL_KEYS} for row in api.get("/api/shovels")],
        "federation_links": [
            {key: row.get(key) for key in LINK_KEYS} for row in api.get("/api/federation-links")
        ],
    }


def _counts(totals: dict[str, Any]) -> dict[str, int]:
    return {key: value for key, value in totals.items() if isinstance(value, int)}


def _written(store: dict[str, Any]) -> str:
    """What the device has had to bear since the node's start."""
    text = f"written {_mebibytes(store['bytes_written'])} in {store['commits']} commits"
    if store["messages_written"]:
        text += f", {store['messages_written']} messages, {store['bytes_per_message']:.0f} bytes a message"
    return text


def _duration(milliseconds: int) -> str:
    seconds = milliseconds // 1000
    days, hours, minutes = seconds // 86400, seconds // 3600 % 24, seconds // 60 % 60
    if days:
        return f"{days} d {hours} h"
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds % 60} s" if minutes else f"{seconds} s"


def _mebibytes(size: int) -> str:
    return f"{size / 1024 / 1024:.0f} MiB"
