"""Training examples: the full prompt of an activation window, or of a sentence, with its targets.

The prompts are those of inference: `activation.prompt` for windows, `response.qwen3_vl` for sentences.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from stride_ros.activation.positions import pair_positions
from stride_ros.activation.prompt import Prompt, pair_time
from stride_ros.qwen3_vl.patches import CELL, MERGE, PAIR, patches, prepare
from stride_ros.response.backend import ResponseRequest
from stride_ros.training.masking import Entry, Window, build_window

IGNORED = -100
Ids = NDArray[np.int64]
Image = NDArray[np.uint8]


@dataclass(frozen=True)
class Example:
    """One sequence of L tokens.

    ids (L,), positions (3, L) on the rotary axes, pixels (patches, 1536) of all pairs, grid (pairs, patch
    rows, patch columns). Targets, -100 where there is none: slot_labels (L,) 0 or 1 at masked slots of the
    last copy of the window, text_labels (L,) the token itself at the words to say.
    """

    ids: Ids
    positions: Ids
    pixels: NDArray[np.float32]
    grid: tuple[int, int, int]
    slot_labels: Ids
    text_labels: Ids


class WindowExamples:
    """Makes examples of activation windows for one model."""

    def __init__(
        self,
        prompt: Prompt,
        slots: int,
        resolution: float,
        modes: Sequence[int],
        copies: int,
        frame_max_tokens: int,
    ) -> None:
        self._prompt = prompt
        self._slots, self._resolution, self._modes = slots, resolution, modes
        self._copies, self._max_tokens = copies, frame_max_tokens

    def build(
        self,
        query: str,
        images: Sequence[Image],
        times: Sequence[float],
        entries: Sequence[Entry],
        rng: np.random.Generator,
    ) -> Example | None:
        """Make an example from frames (H, W, 3) at `times` (s), with entries on the same clock.

        The last of an odd number of frames is shown twice. None if the window has no targets.
        """
        times = [*times, *times[len(times) - len(times) % PAIR :]]
        origin = times[0]
        relative = [Entry(e.start - origin, e.end - origin, e.active, e.shown) for e in entries]
        now = times[-1] - origin
        window = build_window(now, self._slots, self._resolution, relative, self._modes, rng)
        if window is None or not window.masked.any():
            return None
        return self.assemble(query, prepare_frames(images, self._max_tokens), times, window)

    def assemble(
        self, query: str, frames: Sequence[Image], times: Sequence[float], window: Window
    ) -> Example:
        """Make the example of a chosen window.

        `frames` and `times` (s) are even in number; frames have the model's size.
        """
        origin = times[0]
        rows, columns = frames[0].shape[0] // CELL, frames[0].shape[1] // CELL
        ids, positions, position = [], [], 0
        for index in range(0, len(times), PAIR):
            text = pair_time(times[index], times[index + 1], origin)
            ids.append(self._prompt.pair(text, rows * columns, None if index else query))
            at, position = pair_positions(len(ids[-1]), rows, columns, position)
            positions.append(at)
        slots = np.tile(self._prompt.slot_ids[window.tokens], self._copies)
        ending = self._prompt.ending(query)
        tail = len(slots) + len(ending)
        all_ids = np.concatenate([*ids, slots, ending])
        all_positions = np.concatenate(
            [*positions, np.tile(np.arange(position, position + tail), (3, 1))], axis=1
        )
        targets = np.full(len(all_ids), IGNORED)
        first = len(all_ids) - len(ending) - self._slots
        asked = np.flatnonzero(window.masked)
        targets[first + asked] = window.labels[asked]
        pairs = len(times) // PAIR
        return Example(
            all_ids,
            all_positions,
            pair_pixels(frames),
            (pairs, MERGE * rows, MERGE * columns),
            targets,
            np.full(len(all_ids), IGNORED),
        )


class SentenceExamples:
    """Makes examples of the responder's prompt followed by the sentence to say."""

    def __init__(self, response_prompt: Any) -> None:
        """response_prompt: a response.qwen3_vl.Qwen3VLPrompt of the model in training."""
        self._prompt = response_prompt

    def build(self, request: ResponseRequest, text: str) -> Example:
        """Make an example that teaches the model to answer `request` with `text`."""
        inputs = {name: value.numpy() for name, value in self._prompt.inputs(request).items()}
        question = inputs["input_ids"][0]
        tokenizer = self._prompt.tokenizer
        answer = np.array(
            [*tokenizer(text, add_special_tokens=False)["input_ids"], tokenizer.eos_token_id], dtype=np.int64
        )
        ids = np.concatenate([question, answer])
        pairs, height, width = (int(side) for side in inputs["video_grid_thw"][0])
        targets = np.full(len(ids), IGNORED)
        targets[len(question) :] = answer
        return Example(
            ids,
            _prompt_positions(ids, inputs["mm_token_type_ids"][0], height // MERGE, width // MERGE),
            inputs["pixel_values_videos"],
            (pairs, height, width),
            np.full(len(ids), IGNORED),
            targets,
        )


def _prompt_positions(ids: Ids, types: Ids, rows: int, columns: int) -> Ids:
    """Positions (3, L) of a prompt whose frame pairs have token type 2, and of the answer after it."""
    video = np.flatnonzero(types == 2)
    parts, position, done = [], 0, 0
    for last in video[rows * columns - 1 :: rows * columns]:
        stop = int(last) + 2  # the token that ends the vision part belongs to the pair
        at, position = pair_positions(stop - done, rows, columns, position)
        parts.append(at)
        done = stop
    parts.append(np.tile(np.arange(position, position + len(ids) - done), (3, 1)))
    return np.concatenate(parts, axis=1)


def prepare_frames(images: Sequence[Image], max_tokens: int) -> list[Image]:
    """An even number of frames at the model's size: the last of an odd number is repeated."""
    first = prepare(images[0], max_tokens)
    frames = [first, *(prepare(image, max_tokens, first.shape[:2]) for image in images[1:])]
    return frames + frames[len(frames) - len(frames) % PAIR :]


def pair_pixels(frames: Sequence[Image]) -> NDArray[np.float32]:
    """Patches of consecutive pairs, (pairs * patches, 1536)."""
    return np.concatenate([patches(a, b) for a, b in zip(frames[::2], frames[1::2], strict=True)])
