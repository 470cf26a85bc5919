"""The stages that make stride-tiny from scratch.

A window of slots is hard to learn from scratch: the answer needs the query, the content of frames, and how
slots align with frame times, all at once. So each is learned where it is easy: the content from single frame
pairs, the query from single pairs with a query, then the alignment of slots from short streams, and finally
long streams and sentences.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn

from stride_ros.activation.prompt import Prompt
from stride_ros.response.prompt import DEFAULT_SYSTEM_PROMPT
from stride_ros.response.qwen3_vl import Qwen3VLPrompt
from stride_ros.text.wording import counted
from stride_ros.training.checkpoint import SIZES, create_checkpoint
from stride_ros.training.examples import IGNORED, SentenceExamples
from stride_ros.training.model import StrideForTraining, WindowKeys, prepare, write_weights
from stride_ros.training.tiny.clips import load_clips
from stride_ros.training.tiny.drawing import Drawer, StreamKind, encode_tables, settle_scale
from stride_ros.training.tiny.packing import Batch, Packer, language_model_inputs
from stride_ros.training.tiny.vision import warm_up_vision
from stride_ros.world.story import WorldConfig
from stride_ros.world.vocabulary import COLOURS, SHAPES, all_queries, sentence_for
from stride_ros.world.world import USUAL

FIRST_SEED = 10_000  # of the training clips
TIME_LIMIT = 160.0  # s; a context of 128 frames at a little under one a second
FEATURE_SCALE = 0.5
EMBEDDING_SCALE = 0.05
SHORT = (StreamKind((4, 24), 8, 1.0),)
LONG = (
    StreamKind((4, 24), 8, 0.5),
    StreamKind((24, 64), 10, 0.35),
    StreamKind((64, 128), 12, 0.15),
)
TOKENS = 3400  # of a batch of streams
PAIR_WEIGHT = 0.3  # of the loss at the end of frame pairs while windows are learned
TEXT_WEIGHT = 0.6


@dataclass(frozen=True)
class Recipe:
    """The amount of each stage, and the kind of model: slots of the window, mask modes, window written once.

    caution: weight of an inactive slot relative to an active one. A false alarm disturbs more than a second
    of delay, so a slot should be active only if the odds for that exceed `caution` to 1. unsettled: an event
    is settled, and shown as inactive, from a time between these after its end (s); until then it is part of
    the answer. sentences: number of sentences per step of the last stage, besides its streams. world: what
    may happen in the clips.
    """

    clips: int = 500
    vision_steps: int = 5000
    pair_steps: int = 1000
    short_steps: int = 600
    long_steps: int = 2000
    caution: float = 2.0
    unsettled: tuple[float, float] = (0.5, 2.5)
    sentences: int = 6
    window: int = 16
    mask_modes: tuple[int, ...] = (1, 2, 3)
    single_sequence: bool = False
    seed: int = 0
    world: WorldConfig = USUAL


class PairHead(nn.Module):
    """Reads from the end of a frame pair whether the query is true in its two frames; discarded later."""

    def __init__(self, hidden: int) -> None:
        super().__init__()
        self.linear = nn.Linear(hidden, 2)

    def loss(self, states: torch.Tensor, facts: torch.Tensor) -> torch.Tensor:
        """Loss over the facts of a batch, given the hidden states (B, L, hidden)."""
        logits = self.linear(states[facts[:, 0], facts[:, 1]])
        return F.binary_cross_entropy_with_logits(logits, facts[:, 2:].float())


def start(folder: Path, recipe: Recipe) -> None:
    """Write the random start checkpoint, whose tokenizer has the world's words and one token per time."""
    things = [f"{colour} {shape}" for colour in COLOURS for shape in SHAPES]
    sentences = [sentence_for(kind, a) for kind in ("on_table", "held", "hand", "dark") for a in things]
    touches = [sentence_for("touch", a, b) for a in things for b in things]
    request = (
        "The user asked: x\nThis has just been detected; it began at 1.0 seconds of the video.",
        "You said before, so do not repeat it: a | b",
        "Tell the user now what is happening.",
        *("user\n", "assistant\n", "system\n"),
    )
    asked = [*all_queries(), *all_queries(kinds=recipe.world.kinds)]
    texts = [*asked, *sentences, *touches, DEFAULT_SYSTEM_PROMPT, *request]
    create_checkpoint(
        folder,
        size="tiny",
        window=recipe.window,
        texts=texts,
        time_limit=TIME_LIMIT,
        mask_modes=recipe.mask_modes,
        single_sequence=recipe.single_sequence,
        seed=recipe.seed,
    )


def make(
    folder: Path,
    recipe: Recipe,
    cache: Path | None = None,
    vision: Path | None = None,
    say: Callable[[str], None] = print,
) -> None:
    """Train a checkpoint like stride-tiny and write it to `folder`.

    cache: folder in which rendered clips are kept between runs. vision: a checkpoint of this recipe whose
    vision tower is used unchanged, so that models to be compared have the same vision.
    """
    begun = time.monotonic()

    def tell(text: str) -> None:
        say(f"{(time.monotonic() - begun) / 60:6.1f} min  {text}")

    torch.manual_seed(recipe.seed)
    start(folder, recipe)
    model, tokenizer = prepare(str(folder), folder, WindowKeys())
    seeds = range(FIRST_SEED, FIRST_SEED + recipe.clips)
    clips = load_clips(seeds, model.config.frame_max_tokens, cache, config=recipe.world)
    tell(f"{counted(len(clips), 'clip')} of {counted(len(clips[0].frames), 'frame')}")
    visual = model.model.visual
    if vision is not None:
        visual.load_state_dict(_vision_weights(vision))
    else:
        warm_up_vision(
            visual,
            clips,
            steps=recipe.vision_steps,
            batch=64,
            learning_rate=1.5e-3,
            seed=recipe.seed,
            say=tell,
        )
        settle_scale(visual, clips, FEATURE_SCALE)
    visual.requires_grad_(False)
    with torch.no_grad():
        _spread_embeddings(model, tokenizer)
    trainer = _Stages(model, tokenizer, folder, clips, recipe, tell)
    trainer.learn_pairs(recipe.pair_steps, learning_rate=3e-3)
    trainer.learn_windows("short", recipe.short_steps, 2e-3, SHORT, sentences=0)
    trainer.learn_windows("long", recipe.long_steps, 1.5e-3, LONG, sentences=recipe.sentences)
    write_weights(model, folder, torch.bfloat16)
    tell(f"written to {folder}")


def _vision_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The vision tower's part of a checkpoint's weights."""
    prefix = "model.visual."
    weights = load_file(str(checkpoint / "model.safetensors"))
    return {name.removeprefix(prefix): w.float() for name, w in weights.items() if name.startswith(prefix)}


def _spread_embeddings(model: StrideForTraining, tokenizer: Any) -> None:
    """Give time tokens embeddings that vary smoothly with the time, and all tokens the same scale."""
    table = model.get_input_embeddings().weight
    table.mul_(EMBEDDING_SCALE / table.std())
    periods = np.geomspace(2.0, 600.0, table.shape[1] // 2)
    for token, index in tokenizer.get_vocab().items():
        if token.startswith("<") and token.endswith(" seconds>"):
            angle = 2 * np.pi * float(token[1:-9]) / periods
            wave = np.concatenate([np.sin(angle), np.cos(angle)]) * EMBEDDING_SCALE * np.sqrt(2)
            table[index] = torch.from_numpy(wave).to(table)


class _Stages:
    """The language model's stages, on features of a vision tower that no longer changes."""

    def __init__(
        self, model: StrideForTraining, tokenizer: Any, folder: Path, clips: Any, recipe: Recipe, tell: Any
    ) -> None:
        self._model, self._tell = model, tell
        self._rng = np.random.default_rng([0x7A, recipe.seed])
        self._weights = torch.tensor([recipe.caution, 1.0])
        copies = 1 if recipe.single_sequence else 2
        self._window_tokens = copies * recipe.window
        self._tables = encode_tables(model.model.visual, clips)
        config = model.config
        rows, columns = (side // 32 for side in clips[0].frames.shape[1:3])
        prompt = Prompt(tokenizer)
        packer = Packer(
            prompt,
            config.trigger_window_past,
            config.trigger_temporal_resolution,
            config.mask_modes,
            rows,
            columns,
            copies,
            recipe.unsettled,
        )
        sentences = SentenceExamples(Qwen3VLPrompt(folder, config, SIZES["tiny"].frame_max_tokens))
        self._drawer = Drawer(clips, packer, sentences, self._rng)
        self._head = PairHead(config.text_config.hidden_size)
        self._parameters = [
            *(parameter for parameter in model.parameters() if parameter.requires_grad),
            *self._head.parameters(),
        ]

    def learn_pairs(self, steps: int, learning_rate: float) -> None:
        """Learn whether the query is true in a pair."""

        def loss() -> tuple[torch.Tensor, dict[str, float]]:
            batch = self._drawer.pairs(64)
            value = self._head.loss(self._states(batch), batch.facts)
            return value, {"loss": value.item()}

        self._run("pairs", steps, learning_rate, loss)

    def learn_windows(
        self, name: str, steps: int, learning_rate: float, kinds: tuple[StreamKind, ...], sentences: int
    ) -> None:
        """Learn windows of streams, and `sentences` sentences per step."""
        shares = np.array([kind.share for kind in kinds])

        def loss() -> tuple[torch.Tensor, dict[str, float]]:
            kind = kinds[int(self._rng.choice(len(kinds), p=shares / shares.sum()))]
            tokens = 20 + 9 * sum(kind.frames) / 4 + kind.ticks * (self._window_tokens + 5)
            batch = self._drawer.streams(max(2, round(TOKENS / tokens)), kind)
            value, numbers = self._window_loss(batch)
            if sentences:
                text = self._text_loss(self._drawer.sentences(sentences))
                value, numbers = value + TEXT_WEIGHT * text, numbers | {"text": text.item()}
            return value, numbers

        self._run(name, steps, learning_rate, loss)

    def _states(self, batch: Batch) -> torch.Tensor:
        inputs = language_model_inputs(self._model, batch, self._tables)
        states: torch.Tensor = self._model.model.language_model(**inputs).last_hidden_state
        return states

    def _window_loss(self, batch: Batch) -> tuple[torch.Tensor, dict[str, float]]:
        states = self._states(batch)
        asked = batch.labels != IGNORED
        rows = self._model.lm_head.weight[list(self._model.slot_token_ids[:2])]
        logits, labels = F.linear(states[asked], rows), batch.labels[asked]
        slots = F.cross_entropy(logits, labels, self._weights)
        told = logits.argmax(-1)
        overlap = (told & labels).sum().item() / max(1, (told | labels).sum().item())
        value = slots + PAIR_WEIGHT * self._head.loss(states, batch.facts)
        return value, {"slots": slots.item(), "IoU": overlap}

    def _text_loss(self, batch: Batch) -> torch.Tensor:
        states, targets = self._states(batch)[:, :-1], batch.labels[:, 1:]
        said = targets != IGNORED
        return F.cross_entropy(self._model.lm_head(states[said]), targets[said])

    def _run(self, name: str, steps: int, learning_rate: float, loss: Callable[[], Any]) -> None:
        """Optimise for some steps, with a rate that rises and falls once; report means of every 100 steps."""
        if steps < 1:
            return
        optimiser = torch.optim.AdamW(
            self._parameters, lr=learning_rate, weight_decay=0.01, betas=(0.9, 0.98)
        )
        schedule = torch.optim.lr_scheduler.OneCycleLR(
            optimiser, learning_rate, total_steps=steps, pct_start=0.08
        )
        seen: list[dict[str, float]] = []
        for step in range(1, steps + 1):
            value, numbers = loss()
            optimiser.zero_grad()
            value.backward()
            nn.utils.clip_grad_norm_(self._parameters, 1.0)
            optimiser.step()
            schedule.step()
            seen.append(numbers)
            if step % 100 == 0 or step == steps:
                means = ", ".join(f"{key} {np.mean([n[key] for n in seen]):.3f}" for key in numbers)
                self._tell(f"{name} {step}/{steps}: {means}")
                seen.clear()
