"""A written checkpoint has everything the activation model and a text generator read."""

import json

import pytest

from stride_ros.errors import ConfigError
from stride_ros.training.checkpoint import create_checkpoint

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="torch is not installed")
transformers = pytest.importorskip("transformers", reason="transformers is not installed")


def test_a_checkpoint_has_the_trigger_keys_and_the_three_tokens(tmp_path):
    folder = create_checkpoint(
        tmp_path / "m", window=24, resolution=0.5, mask_modes=(1,), single_sequence=True
    )
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "qwen3_vl"
    assert config["trigger_window_past"] == 24
    assert config["trigger_temporal_resolution"] == 0.5
    assert config["mask_modes"] == [1]
    assert config["single_sequence"] is True
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    ids = tokenizer.convert_tokens_to_ids(["<activation>", "<active>", "<inactive>"])
    assert ids == [len(tokenizer) - 3, len(tokenizer) - 2, len(tokenizer) - 1]


def test_the_same_seed_gives_the_same_weights_and_another_seed_others(tmp_path):
    weights = [
        (create_checkpoint(tmp_path / name, seed=seed) / "model.safetensors").read_bytes()
        for name, seed in (("a", 1), ("b", 1), ("c", 2))
    ]
    assert weights[0] == weights[1]
    assert weights[0] != weights[2]


def test_words_of_the_texts_and_times_are_one_token_and_any_text_survives(tmp_path):
    texts = ["Tell me when a purple cone wobbles."]
    folder = create_checkpoint(tmp_path / "model", texts=texts, time_limit=20.0)
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    assert len(tokenizer("Tell me when a purple cone wobbles.").input_ids) == 8
    assert len(tokenizer("<0.0 seconds><12.5 seconds><20.0 seconds>").input_ids) == 3
    assert len(tokenizer("<20.1 seconds>").input_ids) > 1
    for text in ("Gruesse: ein Wuerfel?!", "naïve 東京 <3"):
        assert tokenizer.decode(tokenizer(text).input_ids) == text


def test_it_generates_text_from_a_chat_prompt(tmp_path):
    folder = create_checkpoint(tmp_path / "model")
    tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.Qwen3VLForConditionalGeneration.from_pretrained(folder)
    text = tokenizer.apply_chat_template(
        [{"role": "user", "content": "What is it?"}], tokenize=False, add_generation_prompt=True
    )
    assert text == "<|im_start|>user\nWhat is it?<|im_end|>\n<|im_start|>assistant\n"
    inputs = tokenizer(text, return_tensors="pt")
    output = model.generate(**inputs, max_new_tokens=4, min_new_tokens=4)
    assert output.shape[1] == inputs.input_ids.shape[1] + 4


def test_a_plain_checkpoint_has_neither_slots_nor_trigger_keys(tmp_path):
    folder = create_checkpoint(tmp_path / "model", activation_tokens=False)
    assert not [key for key in json.loads((folder / "config.json").read_text()) if key.startswith("trigger_")]
    assert "<activation>" not in transformers.AutoTokenizer.from_pretrained(folder).get_vocab()


def test_an_unknown_size_is_refused_with_the_choices(tmp_path):
    with pytest.raises(ConfigError, match="choose one of test"):
        create_checkpoint(tmp_path / "model", size="huge")
