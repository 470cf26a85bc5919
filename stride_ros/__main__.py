"""`python -m stride_ros` and `stride-ros`: the command line, which Ctrl-C also stops while it is imported."""

from __future__ import annotations


def main() -> int:
    """Run the command of this process's arguments; return its exit code."""
    try:
        from stride_ros.cli import main as run

        return run()
    except KeyboardInterrupt:
        import contextlib
        import os

        with contextlib.suppress(OSError):  # stderr may be closed
            os.write(2, b"stride-ros: stopped.\n")
        return 130


if __name__ == "__main__":
    raise SystemExit(main())
