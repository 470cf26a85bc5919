"""Training on a CPU: it runs, resumes, and what it writes gives the same answers when it is loaded again."""

import json
import shlex
import shutil
from pathlib import Path

import numpy as np
import pytest

from stride_ros.cli import main
from stride_ros.errors import CheckpointError, ConfigError

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from stride_ros.activation.model import ActivationModel  # noqa: E402
from stride_ros.activation.prompt import Prompt  # noqa: E402
from stride_ros.response.backend import ResponseRequest, TimedFrame  # noqa: E402
from stride_ros.response.qwen3_vl import Qwen3VLPrompt  # noqa: E402
from stride_ros.training.dataset import Collator, LengthGroupedSampler, Sampling, StrideDataset, make_samples  # noqa: E402
from stride_ros.training.examples import IGNORED, SentenceExamples, WindowExamples  # noqa: E402
from stride_ros.training.masking import Entry, Window  # noqa: E402
from stride_ros.training.model import WindowKeys, prepare  # noqa: E402
from stride_ros.training.progress import loss_summary  # noqa: E402
from stride_ros.training.samples import Event  # noqa: E402
from stride_ros.training.sources.recording import Recording  # noqa: E402
from stride_ros.training.trainer import TrainingPlan, train  # noqa: E402

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = json.loads((GOLDEN / "cases.json").read_text())
QUERY = "Tell me when the picture is red."
QUICK = ["--batch-size", "2", "--warmup-steps", "0", "--log-steps", "1", "--max-frames", "8"]


class Stripes:
    """A video of 30 s whose brightness follows the time."""

    name, start, end = "stripes", 0.0, 30.0

    def read(self, times):
        return [np.full((64, 64, 3), int(4 * time), np.uint8) for time in times], list(times)


def activity(model, tokenizer, examples):
    """P(active) at the masked slots of each example, by a plain full forward."""
    batch = Collator(tokenizer.pad_token_id, model.config.video_token_id)(examples)
    slots = batch.pop("slot_labels")
    batch.pop("text_labels")
    with torch.no_grad():
        hidden = model.model(**batch, use_cache=False).last_hidden_state
        rows = model.lm_head.weight[list(model.slot_token_ids[:2])]
        return torch.softmax(hidden[slots != IGNORED] @ rows.T, -1)[:, 1].numpy()


@pytest.mark.parametrize("name", [name for name, case in CASES.items() if case["kind"] == "forward"])
def test_golden_prompt_and_probabilities_of_an_example(name, tmp_path):
    """The training prompt and forward are those of the authors' implementation."""
    case, frames = CASES[name], np.load(GOLDEN / "arrays.npz")[f"{name}_frames"]
    model, tokenizer = prepare(str(GOLDEN / case["checkpoint"]), tmp_path / "out", WindowKeys())
    copies = 1 if model.config.single_sequence else 2
    slots = model.config.trigger_window_past
    builder = WindowExamples(Prompt(tokenizer), slots, 1.0, (1,), copies, 256)
    shown = np.array(case["labels"], np.uint8)
    window = Window(np.where(shown == 2, 0, shown).astype(np.uint8), shown == 2, np.ones(slots, bool))
    example = builder.assemble(case["query"], list(frames), case["timestamps"], window)
    assert example.ids.tolist() == case["input_ids"]
    assert list(example.grid) == case["video_grid_thw"]
    expected = np.array(case["p_active"])[shown == 2]
    assert activity(model, tokenizer, [example]) == pytest.approx(expected, abs=1e-4)


def test_only_masked_slots_of_the_last_copy_are_asked(tiny_checkpoint, tmp_path):
    _, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    builder = WindowExamples(Prompt(tokenizer), 8, 1.0, (0, 2, 3), 2, 2)
    times = list(np.arange(10.0))
    images, _ = Stripes().read(times)
    example = builder.build(QUERY, images, times, [Entry(4.0, 6.0, True)], np.random.default_rng(0))
    masked = np.flatnonzero(example.ids == tokenizer.convert_tokens_to_ids("<activation>"))
    asked = np.flatnonzero(example.slot_labels != IGNORED)
    assert len(masked) == 2 * len(asked)
    assert masked[len(asked) :].tolist() == asked.tolist()
    assert (masked[: len(asked)] + 8).tolist() == asked.tolist()  # both copies show the same masks


def test_a_padded_batch_gives_the_same_answers_as_its_examples_alone(tiny_checkpoint, tmp_path):
    model, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    builder = WindowExamples(Prompt(tokenizer), 8, 1.0, (1,), 2, 2)
    examples = []
    for count in (4, 10):
        times = list(np.arange(float(count)))
        images, _ = Stripes().read(times)
        examples.append(builder.build(QUERY, images, times, [], np.random.default_rng(0)))
    together = activity(model, tokenizer, examples)
    alone = np.concatenate([activity(model, tokenizer, [example]) for example in examples])
    assert together == pytest.approx(alone, abs=1e-5)


def test_a_sentence_example_asks_the_responders_prompt_and_teaches_the_text(tiny_checkpoint, tmp_path):
    model, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    prompt = Qwen3VLPrompt(tmp_path / "out", model.config, 2)
    images, times = Stripes().read([3.0, 4.0, 5.0])
    frames = tuple(TimedFrame(image, time) for image, time in zip(images, times, strict=True))
    request = ResponseRequest(QUERY, frames, 4.0, ("Earlier.",), "Be short.")
    example = SentenceExamples(prompt).build(request, "The picture is red.")
    asked = example.ids[example.text_labels == IGNORED]
    taught = example.ids[example.text_labels != IGNORED]
    assert asked.tolist() == prompt.inputs(request)["input_ids"][0].tolist()
    assert tokenizer.decode(taught) == "The picture is red.<|im_end|>"
    types = torch.from_numpy(2 * (example.ids == model.config.video_token_id).astype(np.int64))[None]
    expected, _ = model.model.get_rope_index(
        torch.from_numpy(example.ids)[None], types, video_grid_thw=torch.tensor([example.grid])
    )
    assert example.positions.tolist() == expected[:, 0].tolist()


def test_the_loss_counts_slots_and_words(tiny_checkpoint, tmp_path):
    model, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    model.text_weight = 0.5
    recording = Recording(Stripes(), (QUERY,), (Event(8.0, 14.0, "It is red."),))
    windows = WindowExamples(Prompt(tokenizer), 8, 1.0, (1,), 2, 2)
    sentences = SentenceExamples(Qwen3VLPrompt(tmp_path / "out", model.config, 2))
    dataset = StrideDataset(make_samples([recording], True, 0), windows, sentences, Sampling())
    assert len(dataset) == 4  # three cuts and a sentence
    collate = Collator(tokenizer.pad_token_id, model.config.video_token_id)
    losses = model(**collate([dataset[0], dataset[3]]))
    assert losses["slot_loss"] > 0.3
    assert losses["text_loss"] > 1
    assert float(losses["loss"]) == pytest.approx(float(losses["slot_loss"] + 0.5 * losses["text_loss"]))


def test_training_learns_and_the_written_checkpoint_answers_as_the_trained_model(tiny_checkpoint, tmp_path):
    out = tmp_path / "out"
    model, tokenizer = prepare(str(tiny_checkpoint), out, WindowKeys(mask_modes=(1,)))
    recording = Recording(Stripes(), (QUERY,), (Event(15.0, 30.0, "It is bright."),))
    windows = WindowExamples(Prompt(tokenizer), 8, 1.0, (1,), 2, 2)
    sentences = SentenceExamples(Qwen3VLPrompt(out, model.config, 2))
    samples = make_samples([recording] * 4, False, 0)
    dataset = StrideDataset(samples, windows, sentences, Sampling(1.0, 8))
    rates = {"language": 3e-3, "embedding": 3e-3, "merger": 3e-3, "vision": 0.0}
    plan = TrainingPlan(out, steps=30, batch=8, learning_rates=rates, warmup_steps=2, dtype="float32")
    frozen = model.model.visual.blocks[0].mlp.linear_fc1.weight.clone()
    before = [dataset[i] for i in range(4)]
    first = model(**Collator(0, model.config.video_token_id)(before))["loss"].item()
    train(model, tokenizer, dataset, plan)
    assert model(**Collator(0, model.config.video_token_id)(before))["loss"].item() < 0.8 * first
    assert torch.equal(model.model.visual.blocks[0].mlp.linear_fc1.weight, frozen)
    again, _ = prepare(str(out), tmp_path / "again", WindowKeys())
    assert activity(again, tokenizer, before) == pytest.approx(activity(model, tokenizer, before), abs=1e-6)
    assert ActivationModel.load(out).window == 8


def test_train_on_the_world_by_command_resumes_where_it_stopped(tiny_checkpoint, tmp_path, capsys):
    command = ["train", "--data", "world", "--clips", "1", "--model", str(tiny_checkpoint), *QUICK]
    rates = ["--learning-rate", "1e-3", "--dtype", "float32"]
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    assert main([*command, *rates, "--steps", "4", "--out", str(whole)]) == 0
    assert "4 samples" not in capsys.readouterr().out
    # The same run, stopped after its second step and started again.
    with pytest.MonkeyPatch.context() as patch:
        import stride_ros.training.trainer as trainer

        def stop_at_two(self, args, state, control, **_):
            control.should_save = control.should_training_stop = state.global_step == 2
            return control

        from transformers import TrainerCallback

        stopper = type("Stopper", (TrainerCallback,), {"on_step_end": stop_at_two})
        original = trainer.StrideTrainer.__init__

        def with_stopper(self, plan, **options):
            original(self, plan, **options)
            self.add_callback(stopper())

        patch.setattr(trainer.StrideTrainer, "__init__", with_stopper)
        assert main([*command, *rates, "--steps", "4", "--out", str(parts)]) == 0
    assert (parts / "checkpoint-2").is_dir()
    assert not (parts / "checkpoint-4").is_dir()
    assert main([*command, *rates, "--steps", "4", "--out", str(parts)]) == 0
    assert (parts / "checkpoint-4").is_dir()
    assert (whole / "model.safetensors").read_bytes() == (parts / "model.safetensors").read_bytes()


@pytest.mark.parametrize(("every", "kept"), [(["--save-steps", "1"], True), ([], False)])
def test_ctrl_c_says_what_is_kept(every, kept, tiny_checkpoint, tmp_path, capsys, monkeypatch):
    from stride_ros.training.progress import TrainingProgress

    def stop_at_two(self, args, state, control, **_):
        if state.global_step == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(TrainingProgress, "on_step_end", stop_at_two)
    out = tmp_path / "out"
    data = ["--data", "world", "--clips", "1", "--model", str(tiny_checkpoint), "--steps", "4", *QUICK]
    assert main(["train", *data, *every, "--out", str(out)]) == 130
    told = " ".join(capsys.readouterr().err.split())
    assert (
        f"Stopped at step 2; {out / 'checkpoint-1'} is kept, and the same command resumes" in told
    ) is kept
    assert ("Stopped at step 2, before the first checkpoint, so nothing is kept" in told) is not kept


@pytest.mark.parametrize(
    ("plan", "samples", "every"),
    [
        ({"steps": 400}, 2403, 40),
        ({"steps": 50}, 300, 20),
        ({"steps": 50_000}, 9, 1000),
        ({"epochs": 2.0, "batch": 4}, 1000, 50),
        ({"steps": 400, "save_steps": 7}, 2403, 7),
    ],
)
def test_a_run_keeps_several_checkpoints_by_default(plan, samples, every, tmp_path):
    from stride_ros.training.trainer import _arguments

    assert _arguments(TrainingPlan(tmp_path, **plan), samples).save_steps == every


def test_the_losses_of_the_first_and_the_last_steps_are_told():
    history = [{"step": 10, "loss": 1.5}, {"step": 20, "loss": 0.7}, {"step": 30, "loss": 0.25}]
    summary = "The mean loss was 1.5000 in steps 1 to 10 and 0.2500 in steps 21 to 30."
    assert loss_summary([*history, {"step": 30, "train_loss": 0.8}]) == summary
    assert loss_summary([{"step": 1, "loss": 2.0}]) == "The mean loss was 2.0000 in step 1."
    assert loss_summary([{"step": 4, "train_loss": 0.8}]) == ""


def test_train_on_a_bag_by_command_writes_a_checkpoint_with_all_keys(
    tiny_checkpoint, bag, labels, tmp_path, capsys
):
    path = labels(
        f"- {{query: {QUERY}, start: 8, end: 14, text: Red.}}\n- {{query: {QUERY}, start: 5, end: 1}}\n"
    )
    out = tmp_path / "out"
    data = ["--data", "bag", "--bag", str(bag), "--labels", str(path)]
    assert (
        main(["train", *data, "--model", str(tiny_checkpoint), "--steps", "2", "--out", str(out), *QUICK])
        == 0
    )
    printed = capsys.readouterr()
    assert f"Note: {path}:2 is left out: the end (1 s) is not after the start (5 s)." in printed.err
    assert "1 used, 1 left out" in printed.out
    assert (out / "model.safetensors").stat().st_mode == (out / "config.json").stat().st_mode
    config = json.loads((out / "config.json").read_text())
    expected = {"trigger_window_past", "trigger_window_future", "trigger_temporal_resolution", "mask_modes"}
    assert expected | {"single_sequence", "frame_max_tokens"} <= set(config)
    assert ActivationModel.load(out).window == 8


def test_train_on_a_video_by_command(tiny_checkpoint, labels, tmp_path, capsys):
    from stride_ros.sources.world_bag import write_video
    from stride_ros.world.world import World

    video, out = tmp_path / "robot.mp4", tmp_path / "out"
    write_video(World(seed=3, seconds=24, size=(64, 48), fps=4), video)
    path = labels(f"- {{query: {QUERY}, start: 8, end: 14}}\n- {{query: {QUERY}, start: 22, end: 23}}\n")
    data = ["--data", "video", "--video", str(video), "--labels", str(path), "--until", "16"]
    run = ["--model", str(tiny_checkpoint), "--steps", "1", "--out", str(out), *QUICK]
    assert main(["train", *data, *run]) == 0
    printed = " ".join(capsys.readouterr().out.split())
    assert "1 used, 1 left out" in printed  # what happens after 16 s is not seen
    assert "cut around 1 event of 1 query in 1 recording" in printed
    told = f"stride-ros replay {video} --start 16 --model {tmp_path / 'out'} --expect {path}"
    assert told in printed
    assert "{'" not in printed, "a raw dictionary"
    assert "step 1 of 1: loss " in printed

    assert main(shlex.split(told)[1:]) in (0, 1)  # a verdict
    assert ActivationModel.load(out).window == 8


def test_train_on_several_bags_one_of_which_has_no_event(tiny_checkpoint, bag, labels, tmp_path, capsys):
    busy = labels(f"- {{query: {QUERY}, start: 8, end: 14}}\n")
    calm = tmp_path / "calm.yaml"
    calm.write_text(f"- {{query: {QUERY}, none: [0, 24]}}\n")
    other = tmp_path / "other"
    shutil.copytree(bag, other)
    data = ["--data", "bag", "--bag", str(bag), "--bag", str(other), "--labels", str(busy), str(calm)]
    run = ["--model", str(tiny_checkpoint), "--steps", "2", "--out", str(tmp_path / "out"), *QUICK]
    assert main(["train", *data, "--until", "20", *run]) == 0
    printed = capsys.readouterr().out
    assert "cut around 1 event of 1 query in 2 recordings; 2 used." in " ".join(printed.split())
    commands = [line.strip() for line in printed.splitlines() if line.strip().startswith("stride-ros replay")]
    assert [shlex.split(command)[2] for command in commands] == [str(bag), str(other)]
    assert [shlex.split(command)[-1] for command in commands] == [str(busy), str(calm)]


def test_a_plain_model_gets_the_tokens_and_the_keys(plain_checkpoint, bag, labels, tmp_path):
    path = labels(f"- {{query: {QUERY}, start: 8, end: 14}}\n")
    out = tmp_path / "out"
    data = ["--data", "bag", "--bag", str(bag), "--labels", str(path), "--window", "12"]
    size = ["--frame-max-tokens", "2"]
    assert (
        main(
            [
                "train",
                *data,
                *size,
                "--model",
                str(plain_checkpoint),
                "--steps",
                "1",
                "--out",
                str(out),
                *QUICK,
            ]
        )
        == 0
    )
    model = ActivationModel.load(out)
    assert model.window == 12
    assert len(set(model.prompt.slot_ids.tolist())) == 3


def test_a_video_that_does_not_decode_is_left_out_while_training(tiny_checkpoint, tmp_path):
    from stride_ros.errors import SourceError

    class Broken(Stripes):
        name = "broken"

        def read(self, times):
            raise SourceError("The video broken does not decode; convert it.")

    _, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    recordings = [Recording(video, (QUERY,), (Event(8.0, 14.0),)) for video in (Broken(), Stripes())]
    told = []
    windows = WindowExamples(Prompt(tokenizer), 8, 1.0, (1,), 2, 2)
    samples = make_samples(recordings, False, 0)
    dataset = StrideDataset(samples, windows, None, Sampling(), report=told.append)
    assert all(dataset[i] is not None for i in range(6))
    assert dataset.unreadable == 1
    assert told == ["broken is left out: The video broken does not decode; convert it."]
    with pytest.raises(SourceError, match="in a row cannot be read"):
        StrideDataset(samples[:3], windows, None, Sampling(), report=told.append)[0]


def test_parts_learn_at_their_own_rates_without_decay_of_embeddings(tiny_checkpoint, tmp_path):
    from stride_ros.training.trainer import StrideTrainer, _arguments

    model, _ = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    rates = {"language": 1e-5, "embedding": 3e-5, "merger": 2e-6, "vision": 1e-6}
    plan = TrainingPlan(tmp_path / "out", steps=1, learning_rates=rates, weight_decay=0.1)
    trainer = StrideTrainer(plan, model=model, args=_arguments(plan, 1))
    groups = trainer.create_optimizer().param_groups
    by_id = {id(p): group for group in groups for p in group["params"]}
    assert len(by_id) == sum(len(group["params"]) for group in groups) == len(list(model.parameters()))
    text = model.model.language_model
    assert by_id[id(text.layers[0].mlp.up_proj.weight)]["lr"] == 1e-5
    assert by_id[id(text.embed_tokens.weight)]["lr"] == 3e-5
    assert by_id[id(model.model.visual.merger.linear_fc1.weight)]["lr"] == 2e-6
    assert by_id[id(model.model.visual.blocks[0].attn.qkv.weight)]["lr"] == 1e-6
    assert by_id[id(text.layers[0].mlp.up_proj.weight)]["weight_decay"] == 0.1
    assert by_id[id(text.embed_tokens.weight)]["weight_decay"] == 0.0
    assert by_id[id(text.norm.weight)]["weight_decay"] == 0.0


def test_the_default_rates_freeze_vision():
    plan = TrainingPlan(Path("x"))
    assert plan.learning_rates == {"language": 1e-5, "embedding": 3e-5, "merger": 0.0, "vision": 0.0}
    assert (plan.warmup_steps, plan.weight_decay, plan.clip) == (512, 0.0, 1.0)


def test_batches_group_lengths_and_show_every_sample():
    lengths = np.random.default_rng(0).integers(1, 500, 103).tolist()
    sampler = LengthGroupedSampler(lengths, 8, seed=1)
    order = list(sampler)
    assert len(order) == len(sampler) == 104
    assert set(order) == set(range(103))
    batches = [[lengths[i] for i in order[k : k + 8]] for k in range(0, 104, 8)]
    assert max(lengths) in batches[0]  # the longest comes first
    spread = np.mean([max(batch) - min(batch) for batch in batches])
    shuffled = np.random.default_rng(1).permutation(lengths)[:96].reshape(-1, 8)
    assert spread < 0.5 * np.mean(shuffled.max(axis=1) - shuffled.min(axis=1))
    sampler.set_epoch(1)
    assert list(sampler) != order


def test_an_epoch_draws_every_sample_anew(tiny_checkpoint, tmp_path):
    _, tokenizer = prepare(str(tiny_checkpoint), tmp_path / "out", WindowKeys())
    windows = WindowExamples(Prompt(tokenizer), 8, 1.0, (0,), 2, 2)
    samples = make_samples([Recording(Stripes(), (QUERY,), (Event(8.0, 14.0),))], False, 0)
    dataset = StrideDataset(samples, windows, None, Sampling())
    sampler = LengthGroupedSampler(dataset.lengths, 1, 0, dataset.set_epoch)
    first = dataset[1].slot_labels.tolist()
    assert dataset[1].slot_labels.tolist() == first
    draws = []
    for epoch in range(1, 5):
        sampler.set_epoch(epoch)
        draws.append(dataset[1].slot_labels.tolist())
    assert any(draw != first for draw in draws)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "bag", "--labels", "x.yaml"], "--data bag needs --bag"),
        (["--data", "video", "--labels", "x.yaml"], "--data video needs --video"),
        (["--data", "annotations", "--annotations", "x"], "needs --video-root"),
        (
            ["--data", "bag", "--bag", "a", "b", "--labels", "x.yaml"],
            r"There are 2 bags and 1 labels file; give one\s+labels file for each, in the same order",
        ),
        (["--data", "world", "--clips", "0"], "is too small"),
        (["--data", "world", "--clips", "1", "--mask-modes", "7"], "Mask modes \\[7\\]"),
        (["--data", "world", "--clips", "1", "--learning-rate", "0"], "nothing would be trained"),
    ],
)
def test_bad_options_are_one_sentence_and_exit_2(options, message, tiny_checkpoint, tmp_path, capsys):
    import re

    assert main(["train", *options, "--model", str(tiny_checkpoint), "--out", str(tmp_path / "out")]) == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_start_that_is_no_checkpoint_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(CheckpointError):
        prepare(str(tmp_path / "empty"), tmp_path / "out", WindowKeys())
    with pytest.raises(ConfigError):
        TrainingPlan(tmp_path, learning_rates={"head": 1.0})
