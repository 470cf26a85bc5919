"""What Ray's errors mean for the user of the command: one sentence with the remedy."""

from __future__ import annotations

import re

from stride_ros.mining.jobs import Death
from stride_ros.mining.pool import failed
from stride_ros.mining.ray_address import AUTO
from stride_ros.terminal import uncoloured

_MODULE = re.compile(r"No module named '([\w.]+)'")
_NODE = re.compile(r"\bip=([\w.:]+)")
_LONGEST = 200  # characters of a reason


def refusal(error: Exception, address: str | None) -> str:
    """Why Ray cannot be started on this machine, or a cluster cannot be reached."""
    reason = " ".join(str(error).split())
    if isinstance(error, ImportError | AttributeError):
        return (
            f"Ray is installed but cannot be imported ({_short(reason)}); install it again with: pip install "
            "--force-reinstall -r requirements-fleet.txt, or mine without it, with --no-ray."
        )
    if address is not None:
        return unreached(address, _short(reason or type(error).__name__))
    return (
        f"Ray cannot be started on this machine ({_short(reason or type(error).__name__)}); free memory and"
        " space in its temporary folder, or mine without Ray, with --no-ray."
    )


def unreached(address: str | None, reason: str) -> str:
    """A cluster does not answer, or refuses."""
    where = "of this machine" if address == AUTO else f"at {address}"
    if "Version mismatch" in reason:
        return f"The Ray cluster {where} has other versions ({reason}); install the same on every node."
    if "oken" in reason:
        remedy = "copy ~/.ray/auth_token of its first machine here"
    elif "Could not find any running Ray" in reason:
        return (
            "No Ray cluster runs on this machine; start one with `ray start --head`, or name one with --ray."
        )
    else:
        remedy = (
            "check that `ray status` works there, and, if the cluster has a token, that RAY_AUTH_MODE=token "
            "is set and ~/.ray/auth_token is that of its first machine"
        )
    return f"The Ray cluster {where} cannot be used ({reason}); {remedy}."


def _short(text: str) -> str:
    """The first sentences of a text that may be long."""
    text = " ".join(text.split())
    if len(text) > _LONGEST:
        text = text[:_LONGEST].rpartition(". ")[0] or text[:_LONGEST].rpartition(" ")[0] + " ..."
    return text.rstrip(".")


def lacking(error: Exception) -> str:
    """What a node lacks that a worker needs, in a sentence; empty if that is not what happened.

    Ray passes on only the text of an error in loading an actor.
    """
    text = str(error)
    module = _MODULE.search(text)
    if module is None:
        return ""
    node = _NODE.search(text)
    where = f"Node {node[1]} of the cluster" if node is not None else "A node of the cluster"
    return (
        f"{where} lacks the Python module {module[1]}; install this package and its requirements on every "
        "node, in the environment that runs `ray start`."
    )


def ended(error: Exception) -> Death:
    """How a worker ended."""
    lines = [line for line in uncoloured(str(error)).splitlines() if line.strip()]
    if lines and "creation task" in lines[0]:
        return Death(lines[-1].strip().rstrip(".")[:_LONGEST])
    return Death(uncoloured(failed(error).reason))


def unreadable(path: str, node: str) -> str:
    """A recording is only on the machine of the command."""
    return (
        f"Node {node} of the cluster cannot read {path}; put the recordings on storage that all nodes have "
        "under the same path, and run the same command to continue."
    )
