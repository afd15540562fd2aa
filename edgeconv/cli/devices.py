"""`edgeconv devices`."""

from __future__ import annotations

from pathlib import Path

import click

from edgeconv.cli.connect import connected, server_options
from edgeconv.cli.terminal import json_option, terminal_of


@click.group(short_help="Devices that agents have registered.")
def devices() -> None:
    """Devices that agents have registered."""


@devices.command("list")
@server_options
@json_option
def list_command(server: str | None, state: Path) -> None:
    """Lists devices, where each stands and why."""
    from edgeconv.cli.documents import DevicesDocument
    from edgeconv.cli.reading import device_document
    from edgeconv.report.cells import time_text

    terminal = terminal_of()
    with connected(server, state) as client:
        found = tuple(device_document(each) for each in client.list_devices())
    if terminal.json:
        terminal.print_document(DevicesDocument(devices=found))
        return
    rows = [
        (
            each.name,
            each.state,
            each.reason,
            time_text(each.since_ns),
            f"{each.cpu}, {each.architecture}",
            ", ".join(f"{name} {version}" for name, version in sorted(each.runtimes.items())),
        )
        for each in found
    ]
    terminal.print_rows(("device", "state", "reason", "since", "processor", "runtimes"), rows)


@devices.command("get")
@click.argument("name")
@server_options
@json_option
def get_command(name: str, server: str | None, state: Path) -> None:
    """Shows a device."""
    from edgeconv.cli.describe import describe_device
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import device_document

    with connected(server, state) as client:
        device = client.get_device(full_name(name, "devices"))
    describe_device(device_document(device), terminal_of())


@devices.command("drain")
@click.argument("name")
@click.option("--reason", default="", help="Shown beside the device.")
@server_options
@json_option
def drain_command(name: str, reason: str, server: str | None, state: Path) -> None:
    """Lets a device end what it holds and gives it nothing more."""
    from edgeconv.cli.describe import describe_device
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import device_document

    with connected(server, state) as client:
        device = client.drain_device(full_name(name, "devices"), reason)
    describe_device(device_document(device), terminal_of())


@devices.command("resume")
@click.argument("name")
@server_options
@json_option
def resume_command(name: str, server: str | None, state: Path) -> None:
    """Lets a drained or quarantined device take work again."""
    from edgeconv.cli.describe import describe_device
    from edgeconv.cli.names import full_name
    from edgeconv.cli.reading import device_document

    with connected(server, state) as client:
        device = client.resume_device(full_name(name, "devices"))
    describe_device(device_document(device), terminal_of())


@devices.command("delete")
@click.argument("name")
@server_options
@json_option
def delete_command(name: str, server: str | None, state: Path) -> None:
    """Forgets a device; its agent may register it again."""
    from edgeconv.cli.describe import say_done
    from edgeconv.cli.names import full_name

    full = full_name(name, "devices")
    with connected(server, state) as client:
        client.delete_device(full)
    say_done(full, "deleted", terminal_of())
