"""Checkpoints load or say why not; cached passes give what transformers' full forward gives."""

import json
import shutil

import numpy as np
import pytest
import torch
from transformers import Qwen3VLForConditionalGeneration

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.denoising import SlotPass
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.errors import CheckpointError, ConfigError
from stride_ros.qwen3_vl import patches as frames
from stride_ros.training.checkpoint import create_checkpoint

pytestmark = pytest.mark.slow

QUERY = "Tell me when a person is in view."


def full_forward(reference, model, ids, pairs, positions, slots):
    """P(active) of the last `slots` ids, by transformers' own model over the whole prompt."""
    height, width = pairs[0].shape[1:3]
    video = np.concatenate([frames.patches(*pair) for pair in pairs])
    grid = torch.tensor([[len(pairs), height // 16, width // 16]])
    input_ids = torch.tensor([ids])
    kinds = torch.where(input_ids == model.prompt.video_id, 2, 0)
    if positions == "mrope":
        position_ids, _ = reference.model.get_rope_index(input_ids, kinds, video_grid_thw=grid)
    else:
        position_ids = torch.arange(len(ids)).expand(3, 1, -1)
    with torch.inference_mode():
        hidden = reference.model(
            input_ids=input_ids,
            pixel_values_videos=torch.from_numpy(video),
            video_grid_thw=grid,
            position_ids=position_ids,
            mm_token_type_ids=kinds,
        ).last_hidden_state[0]
        logits = reference.lm_head(hidden[len(ids) - slots :])[:, model.prompt.slot_ids[:2]]
    return torch.softmax(logits, dim=-1)[:, 1].numpy()


def run_pass(model, prefix, request):
    block = prefix.ask(request)
    return prefix.answer(model.slot_probabilities([block])[0] if block else None)


@pytest.mark.parametrize("single_sequence", [False, True])
@pytest.mark.parametrize("scheme", ["mrope", "flat"])
def test_cached_passes_equal_a_full_forward(make_model, make_frames, scheme, single_sequence):
    model = make_model(window=8, single_sequence=single_sequence)
    reference = Qwen3VLForConditionalGeneration.from_pretrained(model.name, dtype=torch.float32)
    images = make_frames(8, (64, 96))
    prefix = Prefix(model, QUERY, scheme, 4)
    rng = np.random.default_rng(0)
    ids, pairs = [], []
    for index in range(0, 8, 2):
        pair = images[index : index + 2]
        features = model.encode([(pair[0], pair[1])])[0]
        model.append([prefix.append([Pair(0.0, 0.0, features)], 0.0, keep=False)])  # replaced by the next
        block = prefix.append([Pair(float(index), index + 1.3, features)], 0.0)
        model.append([block])
        ids += block.ids.tolist()
        pairs.append(pair)
        labels = np.full(8, 2, dtype=np.uint8)
        for step in range(4):
            needed = int(np.flatnonzero(labels == 2)[-1]) + 1
            request = SlotPass(labels.copy(), needed)
            ours = run_pass(model, prefix, request)[:needed]
            slots = np.tile(model.prompt.slot_ids[labels], 1 if single_sequence else 2).tolist()
            theirs = full_forward(reference, model, ids + slots, pairs, scheme, 8)[:needed]
            np.testing.assert_allclose(ours, theirs, atol=1e-4, rtol=0)
            labels[rng.choice(np.flatnonzero(labels == 2))] = step % 2


def test_a_pass_without_change_runs_nothing(make_model, make_frames):
    model, images = make_model(window=8), make_frames(2)
    prefix = Prefix(model, QUERY, "mrope", 1)
    model.append([prefix.append([Pair(0.0, 1.0, model.encode([(images[0], images[1])])[0])], 0.0)])
    request = SlotPass(np.full(8, 2, dtype=np.uint8), 8)
    first = run_pass(model, prefix, request)
    again = prefix.ask(request)
    assert again is None
    np.testing.assert_array_equal(prefix.answer(None), first)


def test_the_checkpoint_decides_window_and_frame_size(tmp_path):
    folder = create_checkpoint(tmp_path / "m", window=24, resolution=0.5, frame_max_tokens=12)
    model = ActivationModel.load(str(folder), device="cpu")
    assert (model.window, model.resolution, model.frame_max_tokens) == (24, 0.5, 12)
    assert model.memory_bytes > 0
    assert str(model.dtype) == "torch.float32"


def test_bfloat16_weights_answer_about_the_same(make_model, make_frames):
    exact = make_model(window=8)
    short = ActivationModel.load(exact.name, device="cpu", dtype="bfloat16")
    images, answers = make_frames(2), []
    for model in (exact, short):
        prefix = Prefix(model, QUERY, ActivationConfig().position_scheme, 1)
        model.append([prefix.append([Pair(0.0, 1.0, model.encode([(images[0], images[1])])[0])], 0.0)])
        answers.append(run_pass(model, prefix, SlotPass(np.full(8, 2, dtype=np.uint8), 8)))
    np.testing.assert_allclose(*answers, atol=0.15)


@pytest.fixture
def folder(tmp_path):
    return create_checkpoint(tmp_path / "model")


def refused(source, *words, **options):
    with pytest.raises((CheckpointError, ConfigError)) as caught:
        ActivationModel.load(source, **{"device": "cpu", **options})
    message = str(caught.value)
    assert message.endswith(".")
    for word in words:
        assert word in message
    return message


def edit_config(folder, **changes):
    file = folder / "config.json"
    config = json.loads(file.read_text())
    config.update(changes)
    file.write_text(json.dumps({key: value for key, value in config.items() if value is not None}))


def test_a_path_that_does_not_exist_is_named(tmp_path):
    refused(tmp_path / "nowhere", "nowhere", "directory")
    refused(str(tmp_path / "nowhere" / "deeper"), "deeper")


def test_a_file_is_not_a_checkpoint(folder):
    refused(folder / "config.json", "is not a directory")


def test_an_unreachable_repository_names_every_remedy(monkeypatch):
    import huggingface_hub

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", offline)
    refused("interlive/STRIDE-2B", "interlive/STRIDE-2B", "terms", "HF_TOKEN", "local directory")


def test_a_plain_qwen3_vl_is_refused(tmp_path):
    refused(create_checkpoint(tmp_path / "plain", activation_tokens=False), "trigger_window_past", "STRIDE")


def test_missing_slot_tokens_are_named(folder, tmp_path):
    plain = create_checkpoint(tmp_path / "plain", activation_tokens=False)
    for file in plain.glob("*token*"):
        shutil.copy(file, folder / file.name)
    refused(folder, "<activation>", "<active>", "<inactive>")


def test_another_architecture_is_named(folder):
    edit_config(folder, model_type="llava")
    refused(folder, "llava", "qwen3_vl")


def test_broken_files_are_named(folder):
    (folder / "model.safetensors").write_bytes(b"not weights")
    refused(folder, "model.safetensors", "damaged")
    (folder / "model.safetensors").unlink()
    refused(folder, "safetensors")
    (folder / "config.json").write_text("{")
    refused(folder, "config.json", "cannot be read")
    (folder / "config.json").unlink()
    refused(folder, "config.json")


def test_weights_of_another_size_are_refused(folder, tmp_path):
    other = create_checkpoint(tmp_path / "other", size="tiny")
    shutil.copy(other / "model.safetensors", folder / "model.safetensors")
    refused(folder, "shape")


def test_a_missing_tensor_is_named(folder):
    from safetensors.torch import load_file, save_file

    weights = load_file(folder / "model.safetensors")
    del weights["model.language_model.norm.weight"]
    save_file(weights, folder / "model.safetensors")
    refused(folder, "text.norm.weight")


def test_unknown_devices_and_dtypes_are_refused(folder):
    refused(folder, "abacus", device="abacus")
    refused(folder, "int3", dtype="int3")
    if not torch.cuda.is_available():
        refused(folder, "CUDA", device="cuda")


def test_frames_are_cut_on_a_device_as_on_the_host(make_model, make_frames, monkeypatch):
    model, images = make_model(window=8), make_frames(6, (96, 64))
    pairs = [(images[i], images[i + 1]) for i in range(0, 6, 2)]
    on_the_host = model.encode(pairs)
    monkeypatch.setattr(model, "uploads_pixels", True)
    for ours, theirs in zip(model.encode(pairs), on_the_host, strict=True):
        for mine, other in zip(
            (ours.tokens, *ours.deepstack), (theirs.tokens, *theirs.deepstack), strict=True
        ):
            torch.testing.assert_close(mine, other, rtol=0, atol=0)
