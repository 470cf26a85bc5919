"""Weights are what the checkpoint says, or one sentence says why not: in decisions, answers and training."""

import json
import logging
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from stride_ros.activation.model import ActivationModel
from stride_ros.errors import BackendError, CheckpointError, ConfigError
from stride_ros.qwen3_vl.weight_files import map_weights
from stride_ros.qwen3_vl.weights import WeightFiles, is_finite, short_name
from stride_ros.response.loading import load_image_text_model
from stride_ros.training.checkpoint import create_checkpoint
from stride_ros.training.model import WindowKeys, prepare

pytestmark = pytest.mark.slow

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
EMBEDDING = "model.language_model.embed_tokens.weight"
LINEAR = "model.language_model.layers.1.mlp.down_proj.weight"
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"


@pytest.fixture(scope="session")
def made(tmp_path_factory):
    return create_checkpoint(tmp_path_factory.mktemp("made") / "checkpoint")


@pytest.fixture
def folder(made, tmp_path):
    return shutil.copytree(made, tmp_path / "checkpoint")


@pytest.fixture
def state(made):
    return load_file(made / SINGLE)


def decide(folder):
    """The embedding of the activation model."""
    return ActivationModel.load(folder, device="cpu", dtype="float32")._decoder.embedding


def answer(folder):
    """The embedding of the responder's model."""
    return load_image_text_model(folder, device="cpu", dtype="float32").get_input_embeddings().weight


def train(folder):
    """The embedding that training starts from."""
    return prepare(str(folder), folder.parent / "out", WindowKeys())[0].get_input_embeddings().weight


LOADERS = [decide, answer, train]


@pytest.fixture(params=LOADERS, ids=lambda load: load.__name__)
def load(request):
    return request.param


def sentence(load, folder):
    with pytest.raises(BackendError if load is answer else CheckpointError) as caught:
        load(folder)
    text = str(caught.value)
    assert text.endswith(".")
    assert "\n" not in text
    return text


def write(file, state):
    save_file({name: value.clone() for name, value in state.items()}, file, metadata={"format": "pt"})


def write_shards(folder, state, count, stem="model"):
    """Shards of `state`; returns the content for an index."""
    names, files = sorted(state), {}
    for number in range(count):
        file = f"{stem}-{number + 1:05}-of-{count:05}.safetensors"
        part = names[number::count]
        write(folder / file, {name: state[name] for name in part})
        files |= dict.fromkeys(part, file)
    return {"metadata": {}, "weight_map": files}


def edit_config(folder, section=None, **changes):
    config = json.loads((folder / "config.json").read_text())
    (config if section is None else config[section]).update(changes)
    (folder / "config.json").write_text(json.dumps(config))


def other(state):
    return {name: value + 1 for name, value in state.items()}


# Which files


def an_older_file_beside(folder, state):
    write(folder / "model_old.safetensors", other(state))
    return "model_old.safetensors"


def shards_without_index_beside_the_single_file(folder, state):
    write_shards(folder, other(state), 2)
    return "model-00001-of-00002.safetensors"


def an_index_beside_an_older_single_file(folder, state):
    (folder / INDEX).write_text(json.dumps(write_shards(folder, state, 2)))
    write(folder / SINGLE, other(state))
    return SINGLE


def older_shards_beside_newer_ones(folder, state):
    (folder / SINGLE).unlink()
    write_shards(folder, other(state), 3)
    (folder / INDEX).write_text(json.dumps(write_shards(folder, state, 2)))
    return "model-00003-of-00003.safetensors"


def shards_that_lost_their_index(folder, state):
    (folder / SINGLE).unlink()
    write_shards(folder, state, 3)
    write(folder / "consolidated.safetensors", other(state))
    return "consolidated.safetensors"


def a_single_file_by_another_name(folder, state):
    (folder / SINGLE).rename(folder / "weights.safetensors")
    (folder / "pytorch_model.bin").write_bytes(b"pickled")
    return "pytorch_model.bin"


def an_adapter_beside_the_model(folder, state):
    write(folder / "adapter_model.safetensors", other(state))
    (folder / "adapter_config.json").write_text('{"base_model_name_or_path": "nobody/nothing"}')
    return "adapter_model.safetensors"


@pytest.mark.parametrize(
    "arrange",
    [
        an_older_file_beside,
        shards_without_index_beside_the_single_file,
        an_index_beside_an_older_single_file,
        older_shards_beside_newer_ones,
        shards_that_lost_their_index,
        a_single_file_by_another_name,
        an_adapter_beside_the_model,
    ],
    ids=lambda arrange: arrange.__name__,
)
def test_the_files_that_the_checkpoint_names_are_read_and_others_are_named(
    load, arrange, folder, state, caplog
):
    unread = arrange(folder, state)
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(load(folder).detach(), state[EMBEDDING], rtol=0, atol=0)
    assert any(unread in record.getMessage() for record in caplog.records)


def two_files_and_no_index(folder, state):
    (folder / SINGLE).unlink()
    write(folder / "a.safetensors", state)
    write(folder / "b.safetensors", other(state))
    return "which of a.safetensors, b.safetensors"


def a_shard_too_few(folder, state):
    (folder / SINGLE).unlink()
    write_shards(folder, state, 3)
    (folder / "model-00002-of-00003.safetensors").unlink()
    return "2 of the 3 files"


def an_index_with_a_missing_file(folder, state):
    (folder / INDEX).write_text(json.dumps(write_shards(folder, state, 2)))
    (folder / "model-00002-of-00002.safetensors").unlink()
    return "lacks model-00002-of-00002.safetensors"


def an_index_that_names_what_its_file_lacks(folder, state):
    index = write_shards(folder, state, 2)
    index["weight_map"]["model.language_model.norm.bias"] = "model-00001-of-00002.safetensors"
    (folder / INDEX).write_text(json.dumps(index))
    return "lacks model.language_model.norm.bias"


def an_index_that_leads_out_of_the_folder(folder, state):
    write(folder.parent / "outside.safetensors", state)
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(state, "../outside.safetensors")}))
    return "'../outside.safetensors'"


def an_index_without_a_map(folder, state):
    (folder / INDEX).write_text('{"metadata": {}}')
    return "has no weight_map"


def an_index_of_numbers(folder, state):
    (folder / INDEX).write_text(json.dumps({"weight_map": dict.fromkeys(state, 1)}))
    return "names 1"


def an_index_that_is_cut_off(folder, state):
    (folder / INDEX).write_text('{"weight_map": {"a": "mod')
    return f"{INDEX} cannot be read"


def an_index_that_is_deep(folder, state):
    (folder / INDEX).write_text("[" * 100_000)
    return f"{INDEX} cannot be read"


def an_adapter_alone(folder, state):
    (folder / SINGLE).rename(folder / "adapter_model.safetensors")
    return "merge the adapter"


def no_safetensors(folder, state):
    (folder / SINGLE).rename(folder / "pytorch_model.bin")
    return "only safetensors are read"


# What is in them


def weights_that_are_cut_off(folder, state):
    file = folder / SINGLE
    file.write_bytes(file.read_bytes()[:-1000])
    return "it is cut off"


def a_header_that_is_cut_off(folder, state):
    file = folder / SINGLE
    file.write_bytes(file.read_bytes()[:100])
    return "it is cut off"


def an_empty_file(folder, state):
    (folder / SINGLE).write_bytes(b"")
    return "damaged and cannot be loaded"


def another_kind_of_file(folder, state):
    (folder / SINGLE).write_bytes(b"PK\x03\x04" * 1000)
    return "it is not a safetensors file"


def a_missing_tensor(folder, state):
    del state[LINEAR]
    write(folder / SINGLE, state)
    return "layers.1.mlp.down_proj.weight"


def a_tensor_of_another_shape(folder, state):
    write(folder / SINGLE, state | {LINEAR: state[LINEAR][:, :-1].contiguous()})
    return "has shape (64, 127), but config.json asks for (64, 128)"


def not_a_number(folder, state):
    state[LINEAR][3, 5] = float("nan")
    write(folder / SINGLE, state)
    return "instead of finite numbers"


def infinity_in_the_vision_tower(folder, state):
    state["model.visual.blocks.1.attn.qkv.bias"][7] = -float("inf")
    write(folder / SINGLE, state)
    return "blocks.1.attn.qkv.bias"


def an_untied_head_that_is_missing(folder, state):
    edit_config(folder, tie_word_embeddings=False)
    return "lack lm_head.weight"


@pytest.mark.parametrize(
    "damage",
    [
        two_files_and_no_index,
        a_shard_too_few,
        an_index_with_a_missing_file,
        an_index_that_names_what_its_file_lacks,
        an_index_that_leads_out_of_the_folder,
        an_index_without_a_map,
        an_index_of_numbers,
        an_index_that_is_cut_off,
        an_index_that_is_deep,
        an_adapter_alone,
        no_safetensors,
        weights_that_are_cut_off,
        a_header_that_is_cut_off,
        an_empty_file,
        another_kind_of_file,
        a_missing_tensor,
        a_tensor_of_another_shape,
        not_a_number,
        infinity_in_the_vision_tower,
        an_untied_head_that_is_missing,
    ],
    ids=lambda damage: damage.__name__,
)
def test_what_is_missing_damaged_or_ambiguous_is_one_sentence(load, damage, folder, state):
    words = damage(folder, state)
    assert words in sentence(load, folder)


@pytest.mark.parametrize(
    "name",
    ["config.json", SINGLE, INDEX, "tokenizer.json", "tokenizer_config.json", "chat_template.jinja"],
)
def test_a_git_lfs_pointer_is_told_from_the_file(load, folder, name):
    (folder / name).write_text(POINTER)
    text = sentence(load, folder)
    assert f"{name} is a Git LFS pointer" in text
    assert "git lfs pull" in text


# Quantised


@pytest.mark.parametrize("load", [decide, train], ids=lambda load: load.__name__)
@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"quantization_config": {"quant_method": "fp8"}}, "fp8"),
        ({"quantization_config": {"quant_method": "awq", "bits": 4}}, "awq"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "gptq"),
        ({"quantization_config": {"load_in_4bit": True}}, "bitsandbytes"),
        ({"quantization_config": {"quant_method": "compressed-tensors"}}, "compressed-tensors"),
        ({"compression_config": {"format": "pack-quantized"}}, "pack-quantized"),
        ({"text_config": {"quantization_config": {"quant_method": "torchao"}}}, "torchao"),
    ],
)
def test_a_quantisation_that_the_configuration_declares_is_refused_by_name(load, folder, settings, named):
    config = json.loads((folder / "config.json").read_text())
    if "text_config" in settings:
        settings = {"text_config": {**config["text_config"], **settings["text_config"]}}
    edit_config(folder, **settings)
    assert f"is quantised ({named})" in sentence(load, folder)


@pytest.mark.parametrize("load", [answer, train], indirect=True, ids=["answer", "train"])
@pytest.mark.parametrize("section", [None, "text_config"])
@pytest.mark.parametrize("key", ["_attn_implementation", "attn_implementation", "experts_implementation"])
def test_kernels_that_would_be_downloaded_are_refused(load, folder, section, key):
    edit_config(folder, section, **{key: "some-owner/kernels"})
    assert f"names {key} 'some-owner/kernels', which would be a program" in sentence(load, folder)


@pytest.mark.parametrize(
    ("tensors", "named"),
    [
        ({"": torch.ones(64, 128).to(torch.float8_e4m3fn)}, "FP8"),
        ({"": torch.ones(64, 128).to(torch.float8_e5m2), "_scale_inv": torch.ones(1, 1)}, "FP8"),
        ({"": torch.ones(64, 128, dtype=torch.int8), "_scale": torch.ones(64, 1)}, "compressed-tensors"),
        ({"": torch.ones(64, 128, dtype=torch.int8)}, "dtype I8"),
        ({"": torch.ones(4096, 1, dtype=torch.uint8), ".absmax": torch.ones(128)}, "bitsandbytes 4-bit"),
        ({"": torch.ones(64, 128, dtype=torch.int8), "/SCB": torch.ones(64)}, "bitsandbytes int8"),
        ({"/qweight": torch.ones(16, 64, dtype=torch.int32), "/scales": torch.ones(1, 64)}, "AWQ or GPTQ"),
        ({"/qweight": torch.ones(16, 64, dtype=torch.int32), "/g_idx": torch.ones(128)}, "GPTQ"),
        (
            {"_packed": torch.ones(64, 16, dtype=torch.int32), "_scale": torch.ones(64, 1)},
            "compressed-tensors",
        ),
    ],
)
def test_a_quantisation_that_only_the_tensors_show_is_refused_by_name(load, folder, state, tensors, named):
    del state[LINEAR]
    for end, value in tensors.items():
        key = LINEAR.removesuffix(".weight") + end.replace("/", ".") if "/" in end else LINEAR + end
        state[key] = value
    write(folder / SINGLE, state)
    text = sentence(load, folder)
    assert "is quantised (" in text
    assert named in text


def test_the_responder_says_what_a_quantised_model_needs(folder):
    edit_config(folder, quantization_config={"quant_method": "awq", "bits": 4})
    assert "is quantised (awq) and cannot be loaded here" in sentence(answer, folder)


# Names


@pytest.mark.parametrize(
    ("key", "name"),
    [
        ("model.language_model.layers.0.q.weight", "text.layers.0.q.weight"),
        ("language_model.model.layers.0.q.weight", "text.layers.0.q.weight"),
        ("model.layers.0.q.weight", "text.layers.0.q.weight"),
        ("model.model.language_model.norm.weight", "text.norm.weight"),
        ("module.model.language_model.norm.weight", "text.norm.weight"),
        ("_orig_mod.module.model.visual.pos_embed.weight", "vision.pos_embed.weight"),
        ("base_model.model.model.visual.merger.norm.bias", "vision.merger.norm.bias"),
        ("visual.patch_embed.proj.bias", "vision.patch_embed.proj.bias"),
        ("lm_head.weight", "lm_head.weight"),
        ("language_model.lm_head.weight", "lm_head.weight"),
        ("model.language_model.lm_head.weight", "lm_head.weight"),
        ("mtp.fc.weight", "mtp.fc.weight"),
    ],
)
def test_prefixes_that_vary_are_known(key, name):
    assert short_name(key) == name


@pytest.mark.parametrize("head", ["lm_head.weight", "language_model.lm_head.weight", "module.lm_head.weight"])
def test_a_head_is_used_wherever_it_lies(folder, state, head):
    plain = ActivationModel.load(folder, device="cpu", dtype="float32")
    slots = torch.from_numpy(plain.prompt.slot_ids[:2])
    write(folder / SINGLE, state | {head: other(state)[EMBEDDING]})
    model = ActivationModel.load(folder, device="cpu", dtype="float32")
    torch.testing.assert_close(model._head, state[EMBEDDING][slots] + 1)
    torch.testing.assert_close(plain._head, state[EMBEDDING][slots])


def test_nested_names_are_used(folder, state):
    nested = {
        f"module.{name.replace('model.language_model.', 'language_model.model.')}": value
        for name, value in state.items()
    }
    write(folder / SINGLE, nested)
    torch.testing.assert_close(decide(folder), state[EMBEDDING], rtol=0, atol=0)


def test_one_tensor_by_two_names_is_refused(folder, state):
    write(folder / SINGLE, state | {"language_model.model.embed_tokens.weight": state[EMBEDDING] + 1})
    assert "holds text.embed_tokens.weight twice" in sentence(decide, folder)


def test_an_adapter_that_is_not_merged_is_refused(folder, state):
    write(folder / SINGLE, state | {LINEAR.replace(".weight", ".lora_A.weight"): torch.ones(4, 128)})
    assert "is not merged" in sentence(decide, folder)
    wrapped = {
        name.replace(LINEAR, LINEAR.replace(".weight", ".base_layer.weight")): t for name, t in state.items()
    }
    write(folder / SINGLE, wrapped)
    assert "is not merged" in sentence(decide, folder)


def test_weights_of_64_bits_are_not_quantised(folder, state):
    write(folder / SINGLE, {name: tensor.double() for name, tensor in state.items()})
    decide(folder)


@pytest.mark.parametrize("load", [decide, train], ids=lambda load: load.__name__)
@pytest.mark.parametrize(
    "name", ["model.language_model.layers.2.mlp.down_proj.weight", "model.visual.blocks.0.attn.gate.weight"]
)
def test_a_part_that_the_configuration_does_not_know_is_refused(load, folder, state, name):
    write(folder / SINGLE, state | {name: state[LINEAR]})
    assert name in sentence(load, folder)


def test_tensors_of_something_else_are_named_and_left_out(load, folder, state, caplog):
    write(folder / SINGLE, state | {"mtp.fc.weight": torch.ones(2, 2)})
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(load(folder).detach(), state[EMBEDDING], rtol=0, atol=0)
    assert any("mtp.fc.weight" in record.getMessage() for record in caplog.records)


# Numbers


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_one_value_that_is_not_finite_is_found(dtype, value):
    tensor = torch.zeros(300, 70, dtype=dtype)
    assert is_finite(tensor)
    tensor[217, 41] = value
    assert not is_finite(tensor)


def test_the_largest_numbers_are_finite():
    assert is_finite(torch.tensor([torch.finfo(torch.float32).max, torch.finfo(torch.float32).min]))
    assert is_finite(torch.empty(0))


def test_numbers_too_large_for_float16_are_told_from_damage(folder, state):
    state[LINEAR][0, 0] = 1e6
    write(folder / SINGLE, state)
    weights = WeightFiles(folder, torch.device("cpu"), torch.float16)
    with pytest.raises(CheckpointError, match=r"too large for torch\.float16; use dtype bfloat16"):
        weights.tensor("text.layers.1.mlp.down_proj.weight", 64, 128)
    with pytest.raises(BackendError, match="use dtype bfloat16 or float32"):
        load_image_text_model(folder, device="cpu", dtype="float16")
    decide(folder)


@pytest.mark.parametrize("load", [decide, train], ids=lambda load: load.__name__)
def test_a_tokenizer_with_more_tokens_than_rows_is_refused(load, folder, state):
    rows = len(state[EMBEDDING]) - 2
    write(folder / SINGLE, state | {EMBEDDING: state[EMBEDDING][:rows].contiguous()})
    edit_config(folder, "text_config", vocab_size=rows)
    assert f"gives the embedding {rows} rows" in sentence(load, folder)


@pytest.mark.parametrize(
    ("section", "changes"),
    [
        ("text_config", {"hidden_size": 10**12}),
        ("text_config", {"hidden_size": -64}),
        ("text_config", {"hidden_size": "64"}),
        ("text_config", {"vocab_size": 2**31 - 1}),
        ("text_config", {"num_hidden_layers": 10**9}),
        ("text_config", {"num_attention_heads": 10**400}),
        ("vision_config", {"depth": 10**7}),
        ("vision_config", {"depth": -1}),
    ],
)
def test_absurd_sizes_are_refused_before_memory_is_taken(load, folder, section, changes):
    edit_config(folder, section, **changes)
    assert len(sentence(load, folder)) < 600


def test_the_map_says_what_is_where(folder, state):
    (folder / INDEX).write_text(json.dumps(write_shards(folder, state, 2)))
    found = map_weights(folder)
    assert set(found.files) == set(found.tensors) == set(state)
    assert found.tensors[LINEAR] == ("F32", (64, 128))
    assert found.unread == (SINGLE,)


@pytest.mark.parametrize("modes", [1, "1", [9], [[1]], [], {"a": 1}])
def test_mask_modes_that_are_none_are_a_sentence(folder, modes):
    edit_config(folder, mask_modes=modes)
    with pytest.raises(ConfigError, match=r"Mask modes .* are not possible"):
        train(folder)


def test_keys_that_say_null_are_as_if_left_out(folder):
    edit_config(folder, mask_modes=None, frame_max_tokens=None, trigger_temporal_resolution=None)
    train(folder)
    written = json.loads((folder.parent / "out" / "config.json").read_text())
    assert (written["mask_modes"], written["frame_max_tokens"]) == ([1, 2, 3], 256)
    assert written["trigger_temporal_resolution"] == 1.0
