"""What a training run prints: a progress bar on a terminal, and a line with the losses now and then."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from transformers import TrainerCallback

from stride_ros.terminal import Progress, say


class TrainingProgress(TrainerCallback):  # type: ignore[misc]  # untyped library
    """Prints the progress of the first process; in place of transformers' bar and dictionaries."""

    def __init__(self) -> None:
        self._bar: Progress | None = None

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if state.is_world_process_zero:
            self._bar = Progress("training", state.max_steps, "step")

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        if self._bar is not None:
            self._bar.update(state.global_step)

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **_: Any) -> None:
        if self._bar is not None and logs and "loss" in logs:
            self._bar.clear()
            parts = [f"{name} {logs[key]:.4f}" for key, name in _PARTS if logs.get(key)]
            of_parts = f" ({', '.join(parts)})" if len(parts) > 1 else ""
            say(f"step {state.global_step} of {state.max_steps}: loss {float(logs['loss']):.4f}{of_parts}")

    def close(self) -> None:
        """Remove the bar, so that the next output begins on its own line."""
        if self._bar is not None:
            self._bar.clear()


_PARTS = (("slot_loss", "slots"), ("text_loss", "sentences"))


def loss_summary(history: Sequence[dict[str, Any]]) -> str:
    """A sentence about the losses at the start and the end of a run, from its log; empty without a loss."""
    losses = [(int(entry["step"]), float(entry["loss"])) for entry in history if "loss" in entry]
    if not losses:
        return ""
    parts, before = [], 0
    for step, loss in losses:
        steps = f"steps {before + 1} to {step}" if step > before + 1 else f"step {step}"
        parts.append(f"{loss:.4f} in {steps}")
        before = step
    return f"The mean loss was {' and '.join(parts if len(parts) < 2 else (parts[0], parts[-1]))}."
