"""What `flexlora app --class` prints: where the class is, by what one joins, and what is open to whom."""

from __future__ import annotations

import io
import socket
from urllib.parse import urlsplit

from .codes import Codes

_ANYWHERE = {"0.0.0.0", "::"}
_HERE = {"localhost", "127.0.0.1", "::1"}


def addresses_of(host: str, port: int, given: str | None = None) -> list[str]:
    """Return the addresses at which a server can be reached, the likeliest first.

    ``given`` is what the user says it is; it stands alone then, without a slash at its end.

    Raises:
        ValueError: that is no address of http.
    """
    if given is not None:
        if urlsplit(given).scheme not in ("http", "https") or not urlsplit(given).netloc:
            raise ValueError(f"--address {given} is none: give one as http://192.168.1.20:8501.")
        return [given.rstrip("/")]
    names = _own_addresses() if host in _ANYWHERE else [host]
    return [f"http://{f'[{name}]' if ':' in name else name}:{port}" for name in names]


def announcement(
    codes: Codes, token: str | None, addresses: list[str], *, only_here: bool, encoding: str = "utf-8"
) -> str:
    """Return the text for the terminal.

    Args:
        codes: of the class.
        token: the leader's, where it was made just now; None afterwards, as it is kept nowhere.
        addresses: from `addresses_of`.
        only_here: no other machine reaches the server.
        encoding: of the terminal; one that lacks half blocks gets no QR code.
    """
    join = f"{addresses[0]}/?code={codes.code}"
    leader = (
        f"{addresses[0]}/lab/class/leader?token={token}"
        if token
        else "as printed when the class was made, and this browser that led it still does (--new-codes makes new ones)"
    )
    warned = (
        "Only this machine reaches it. For a class add --host 0.0.0.0."
        if only_here
        else "It is open to the network: whoever reaches this port and has the code can look at all runs and train. "
        "Without HTTPS, who can read the traffic can read codes and cookies: use it in a network that you trust."
    )
    lines = [
        "",
        f"Class      {codes.name}",
        *(f"{'Address' if place == 0 else '':10} {address}" for place, address in enumerate(addresses)),
        f"Code       {codes.code[:3]} {codes.code[3:]}",
        f"Leader     {leader}",
        "",
        qr_text(join, encoding),
        f"The picture is {join}",
        warned,
        "",
    ]
    return "\n".join(lines)


def qr_text(address: str, encoding: str = "utf-8") -> str:
    """Return an address as a QR code of half blocks for a terminal, or why there is none."""
    try:
        import segno
    except ImportError:
        return "(No QR code: segno is not installed.)"
    text = io.StringIO()
    segno.make(address, error="m").terminal(out=text, border=2, compact=True)
    try:
        text.getvalue().encode(encoding)
    except UnicodeEncodeError:
        return "(No QR code: this terminal has no signs for it. The page Class shows it.)"
    return text.getvalue()


def qr_svg(address: str, scale: int = 5) -> str | None:
    """Return an address as a QR code, black on white, as SVG; None without segno."""
    try:
        import segno
    except ImportError:
        return None
    made = segno.make(address, error="m")
    text = io.BytesIO()
    made.save(text, kind="svg", scale=scale, border=2, light="#fff", dark="#000", xmldecl=False)
    return text.getvalue().decode()


def _own_addresses() -> list[str]:
    """IPv4 addresses of this machine in its networks; that by which it reaches others first."""
    import psutil

    found = [
        address.address
        for name, held in psutil.net_if_addrs().items()
        for address in held
        if address.family == socket.AF_INET and not address.address.startswith(("127.", "169.254."))
    ]
    first = _outward()
    return sorted(dict.fromkeys(found), key=lambda address: address != first) or ["127.0.0.1"]


def _outward() -> str:
    """A datagram socket that is connected knows its own address; nothing is sent, to an address that nobody has."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("192.0.2.1", 9))
            return str(probe.getsockname()[0])
        except OSError:
            return ""
