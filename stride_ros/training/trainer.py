"""Training with transformers' Trainer: learning rates by part, batches of similar length, resuming."""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from transformers import PrinterCallback, Trainer, TrainingArguments, set_seed

from stride_ros.errors import CheckpointError, ConfigError
from stride_ros.terminal import say
from stride_ros.text.wording import escaped
from stride_ros.training.dataset import Collator, LengthGroupedSampler, StrideDataset
from stride_ros.training.model import PARTS, StrideForTraining, is_finite, write_weights
from stride_ros.training.output import checkpoints, kept_checkpoint, torn_checkpoints, writing
from stride_ros.training.progress import TrainingProgress, loss_summary

# The paper's recipe: the language model learns, its embeddings faster; the vision part is frozen.
LEARNING_RATES = {"language": 1e-5, "embedding": 3e-5, "merger": 0.0, "vision": 0.0}
_CHECKPOINTS = 10  # a run, by default
_SAVE_STEPS = (20, 1000)  # limits of the default steps between checkpoints
_DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16}


@dataclass(frozen=True)
class TrainingPlan:
    """How to train.

    `learning_rates` by part (0 freezes it); `steps` 0 means whole `epochs`; `batch` is per device.

    `save_steps`: steps between checkpoints, 0 for about ten checkpoints a run.

    `dtype` is that of the written weights; `bf16` computes in bfloat16 (GPUs).
    """

    output: Path
    steps: int = 0
    epochs: float = 1.0
    batch: int = 8
    accumulate: int = 1
    learning_rates: Mapping[str, float] = field(default_factory=lambda: dict(LEARNING_RATES))
    warmup_steps: int = 512
    weight_decay: float = 0.0
    clip: float = 1.0
    save_steps: int = 0
    log_steps: int = 10
    workers: int = 0
    seed: int = 0
    text_weight: float = 1.0
    bf16: bool = False
    gradient_checkpointing: bool = False
    dtype: str = "bfloat16"
    resume: bool = True

    def __post_init__(self) -> None:
        if self.steps < 0 or self.epochs <= 0 or self.batch < 1 or self.accumulate < 1:
            raise ConfigError(
                "Steps, epochs, batch size or accumulation is below its minimum; use a larger value."
            )
        if self.save_steps < 0 or self.log_steps < 1:
            raise ConfigError("--save-steps or --log-steps is below 1; use a larger value.")
        if self.dtype not in _DTYPES:
            raise ConfigError(f"There is no dtype {self.dtype!r} to save in; choose {', '.join(_DTYPES)}.")
        unknown = [part for part in self.learning_rates if part not in PARTS]
        if unknown:
            raise ConfigError(f"There is no model part {unknown[0]!r}; choose from {', '.join(PARTS)}.")
        if not any(rate > 0 for rate in self.learning_rates.values()):
            raise ConfigError("All learning rates are 0, so nothing would be trained; set one above 0.")


def train(model: StrideForTraining, tokenizer: Any, dataset: StrideDataset, plan: TrainingPlan) -> str:
    """Train and write the weights to `plan.output`; return a sentence about the loss.

    An interrupted run resumes from the last `checkpoint-*` in the folder, unless `plan.resume` is off; after
    Ctrl-C, a sentence says from where.
    """
    set_seed(plan.seed)
    model.text_weight = plan.text_weight
    for part, parameters in model.parts().items():
        for _, parameter in parameters:
            parameter.requires_grad_(plan.learning_rates.get(part, 0.0) > 0)
    trainer = StrideTrainer(
        plan,
        model=model,
        args=_arguments(plan, len(dataset)),
        train_dataset=dataset,
        data_collator=Collator(tokenizer.pad_token_id or 0, model.config.video_token_id),
    )
    found = checkpoints(plan.output) if plan.resume else []
    for torn in torn_checkpoints(plan.output) if plan.resume else []:
        say(f"{escaped(str(torn))} is incomplete and is ignored.")
    try:
        trainer.train(resume_from_checkpoint=str(found[0]) if found else None)
        trainer.check_weights()
    except (ValueError, RuntimeError) as error:
        if not found:
            raise
        raise CheckpointError(
            f"The run in {plan.output} cannot be resumed ({error}); start over with --no-resume, or "
            "use another --out."
        ) from error
    except KeyboardInterrupt:
        trainer.progress.close()
        if trainer.is_world_process_zero():
            say(kept_checkpoint(plan.output, trainer.state.global_step, plan.resume), stream=sys.stderr)
        raise
    finally:
        trainer.progress.close()
    if trainer.is_world_process_zero():
        write_weights(trainer.accelerator.unwrap_model(trainer.model), plan.output, _DTYPES[plan.dtype])
    trainer.accelerator.wait_for_everyone()
    return loss_summary(trainer.state.log_history)


def _arguments(plan: TrainingPlan, samples: int) -> TrainingArguments:
    made = TrainingArguments(
        output_dir=str(plan.output),
        max_steps=plan.steps or -1,
        num_train_epochs=plan.epochs,
        per_device_train_batch_size=plan.batch,
        gradient_accumulation_steps=plan.accumulate,
        learning_rate=max(plan.learning_rates.values()),
        lr_scheduler_type="cosine",
        warmup_steps=plan.warmup_steps,
        weight_decay=plan.weight_decay,
        max_grad_norm=plan.clip,
        bf16=plan.bf16,
        # Left out unless requested, since newer releases warn about the name.
        **({"gradient_checkpointing": True} if plan.gradient_checkpointing else {}),
        logging_steps=plan.log_steps,
        save_steps=plan.save_steps or 1,
        save_total_limit=2,
        dataloader_num_workers=plan.workers,
        dataloader_pin_memory=torch.cuda.is_available(),  # otherwise each run begins with a warning
        remove_unused_columns=False,
        report_to="none",
        seed=plan.seed,
        disable_tqdm=True,
    )
    if not plan.save_steps:
        batch = plan.batch * plan.accumulate * made.world_size
        steps = plan.steps or math.ceil(plan.epochs * samples / batch)
        least, most = _SAVE_STEPS
        made.save_steps = min(max(steps // _CHECKPOINTS, least), most)
    return made


class StrideTrainer(Trainer):  # type: ignore[misc]  # untyped library
    """Trainer with learning rates by part and length-grouped batches; logs the two losses separately."""

    def __init__(self, plan: TrainingPlan, **options: Any) -> None:
        super().__init__(**options)
        self._plan = plan
        self.progress = TrainingProgress()
        self.remove_callback(PrinterCallback)
        self.add_callback(self.progress)
        self._losses: dict[str, list[float]] = {"slot_loss": [], "text_loss": []}

    def compute_loss(
        self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, **options: Any
    ) -> Any:
        outputs = model(**inputs)
        for name, values in self._losses.items():
            values.append(float(outputs[name]))
        if not bool(torch.isfinite(outputs["loss"].detach()).all()):
            raise self._diverged("the loss is not a number")
        return (outputs["loss"], outputs) if return_outputs else outputs["loss"]

    def check_weights(self) -> None:
        """Raise CheckpointError if training has diverged, so that such weights are not written."""
        if not is_finite(self.accelerator.unwrap_model(self.model)):
            raise self._diverged("weights are not numbers")

    def _save_checkpoint(self, *arguments: Any, **options: Any) -> None:
        self.check_weights()
        with writing(self._plan.output):
            super()._save_checkpoint(*arguments, **options)

    def _diverged(self, what: str) -> CheckpointError:
        good = checkpoints(self._plan.output)
        kept = f"the last good weights are in {good[0]}" if good else "no weights were written"
        return CheckpointError(
            f"Training diverged at step {self.state.global_step}: {what}; {kept}. Lower --learning-rate, or"
            " raise --warmup-steps."
        )

    def log(self, logs: dict[str, float], *arguments: Any, **options: Any) -> None:
        """Add the means of the two losses since the last line."""
        if "loss" in logs:
            for name, values in self._losses.items():
                if values:
                    logs[name] = round(sum(values) / len(values), 4)
                    values.clear()
        super().log(logs, *arguments, **options)

    def create_optimizer(self, *arguments: Any, **options: Any) -> torch.optim.Optimizer:
        """Make a group per part for decayed and for other parameters; embeddings are never decayed."""
        made: torch.optim.Optimizer | None = self.optimizer  # type: ignore[has-type]  # untyped library
        if made is None:
            unwrapped = self.accelerator.unwrap_model(self.model)
            decayed = set(self.get_decay_parameter_names(unwrapped))
            groups = []
            for part, parameters in unwrapped.parts().items():
                for decay in (True, False):
                    chosen = [
                        parameter
                        for name, parameter in parameters
                        if parameter.requires_grad and (name in decayed and part != "embedding") == decay
                    ]
                    if chosen:
                        rate = self._plan.learning_rates[part]
                        weight_decay = self._plan.weight_decay if decay else 0.0
                        groups.append({"params": chosen, "lr": rate, "weight_decay": weight_decay})
            kind, settings = Trainer.get_optimizer_cls_and_kwargs(self.args, unwrapped)
            made = self.optimizer = kind(groups, **settings)
        return made

    def _get_train_sampler(self, train_dataset: Any = None) -> LengthGroupedSampler:
        dataset = train_dataset if train_dataset is not None else self.train_dataset
        batch = self.args.per_device_train_batch_size * self.args.world_size
        return LengthGroupedSampler(dataset.lengths, batch, self.args.seed, dataset.set_epoch)
