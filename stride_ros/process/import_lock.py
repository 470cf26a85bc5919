"""A lock for imports that fail when done in two threads at once."""

from __future__ import annotations

import threading

# transformers replaces itself in sys.modules while it is imported: a second thread that waits for it gets the
# replaced module, which is empty.
IMPORT_LOCK = threading.RLock()
