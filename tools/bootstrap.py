#!/usr/bin/env python3
"""Set up everything that `make demo` and `make test` need; do nothing if nothing has changed.

The work is in setup_steps.py. Old Python versions that cannot parse the other files can parse this one, so
that they give a clear error instead of a traceback.
"""

import os
import subprocess
import sys

TOOLS = os.path.dirname(os.path.abspath(__file__))


def remedy_for_old_python():
    """Return the Python to use instead, among those on this machine."""
    for minor in (12, 13, 11, 14, 10):
        name = "python3.%d" % minor  # noqa: UP031
        search = ["sh", os.path.join(TOOLS, "find_python.sh"), name]
        with open(os.devnull, "w") as nowhere:
            if subprocess.call(search, stdout=nowhere, stderr=nowhere) == 0:
                return "use `make PYTHON=%s demo`" % name  # noqa: UP031
    return "install Python 3.12 and use `make PYTHON=python3.12 demo`"


if sys.version_info < (3, 10):  # noqa: UP036
    text = "set-up: Python %d.%d is too old, 3.10 to 3.14 work: %s.\n"
    sys.stderr.write(text % (sys.version_info[0], sys.version_info[1], remedy_for_old_python()))
    raise SystemExit(2)

if __name__ == "__main__":
    from setup_steps import main

    raise SystemExit(main(sys.argv[1:]))
