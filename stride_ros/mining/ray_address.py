"""The address of a Ray cluster, as `--ray` has it."""

from __future__ import annotations

import socket
from contextlib import suppress

from stride_ros.errors import ConfigError

AUTO = "auto"  # the cluster of this machine, or that of RAY_ADDRESS
_PATIENCE = 5.0  # s for a machine to answer


def read_address(text: str) -> str | None:
    """The address; None for "local", Ray on this machine alone. ConfigError if it is not an address."""
    if text in ("local", AUTO):
        return text if text == AUTO else None
    if "://" in text:
        raise ConfigError(
            f"--ray {text} is not the address of a cluster's node; run this command on a node of the "
            "cluster, with --ray auto."
        )
    if _parts(text) is None:
        raise ConfigError(f"--ray {text or repr(text)} is not an address; use auto or HOST:PORT.")
    return text


def refuse_silence(address: str) -> None:
    """Raise ConfigError if nothing listens at this address: Ray would wait for it for ever."""
    if address == AUTO:
        address = _found()
    parts = _parts(address)
    if parts is None:
        return
    try:
        socket.create_connection(parts, _PATIENCE).close()
    except OSError as error:
        reason = error.strerror or str(error) or type(error).__name__
        raise ConfigError(
            f"No Ray cluster can be reached at {address} ({reason}); start it there with `ray start --head`, "
            "or correct --ray."
        ) from error


def _found() -> str:
    """What Ray means by "auto": perhaps a cluster that has ended without `ray stop`. Empty if unknown."""
    with suppress(Exception):  # not an interface that Ray promises; `ray.init` says what is wrong
        from ray._private.services import get_ray_address_from_environment

        return str(get_ray_address_from_environment(AUTO, None))
    return ""


def _parts(text: str) -> tuple[str, int] | None:
    """Host and port."""
    host, _, port = text.rpartition(":")
    bare = host.removeprefix("[").removesuffix("]")
    valid = port.isascii() and port.isdigit() and 0 < int(port) < 65536
    return (bare, int(port)) if valid and bare and (":" not in host or host != bare) else None
