"""A lock for imports that go wrong in two threads at once."""

from __future__ import annotations

import threading

# transformers replaces itself in sys.modules while it is imported: a second thread that waits for it gets the
# module that was replaced, which has nothing in it.
IMPORT_LOCK = threading.RLock()
