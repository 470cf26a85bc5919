"""`stride-ros doctor` says what fits, by the engine's own figures, from a checkpoint's config alone."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from stride_ros.activation import ActivationConfig, ActivationEngine, ActivationModel
from stride_ros.cli import main
from stride_ros.doctor.activation import CountedText, activation_memory, planned_model
from stride_ros.doctor.responder import KNOWN, responder_memory
from stride_ros.parameters.activation import DEFAULT_QUERY
from stride_ros.response.config import BackendConfig, ResponseConfig
from stride_ros.training.checkpoint import create_checkpoint

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GOLDEN = ROOT / "test" / "golden"
PROFILES = {"8gb": "8GiB", "16gb": "16GiB", "24gb": "24GiB", "48gb": "48GiB"}
GIB = 2**30


@pytest.fixture(autouse=True)
def offline(monkeypatch):
    """Whoever asks a network fails."""
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:9")


def figures(tmp_path, *arguments):
    """Exit status and JSON of a run."""
    file = tmp_path / "doctor.json"
    code = main(["doctor", "--json", str(file), *arguments])
    return code, json.loads(file.read_text())


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", ["checkpoint_dup", "checkpoint_single", "stride-tiny", "random"])
def test_figures_are_those_of_the_loaded_model_and_its_engine(name, dtype, tmp_path):
    folder = {"stride-tiny": "stride-tiny"}.get(name, str(GOLDEN / name))
    if name == "random":
        folder = str(create_checkpoint(tmp_path / "random", seed=1, window=16))
    config = ActivationConfig(max_frames=32)
    told = activation_memory(folder, config, (480, 640), cameras=3, queries=2, dtype=dtype)
    model = ActivationModel.load(folder, device="cpu", dtype=str(dtype).removeprefix("torch."))
    assert told.weights == model.memory_bytes
    engine = ActivationEngine(model, config)
    assert told.state == 3 * engine.memory_for((480, 640), [DEFAULT_QUERY, DEFAULT_QUERY])


@pytest.mark.parametrize("name", ["checkpoint_dup", "checkpoint_single", "stride-tiny"])
def test_what_an_engine_takes_at_its_peak_is_what_was_told(name):
    """A frame a second, over several shifts; told to the page of each head's keys and the digits of times."""
    folder = {"stride-tiny": "stride-tiny"}.get(name, str(GOLDEN / name))
    config = ActivationConfig(max_frames=64, drop_frames=16, decide_every=8)
    told = activation_memory(folder, config, (240, 320), cameras=2, queries=1, dtype=torch.float32)
    engine = ActivationEngine(ActivationModel.load(folder, device="cpu"), config)
    streams = [engine.open_stream(name, (240, 320)) for name in ("left", "right")]
    for stream in streams:
        stream.watch(DEFAULT_QUERY)
    image, taken = np.zeros((240, 320, 3), np.uint8), []
    for tick in range(120):
        engine.push({stream: (image, float(tick)) for stream in streams})
        taken.append(engine.memory_bytes)
    assert 0.93 * told.state < max(taken) <= told.state
    assert max(taken[:100]) == max(taken)


def test_a_gpu_is_told_whole_pages_of_its_pool(tmp_path):
    """Keys and values are in pages of 256 tokens there, and the pool grows by four of them."""
    config = ActivationConfig(max_frames=128)
    sizes = [
        activation_memory("interlive/STRIDE-2B", config, (480, 640), 1, queries, torch.bfloat16, device).state
        for device in ("cpu", "cuda")
        for queries in (1, 2)
    ]
    on_cpu, on_gpu = sizes[1] - sizes[0], sizes[3] - sizes[2]
    assert on_cpu < on_gpu < 1.05 * on_cpu
    tokens = (64 + 32) * (252 + 12) + 2 * 256  # of a full prompt and what is left of it, and the slots
    assert on_gpu == pytest.approx(tokens * 114_688, rel=0.05)


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("Qwen/Qwen3-VL-2B-Instruct", 2_127_532_032),
        ("Qwen/Qwen3-VL-4B-Instruct", 4_437_815_808),
        ("Qwen/Qwen3-VL-8B-Instruct", 8_767_123_696),
        ("google/gemma-3-4b-it", 4_300_079_472),
    ],
)
def test_published_models_have_the_published_number_of_parameters(name, parameters):
    told = responder_memory(name, ResponseConfig(), BackendConfig(), torch.bfloat16)
    assert told.weights / 2 == pytest.approx(parameters, rel=0.005)


@pytest.mark.parametrize(
    ("name", "parameters"), [("interlive/STRIDE-2B", 2_127_532_032), ("interlive/STRIDE-4B", 4_437_815_808)]
)
def test_published_checkpoints_need_no_network(name, parameters):
    assert planned_model(name, torch.bfloat16).memory_bytes / 2 == pytest.approx(parameters, rel=0.005)


def test_a_responder_directory_is_counted_by_its_config(gemma3, tmp_path):
    from transformers import AutoModelForImageTextToText

    model = AutoModelForImageTextToText.from_pretrained(gemma3)
    alone = tmp_path / "gemma"
    alone.mkdir()
    (alone / "config.json").write_text((gemma3 / "config.json").read_text())
    told = responder_memory(str(alone), ResponseConfig(), BackendConfig(), torch.float32)
    assert told.weights == sum(parameter.numel() for parameter in model.parameters()) * 4


def test_a_config_without_tokenizer_is_enough(tmp_path):
    (tmp_path / "config.json").write_text((GOLDEN / "checkpoint_dup" / "config.json").read_text())
    config = ActivationConfig(max_frames=64)
    whole, alone = (
        activation_memory(str(folder), config, (480, 640), 1, 1, torch.float32)
        for folder in (GOLDEN / "checkpoint_dup", tmp_path)
    )
    assert alone.weights == whole.weights
    assert alone.state == pytest.approx(whole.state, rel=0.25)  # its tokenizer spells times by characters


def test_words_digits_and_special_tokens_count_as_one():
    text = "<|im_start|>Tell me when it rains.<12.5 seconds><|vision_start|><|video_pad|>"
    assert len(CountedText()(text)["input_ids"]) == 1 + 6 + 7 + 2


def test_what_does_not_fit_names_settings_that_do(tmp_path, capsys):
    wanted = ["--memory", "24GiB", "--responder", "Qwen/Qwen3-VL-8B-Instruct"]
    code, document = figures(tmp_path, *wanted)
    assert (code, document["fits"]) == (1, False)
    assert document["bytes"]["needed"] > 24 * GIB
    assert document["settings"]
    assert "It does not fit" in capsys.readouterr().out
    for settings in document["settings"]:
        responder = settings.pop("responder", wanted[3])
        sets = [f"--set={name}={value}" for name, value in settings.items()]
        code, changed = figures(tmp_path, *wanted[:2], "--responder", responder, *sets)
        assert (code, changed["fits"]) == (0, True), settings


@pytest.mark.parametrize("profile", PROFILES)
def test_profiles_fit_into_the_memory_in_their_name(profile, tmp_path):
    file = ROOT / "config" / "profiles" / f"{profile}.yaml"
    spelled = re.search(r"stride-ros (doctor .*)", file.read_text())[1].split()
    assert spelled[spelled.index("--memory") + 1] == PROFILES[profile]
    spelled[spelled.index("--params-file") + 1] = str(file)
    assert main(spelled) == 0


def test_the_faq_has_the_figures_of_the_profiles(tmp_path):
    page = (ROOT / "docs" / "faq.md").read_text()
    told = dict(re.findall(r"^\| `(\w+)\.yaml`.*\| ([\d.]+) GB \|$", page, re.M))
    assert told.keys() == PROFILES.keys()
    for profile, memory in PROFILES.items():
        file = str(ROOT / "config" / "profiles" / f"{profile}.yaml")
        _, document = figures(tmp_path, "--params-file", file, "--memory", memory)
        assert f"{document['bytes']['needed'] / 1e9:.1f}" == told[profile]


def test_what_is_shipped_fits_into_24_gib(tmp_path):
    code, document = figures(tmp_path, "--memory", "24GiB", "--image", "1280x720")
    assert (code, document["plan"]["responder"]) == (0, "Qwen/Qwen3-VL-4B-Instruct")


def test_cameras_and_queries_multiply_the_state(tmp_path):
    tiny = ["--model", "stride-tiny", "--responder", "none", "--memory", "8GiB"]
    _, one = figures(tmp_path, *tiny)
    _, many = figures(tmp_path, *tiny, "--cameras", "4")
    _, asked = figures(tmp_path, *tiny, "--queries", "4")
    states = [document["bytes"]["activation"]["state"] for document in (one, many, asked)]
    assert states[1] == 4 * states[0]
    assert 3 * states[0] < states[2] < 4 * states[0]  # the frames' features are kept once


def test_this_machine_is_described(tmp_path, capsys):
    code, document = figures(
        tmp_path, "--model", "stride-tiny", "--responder", "stride-tiny", "--device", "cpu"
    )
    assert code == 0
    assert document["machine"]["device"] == "cpu"
    assert {library["name"] for library in document["machine"]["libraries"]} >= {"torch", "transformers"}
    assert 0 < document["bytes"]["free"] <= document["bytes"]["memory"]
    printed = capsys.readouterr().out
    assert re.search(r"device +CPU, [0-9.]+ GB of [0-9.]+ GB free", printed)
    assert re.search(r"It fits\. [0-9.]+ GB are left\.", printed)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--model", "somebody/unknown"], "The sizes of somebody/unknown are unknown"),
        (["--responder", "somebody/unknown"], "The sizes of somebody/unknown are unknown"),
        (["--model", "no-such-folder"], "There is no checkpoint directory 'no-such-folder'"),
        (["--image", "wide"], "--image is 'wide'"),
        (["--image", "1x1"], "--image is '1x1'"),
        (["--memory", "much"], "--memory is 'much'"),
        (["--memory", "24"], "--memory is '24'; write a size such as 24GiB"),
        (["--cameras", "0"], "--cameras is 0"),
        (["--queries", "-1"], "--queries is -1"),
        (["--set", "max_frames=1"], "max_frames"),
        (
            ["--json", "/no/such/folder/x.json", "--model", "stride-tiny", "--responder", "none"],
            "cannot be written",
        ),
    ],
)
def test_bad_input_is_one_sentence(options, sentence, capsys):
    assert main(["doctor", "--memory", "24GiB", *options]) == 2
    told = " ".join(capsys.readouterr().err.split())
    assert sentence in told
    assert "Traceback" not in told


def test_every_known_responder_is_counted():
    for name in KNOWN:
        told = responder_memory(name, ResponseConfig(), BackendConfig(), torch.bfloat16)
        assert told.weights > told.state > 0


def test_a_rate_that_leaves_slots_of_the_model_empty_is_reported(tmp_path, capsys):
    short = str(create_checkpoint(tmp_path / "short", window=8, resolution=0.5))
    words = ["doctor", "--model", short, "--responder", "none", "--memory", "24GiB"]
    assert main(words) == 0
    assert "use rate: 2, unless" in " ".join(capsys.readouterr().err.split())
    assert main([*words, "--set", "rate=2.0"]) == 0
    assert "rate" not in capsys.readouterr().err
