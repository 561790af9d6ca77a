"""``flexlora app``: the packaged Lab on Streamlit's server, over the runs of the working folder."""

from __future__ import annotations

import argparse
import os
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

SCRIPT = Path(__file__).resolve().parent / "main.py"
HERE = ("localhost", "127.0.0.1")
EVERYWHERE = ("0.0.0.0", "::")
PORTS = range(1, 65536)


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise ValueError(f"{message} (flexlora app --help lists every option)")


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until interrupted; return the exit status: 2 for what cannot be served."""
    try:
        options = _parser().parse_args(arguments)
        runs = _runs_folder(options.runs)
        _check_address(options.host, options.port)
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.host not in HERE:
        sys.stderr.write("The Lab has no passwords: whoever reaches this port can start and stop runs.\n")
    os.environ["FLEXLORA_LAB_RUNS"] = str(runs)
    if options.files:
        os.environ["FLEXLORA_LAB_FILES"] = str(options.files.absolute())
    from streamlit.web.cli import main as streamlit

    hosts = ["*"] if options.host in EVERYWHERE else [*HERE, *({options.host} - {*HERE})]
    flags = ["--server.port", str(options.port), "--server.address", options.host]
    flags += [part for host in hosts for part in ("--server.allowedHosts", host)]
    # Other options, such as colours, stand in .streamlit/config.toml beside the script.
    return streamlit(["run", str(SCRIPT), *flags], prog_name="flexlora app", standalone_mode=False) or 0


def _parser() -> argparse.ArgumentParser:
    parser = _Parser(prog="flexlora app", description="Serve the Lab in a browser.")
    parser.add_argument("--port", type=int, default=8501, help="default %(default)s")
    parser.add_argument("--host", default=HERE[1], help="address to listen on (default %(default)s: this machine only)")
    parser.add_argument("--runs", type=Path, default=Path("runs"), help="folder of your runs (default ./runs)")
    parser.add_argument("--files", type=Path, help="the folder in which visitors may name files by their paths")
    return parser


def _runs_folder(folder: Path) -> Path:
    if folder.exists() and not folder.is_dir():
        raise ValueError(f"--runs {folder} is a file. Give a folder; it is made when the first run starts.")
    return folder.absolute()


def _check_address(host: str, port: int) -> None:
    if port not in PORTS:
        raise ValueError(f"--port {port} is none: 1 to 65535.")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise ValueError(
                f"cannot listen on {host}:{port} ({error.strerror or error}). Choose another --port."
            ) from error
