"""What Ray's errors mean for the user of the command: one sentence with the remedy."""

from __future__ import annotations


def refusal(error: Exception, address: str | None) -> str:
    """Why Ray cannot be started on this machine, or a cluster cannot be reached."""
    where = f"on {address}" if address is not None else "on this machine"
    lines = str(error).strip().splitlines()
    reason = lines[0].rstrip(".") if lines else type(error).__name__
    return (
        f"Ray cannot be reached {where} ({reason}); check that `ray status` works there, or mine without "
        "Ray, with --no-ray."
    )


def lacking(error: Exception) -> str:
    """What a node lacks that a worker needs; empty if that is not what happened."""
    return ""


def unreadable(path: str, node: str) -> str:
    """A recording is only on the machine of the command."""
    return (
        f"Node {node} of the cluster cannot read {path}; put the recordings on storage that all nodes have under"
        " the same path, and run the same command to continue."
    )
