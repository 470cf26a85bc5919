"""The settings of mining: the same for all workers, and, with the content, the key of a result."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from stride_ros.activation.config import ActivationConfig
from stride_ros.response.config import BackendConfig, ResponseConfig

_FORMAT = 1  # increase this when the same recording and settings give another result


@dataclass(frozen=True)
class Settings:
    """How recordings are mined. `model`: name or folder, `weights`: digest of its content.

    `rate`: frames per second; `clock`: "header" or "log"; `device`, `threads`: as in `replay`. `backend`,
    `response`: what describes the events, and how; None: nothing does.
    """

    queries: tuple[str, ...]
    model: str
    weights: str = ""
    config: ActivationConfig = field(default_factory=ActivationConfig)
    rate: float = 1.0
    clock: str = "header"
    image_topic: str | None = None
    device: str = "auto"
    threads: int = 0
    backend: BackendConfig | None = None
    response: ResponseConfig = field(default_factory=ResponseConfig)

    @property
    def digest(self) -> str:
        """A digest of everything but the recording that a result depends on; not of devices and workers."""
        backend = None if self.backend is None else asdict(replace(self.backend, threads=0, device=""))
        wanted: dict[str, Any] = {
            "format": _FORMAT,
            "queries": self.queries,
            "model": self.model,
            "weights": self.weights,
            "config": asdict(self.config),
            "rate": self.rate,
            "clock": self.clock,
            "image topic": self.image_topic,
            "backend": backend,
            "response": asdict(self.response) if self.backend is not None else None,
        }
        return hashlib.sha256(json.dumps(wanted, sort_keys=True, default=str).encode()).hexdigest()
