"""How the frames per second of a stream fit the slots of a model."""

from __future__ import annotations

NOTE_BEGINS = "The model's slots are"
_FEWEST, _MOST = 0.6, 1.6  # frames per slot without a note: about the one that models are trained with


def rate_that_fits(resolution: float) -> float:
    """Frames per second with one frame in each slot of `resolution` s, rounded for people."""
    return float(f"{1.0 / resolution:.3g}")


def rate_note(rate: float, resolution: float, option: str = "--rate") -> str | None:
    """A sentence if `rate` (frames per second) leaves slots of `resolution` s empty, or puts several in one.

    Either misses events and invents others. `option` is what sets the rate, as the user writes it.
    """
    per_slot = rate * resolution
    if _FEWEST < per_slot < _MOST:
        return None
    frames = "1 frame" if rate == 1 else f"{rate:g} frames"
    filled = f"only {per_slot:.0%} of them have one" if per_slot < 1 else f"each has {per_slot:g}"
    return (
        f"{NOTE_BEGINS} {resolution:g} s, so at {frames} a second {filled}; use "
        f"{option} {rate_that_fits(resolution):g}, unless the model was trained in this way."
    )
