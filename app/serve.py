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
        addresses, told = _made_class(options, runs) if options.classroom else ([], "")
    except (ValueError, OSError) as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    if options.classroom:
        os.environ["FLEXLORA_LAB_CLASS"] = " ".join(addresses)
        # Else whoever asks from this machine could name another address for each wrong code (`X-Forwarded-For`).
        os.environ.setdefault("FORWARDED_ALLOW_IPS", "")
        sys.stderr.write(told)
    elif options.host not in HERE:
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
    group = parser.add_argument_group("a class (docs/workshop.md)")
    group.add_argument(
        "--class", dest="classroom", action="store_true", help="let in only who has its code, and give it a leader"
    )
    group.add_argument("--name", help="what the class is called; the first time it is Class")
    group.add_argument("--address", help="how others reach this server, where that is not what it sees: behind Docker")
    group.add_argument(
        "--new-codes", action="store_true", help="make new codes; members stay, leaders need the new link"
    )
    return parser


def _made_class(options: argparse.Namespace, runs: Path) -> tuple[list[str], str]:
    """Make the class, or find it as it was; return its addresses and what to print."""
    # Imported here: most servers have no class.
    from .classroom import announce, codes

    if codes.is_served(runs):
        raise ValueError(f"Another server holds the class in {runs}. Stop it, or give another --runs folder.")
    name = " ".join((options.name or "").encode("utf-8", "ignore").decode().split())
    if len(name) > codes.LONGEST_NAME:
        raise ValueError(f"--name has {len(name)} characters: give at most {codes.LONGEST_NAME}.")
    addresses = announce.addresses_of(options.host, options.port, options.address)
    known, token = None if options.new_codes else codes.read_codes(runs), None
    if known is None:
        known, token = codes.make_codes(runs, name or "Class")
    elif name and name != known.name:
        known = codes.rename_class(runs, known, name)
    encoding = sys.stderr.encoding or "utf-8"
    only_here = options.host in HERE
    return addresses, announce.announcement(known, token, addresses, only_here=only_here, encoding=encoding)


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
