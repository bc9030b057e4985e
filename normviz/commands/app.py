"""`normviz app`: start the Streamlit app."""

from __future__ import annotations

import argparse
import os
import sys

from normviz.commands.common import Commands
from normviz.paths import ROOT


def add(commands: Commands[argparse.ArgumentParser]) -> None:
    """Add the command to the parser."""
    command = commands.add_parser(
        "app",
        help="start the app in the browser",
        description="Start the Streamlit app on this machine and open it in the browser.",
        epilog="example: normviz app --port 8080",
    )
    command.add_argument("--port", type=_port, default=8501, help="port to listen on (default: 8501)")
    command.add_argument("--address", default="", help="network address to listen on (default: all)")
    command.add_argument("--no-browser", action="store_true", help="do not open the browser")
    command.set_defaults(run=run)


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 1 <= int(text) <= 65535):
        raise argparse.ArgumentTypeError(f"a port is a whole number from 1 to 65535; received {text!r}")
    return int(text)


def run(args: argparse.Namespace) -> None:
    """Replace this process with Streamlit's server, which reads its settings from .streamlit/ next to app.py."""
    command = [sys.executable, "-m", "streamlit", "run", str(ROOT / "app.py"), "--server.port", str(args.port)]
    if args.address:
        command += ["--server.address", args.address]
    environment = os.environ | {"NORMVIZ_BROWSER": "0" if args.no_browser else "1"}
    os.execve(sys.executable, command, environment)
