"""The local backend on a real, tiny Qwen3-VL checkpoint."""

from __future__ import annotations

import json
import shutil

import pytest

from stride_ros.errors import BackendError, ConfigError, FrameError, StrideError
from stride_ros.response.backend import load_backend

pytestmark = pytest.mark.slow

pytest.importorskip("torch", reason="torch is not installed")


def never() -> bool:
    return False


@pytest.fixture
def local(qwen3_vl):
    backend = load_backend("huggingface", str(qwen3_vl), max_new_tokens=12)
    yield backend
    backend.close()


def test_a_model_answers_about_frames(local, make_request):
    text = "".join(local.stream(make_request(), never))
    assert text
    assert 0 < local.last_tokens <= 12
    assert local.name == "checkpoint_dup"


def test_the_same_frames_give_the_same_words_and_others_give_others(local, make_request):
    first = "".join(local.stream(make_request(5), never))
    assert "".join(local.stream(make_request(5), never)) == first
    assert "".join(local.stream(make_request(6), never)) != first


def test_the_text_equals_a_plain_generate(local, make_request, qwen3_vl):
    import torch
    from transformers import AutoModelForImageTextToText

    inputs = local._prompt.inputs(make_request())
    model = AutoModelForImageTextToText.from_pretrained(qwen3_vl, dtype=torch.float32)
    ids = model.generate(**inputs, max_new_tokens=12, eos_token_id=2, do_sample=False)
    answer = ids[0, inputs["input_ids"].shape[1] :]
    expected = local._prompt.tokenizer.decode(answer, skip_special_tokens=True)
    assert "".join(local.stream(make_request(), never)) == expected


def test_a_cancelled_answer_stops_at_the_next_token(local, make_request):
    list(local.stream(make_request(), lambda: True))
    assert local.last_tokens == 1


def test_an_iterator_that_is_dropped_stops_the_model(local, make_request):
    for _ in local.stream(make_request(), never):
        break
    assert "".join(local.stream(make_request(), never))


def test_running_out_of_memory_is_said_and_survived(local, make_request, monkeypatch):
    import torch

    def full(**_):
        raise torch.OutOfMemoryError("CUDA out of memory")

    with monkeypatch.context() as patch:
        patch.setattr(local._model, "generate", full)
        with pytest.raises(BackendError, match=r"ran out of memory.*lower max_frames"):
            list(local.stream(make_request(), never))
    assert "".join(local.stream(make_request(), never))


def test_frames_that_are_too_small_are_refused_with_the_remedy(local, make_request):
    with pytest.raises(FrameError, match="32"):
        list(local.stream(make_request(size=(20, 40)), never))


def test_an_unknown_kind_names_the_known_ones(qwen3_vl):
    with pytest.raises(ConfigError, match="huggingface"):
        load_backend("telepathy", str(qwen3_vl))


@pytest.mark.parametrize(
    ("source", "remedy"),
    [
        ("/nowhere/model", "pass an existing directory"),
        ("./nowhere", "pass an existing directory"),
        ("", "pass an existing directory"),
    ],
)
def test_a_missing_directory_is_said(source, remedy):
    with pytest.raises(BackendError, match=remedy):
        load_backend("huggingface", source)


def test_a_model_that_cannot_be_downloaded_says_how_to_get_it(monkeypatch, tmp_path):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    with pytest.raises(BackendError, match=r"could not be downloaded.*--local-dir"):
        load_backend("huggingface", "stride-test/no-such-model")


@pytest.fixture
def broken(qwen3_vl, tmp_path):
    """A copy of the checkpoint to break."""
    return shutil.copytree(qwen3_vl, tmp_path / "broken")


def test_a_text_model_is_refused(broken):
    config = {"model_type": "bert", "architectures": ["BertModel"]}
    (broken / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendError, match=r"is a bert model.*choose an image-text model"):
        load_backend("huggingface", str(broken))


def test_an_unknown_architecture_is_refused(broken):
    (broken / "config.json").write_text('{"model_type": "warp_drive"}')
    with pytest.raises(BackendError, match=r"config\.json of broken cannot be used"):
        load_backend("huggingface", str(broken))


def test_code_in_a_checkpoint_is_never_run(broken):
    config = json.loads((broken / "config.json").read_text())
    config["model_type"] = "evil"
    config["auto_map"] = {"AutoConfig": "evil.Config"}
    (broken / "config.json").write_text(json.dumps(config))
    (broken / "evil.py").write_text("raise SystemExit('code was run')")
    with pytest.raises(BackendError):
        load_backend("huggingface", str(broken))


@pytest.mark.parametrize("place", ["auto_map", "custom_generate"])
def test_code_beside_a_good_checkpoint_is_not_run(broken, make_request, place):
    evil = "raise SystemExit('code was run')"
    if place == "auto_map":
        for file, classes in (
            ("config.json", ("AutoConfig", "AutoModelForImageTextToText")),
            ("tokenizer_config.json", ("AutoTokenizer",)),
        ):
            config = json.loads((broken / file).read_text())
            config["auto_map"] = dict.fromkeys(classes, "evil.Evil")
            (broken / file).write_text(json.dumps(config))
        (broken / "evil.py").write_text(evil)
    else:
        (broken / "custom_generate").mkdir()
        (broken / "custom_generate/generate.py").write_text(evil)
    backend = load_backend("huggingface", str(broken), max_new_tokens=4)
    assert list(backend.stream(make_request(), never))
    backend.close()


def test_a_tokenizer_that_panics_is_a_sentence(broken, make_request):
    """Its expression takes more steps than the library allows, which is a panic and no Exception."""
    tokenizer = json.loads((broken / "tokenizer.json").read_text())
    pattern = {"Regex": "(e|[a-z ]+)+$"}
    endless = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    parts = [endless, tokenizer["pre_tokenizer"]]
    tokenizer["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": parts}
    (broken / "tokenizer.json").write_text(json.dumps(tokenizer))
    with pytest.raises(StrideError, match=r"The checkpoint's tokenizer failed \(Onig.*another one\."):
        list(load_backend("huggingface", str(broken)).stream(make_request(), never))


def test_a_broken_tokenizer_is_a_sentence(broken):
    (broken / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(BackendError, match=r"The tokenizer or processor of broken cannot be loaded"):
        load_backend("huggingface", str(broken))


def test_a_chat_template_in_the_older_file_is_found(broken, make_request):
    template = broken / "chat_template.jinja"
    (broken / "chat_template.json").write_text(json.dumps({"chat_template": template.read_text()}))
    template.unlink()
    backend = load_backend("huggingface", str(broken), max_new_tokens=4)
    assert "".join(backend.stream(make_request(), never))
    backend.close()


def test_a_frame_costs_no_more_than_the_model_was_trained_with(broken, make_request):
    config = json.loads((broken / "config.json").read_text())
    (broken / "config.json").write_text(json.dumps({**config, "frame_max_tokens": 6}))
    backend = load_backend("huggingface", str(broken), frame_max_tokens=256)
    assert backend._prompt.inputs(make_request(2))["video_grid_thw"].tolist() == [[1, 4, 6]]
    backend.close()


def test_a_checkpoint_without_a_chat_template_is_refused(broken):
    (broken / "chat_template.jinja").unlink()
    with pytest.raises(BackendError, match="has no chat template"):
        load_backend("huggingface", str(broken))


def test_weights_in_another_format_are_not_read(broken):
    (broken / "model.safetensors").rename(broken / "pytorch_model.bin")
    with pytest.raises(BackendError, match="only safetensors"):
        load_backend("huggingface", str(broken))


def test_truncated_weights_are_refused(broken):
    weights = broken / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:1000])
    with pytest.raises(BackendError, match="cannot be loaded"):
        load_backend("huggingface", str(broken))


def test_a_directory_without_a_model_is_refused(tmp_path):
    with pytest.raises(BackendError, match=r"no config\.json"):
        load_backend("huggingface", str(tmp_path))


def test_a_token_without_a_row_of_the_embedding_is_said(broken, make_request):
    from safetensors.torch import load_file, save_file

    state = load_file(broken / "model.safetensors")
    for name in state:
        if "embed_tokens" in name or "lm_head" in name:
            state[name] = state[name][:2].clone()
    save_file(state, broken / "model.safetensors", metadata={"format": "pt"})
    config = json.loads((broken / "config.json").read_text())
    config["text_config"].update(vocab_size=2, pad_token_id=None, bos_token_id=None, eos_token_id=None)
    (broken / "config.json").write_text(json.dumps(config))
    backend = load_backend("huggingface", str(broken))
    with pytest.raises(BackendError, match="its embedding has 2 rows; use the tokenizer"):
        backend.warm_up()
    backend.close()


@pytest.mark.parametrize(
    ("option", "remedy"),
    [
        ({"device": "abacus"}, "use auto, cpu"),
        ({"dtype": "float8"}, "use auto"),
        ({"attention": "divided"}, "choose one of"),
        ({"quantization": "1bit"}, "choose one of"),
    ],
)
def test_impossible_options_name_the_possible_ones(qwen3_vl, option, remedy):
    with pytest.raises(ConfigError, match=remedy):
        load_backend("huggingface", str(qwen3_vl), **option)
