"""Check whether models, cameras and queries fit into memory, and which settings would make them fit."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property

import torch

from stride_ros.activation import ActivationConfig
from stride_ros.activation.frame_rate import rate_note
from stride_ros.activation.smaller import smaller_settings
from stride_ros.doctor.activation import activation_memory, planned_model
from stride_ros.doctor.memory import StageMemory
from stride_ros.doctor.responder import NONE, responder_memory
from stride_ros.response.config import BackendConfig, ResponseConfig

# An estimate for each stage with a model: Python with PyTorch and transformers; on a GPU, its context.
RUNTIME = 600_000_000  # bytes
_SMALLER = ("Qwen/Qwen3-VL-4B-Instruct", "Qwen/Qwen3-VL-2B-Instruct", NONE)


@dataclass(frozen=True)
class Plan:
    """What is to run.

    size: (height, width) px of the cameras; device: cpu or cuda; dtypes: number types of both models.
    """

    model: str
    responder: str
    config: ActivationConfig
    response: ResponseConfig
    backend: BackendConfig
    size: tuple[int, int]
    cameras: int
    queries: int  # on each camera
    device: str
    dtype: torch.dtype
    responder_dtype: torch.dtype
    rate: float = 1.0  # frames per second

    @cached_property
    def activation_stage(self) -> StageMemory:
        return activation_memory(
            self.model, self.config, self.size, self.cameras, self.queries, self.dtype, self.device
        )

    @cached_property
    def responder_stage(self) -> StageMemory:
        return responder_memory(self.responder, self.response, self.backend, self.responder_dtype)

    @cached_property
    def rate_note(self) -> str | None:
        """What is wrong with the rate for the slots of the activation model, or None."""
        return rate_note(self.rate, planned_model(self.model, self.dtype).resolution, "rate:")

    @property
    def runtime(self) -> int:
        """Bytes of libraries and GPU contexts."""
        return RUNTIME * (1 + (self.responder != NONE))

    @property
    def total(self) -> int:
        """Bytes of everything at its peak."""
        return self.activation_stage.total + self.responder_stage.total + self.runtime


def fitting(plan: Plan, memory: int) -> list[dict[str, str | int]]:
    """Settings with which the plan fits into `memory` bytes: the smallest change of each kind.

    For the activation stage alone, the responder alone, and both; empty if nothing helps.
    """
    found = []
    for changes in (_of_activation(plan), _of_responder(plan), _of_both(plan)):
        for settings, changed in changes:
            if changed.total <= memory:
                found.append(settings)
                break
        if len(found) == 2:  # changing both is not needed if either is enough
            break
    return found


Change = tuple[dict[str, str | int], Plan]


def _of_activation(plan: Plan) -> Iterator[Change]:
    for settings, config in smaller_settings(plan.config):
        yield {**settings}, replace(plan, config=config)


def _of_responder(plan: Plan) -> Iterator[Change]:
    for name in _SMALLER:
        changed = replace(plan, responder=name)
        if plan.responder != NONE and changed.responder_stage.total < plan.responder_stage.total:
            yield {"responder": name}, changed


def _of_both(plan: Plan) -> Iterator[Change]:
    for chosen, smaller in _of_responder(plan):
        for settings, changed in _of_activation(smaller):
            yield {**settings, **chosen}, changed
