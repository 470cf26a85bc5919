"""config.json and the tokenizer are read without transformers, and give what transformers gives."""

import contextlib
import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from transformers import AutoTokenizer, Qwen3VLConfig

from stride_ros.activation.prompt import Prompt
from stride_ros.errors import CheckpointError
from stride_ros.qwen3_vl import checkpoint
from stride_ros.qwen3_vl.architecture import parse_architecture
from stride_ros.qwen3_vl.tokenizer import PlainTokenizer, load_tokenizer

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[2]
CHECKPOINTS = [
    ROOT / "models" / "stride-tiny",
    ROOT / "test" / "golden" / "checkpoint_dup",
    ROOT / "test" / "golden" / "checkpoint_single",
]
TEXTS = [
    "Tell me when a person is in view.",
    "  two  spaces\tand\n\nlines \r\n",
    "Sag mir, wenn die Tür aufgeht; 猫が来たら教えて 🐈‍⬛ e\u0301 é",
    "it's 12345.678 <0.5 seconds><12.3 seconds> <active><|im_end|>\n<|vision_start|>x",
    "",
]
# Lines that each template language feature of published Qwen templates appears in.
FEATURES = (
    "{%- set ns = namespace(count=0) %}\n"
    "{%- for message in messages %}\n"
    "    {%- if loop.index0 > 5 %}{% break %}{% endif %}\n"
    "    {{- '<|im_start|>' + message['role'] + '\\n' }}\n"
    "    {%- if message.content is string %}\n"
    "        {{- message.content | trim }}\n"
    "    {%- else %}\n"
    "        {%- for part in message.content %}\n"
    "            {%- if part.type == 'video' or 'video' in part %}\n"
    "                {%- set ns.count = ns.count + 1 %}\n"
    "                {{- '<|vision_start|><|video_pad|><|vision_end|>' }}\n"
    "            {%- elif 'text' in part %}\n"
    "                {{- part.text }}\n"
    "            {%- endif %}\n"
    "        {%- endfor %}\n"
    "    {%- endif %}\n"
    "    {{- eos_token + (pad_token | default('none')) }}\n"
    "    {%- if tools %}{{- tools | tojson }}{%- endif %}\n"
    "{% endfor %}\n"
    "  {% if add_generation_prompt %}\n"
    "<|im_start|>assistant {{ {'a<b': ns.count, 'é': messages[0].role} | tojson }}\n"
    "  {% endif %}\n"
)
MESSAGES = [
    {"role": "system", "content": "Be <brief> & 'kind'.\n"},
    {"role": "user", "content": [{"type": "text", "text": "When?"}, {"type": "video", "video": "frames"}]},
]


@pytest.fixture(params=CHECKPOINTS, ids=lambda folder: folder.name)
def folder(request, tmp_path):
    """A copy of a checkpoint, without its weights."""
    copy = tmp_path / "checkpoint"
    copy.mkdir()
    for file in request.param.iterdir():
        if file.suffix != ".safetensors":
            shutil.copy(file, copy)
    return copy


def edit(file, **changes):
    content = json.loads(file.read_text())
    content.update(changes)
    file.write_text(json.dumps({key: value for key, value in content.items() if value is not None}))


def as_transformers(raw):
    """The sizes by transformers' own classes, by the names of ours."""
    config = Qwen3VLConfig.from_dict(json.loads(json.dumps(raw)))
    text, vision = config.text_config, config.vision_config
    rope = text.rope_parameters
    return (
        text.vocab_size,
        text.hidden_size,
        text.intermediate_size,
        text.num_hidden_layers,
        text.num_attention_heads,
        text.num_key_value_heads,
        text.head_dim,
        text.rms_norm_eps,
        float(rope["rope_theta"]),
        tuple(rope.get("mrope_section", (24, 20, 20))),
        vision.hidden_size,
        vision.intermediate_size,
        vision.depth,
        vision.num_heads,
        vision.num_position_embeddings,
        vision.out_hidden_size,
        tuple(vision.deepstack_visual_indexes),
    )


def as_ours(raw):
    parsed = parse_architecture(raw)
    return (*vars(parsed.text).values(), *vars(parsed.vision).values())


def variants(raw):
    """The configuration, and what is left of it without each of its keys, or with some of them moved."""
    yield "whole", raw
    for section in ("text_config", "vision_config"):
        for key in raw[section]:
            yield f"without {key}", {**raw, section: {k: v for k, v in raw[section].items() if k != key}}
        yield f"without {section}", {k: v for k, v in raw.items() if k != section}
    text = dict(raw["text_config"])
    yield "as many kv heads", {**raw, "text_config": {**text, "num_key_value_heads": None}}
    rope = {**text.pop("rope_scaling"), "rope_theta": text.pop("rope_theta")}
    yield "newer layout", {**raw, "text_config": {**text, "rope_parameters": rope}}
    yield "no rope", {**raw, "text_config": text}


@pytest.mark.parametrize("source", CHECKPOINTS, ids=lambda folder: folder.name)
def test_the_sizes_are_those_that_transformers_reads(source):
    raw = json.loads((source / "config.json").read_text())
    for name, content in variants(raw):
        assert as_ours(content) == as_transformers(content), name


@pytest.mark.parametrize(
    ("section", "changes", "words"),
    [
        ("text_config", {"hidden_size": "96"}, "hidden_size is '96'"),
        ("text_config", {"num_hidden_layers": 0}, "num_hidden_layers is 0"),
        ("text_config", {"head_dim": 2.5}, "head_dim is 2.5"),
        ("text_config", {"attention_bias": True}, "attention_bias"),
        ("text_config", {"rope_scaling": {"rope_type": "yarn"}}, "rope_type 'yarn'"),
        ("text_config", {"rope_scaling": {"mrope_section": [6, 5]}}, "mrope_section has 2 parts"),
        ("vision_config", {"deepstack_visual_indexes": 1}, "deepstack_visual_indexes is 1"),
        ("vision_config", {"depth": True}, "depth is True"),
        (None, {"trigger_window_past": -1}, "trigger_window_past is -1"),
        (None, {"trigger_temporal_resolution": 0}, "trigger_temporal_resolution is 0"),
        (None, {"text_config": "large"}, "text_config is 'large'"),
        (None, {"trigger_window_past": 10**6}, "trigger_window_past is 1000000, above 4096"),
        (None, {"trigger_window_future": 10**9}, "trigger_window_future is 1000000000, above 4096"),
        (None, {"trigger_temporal_resolution": 1e-9}, "trigger_temporal_resolution is 1e-09, below"),
        (None, {"trigger_temporal_resolution": 1e9}, "trigger_temporal_resolution is 1000000000.0, above"),
        (None, {"trigger_temporal_resolution": float("nan")}, "trigger_temporal_resolution is nan"),
        (None, {"single_sequence": "false"}, "single_sequence is 'false', not true or false"),
        (None, {"tie_word_embeddings": "no"}, "tie_word_embeddings is 'no', not true or false"),
        (None, {"frame_max_tokens": 10**30}, "frame_max_tokens is"),
        ("text_config", {"vocab_size": -5}, "vocab_size is -5"),
        ("text_config", {"vocab_size": 10**1000}, "vocab_size is a number of 3322 bits, above"),
        ("text_config", {"hidden_size": [64] * 1000}, "hidden_size is [64, 64"),
        ("text_config", {"num_hidden_layers": 10**6}, "num_hidden_layers is 1000000, above 1000"),
        ("text_config", {"num_key_value_heads": 7}, "is not a multiple of 7 kv heads"),
        ("text_config", {"head_dim": 31}, "head_dim is 31, an odd number"),
        ("text_config", {"rms_norm_eps": 1e300}, "rms_norm_eps is 1e+300"),
        ("text_config", {"hidden_act": "relu"}, "hidden_act 'relu' is not supported"),
        ("vision_config", {"num_heads": 5}, "does not suit 5 heads"),
        (
            "vision_config",
            {"num_position_embeddings": 63},
            "num_position_embeddings is 63, which is not a square",
        ),
        ("vision_config", {"out_hidden_size": 48}, "out_hidden_size is 48, but hidden_size is"),
        ("vision_config", {"deepstack_visual_indexes": [9]}, "deepstack_visual_indexes is [9]"),
        ("vision_config", {"deepstack_visual_indexes": [0, 0]}, "deepstack_visual_indexes is [0, 0]"),
        ("vision_config", {"patch_size": 14}, "patch_size 14 is not supported, only 16"),
        ("vision_config", {"spatial_merge_size": 1}, "spatial_merge_size 1 is not supported"),
    ],
)
def test_an_impossible_size_is_named(folder, section, changes, words):
    raw = json.loads((folder / "config.json").read_text())
    changes = changes if section is None else {section: {**raw[section], **changes}}
    edit(folder / "config.json", **changes)
    with pytest.raises(CheckpointError, match="is not a usable Qwen3-VL configuration") as caught:
        checkpoint.read_architecture(folder)
    assert words in str(caught.value)


def both(folder):
    plain = load_tokenizer(folder)
    assert isinstance(plain, PlainTokenizer)
    return plain, AutoTokenizer.from_pretrained(str(folder), local_files_only=True)


@pytest.mark.parametrize("add_special_tokens", [False, True])
def test_ids_are_those_of_transformers(folder, add_special_tokens):
    plain, full = both(folder)
    assert plain.get_vocab() == full.get_vocab()
    for text in TEXTS:
        ours = plain(text, add_special_tokens=add_special_tokens)["input_ids"]
        assert ours == full(text, add_special_tokens=add_special_tokens)["input_ids"], text


def test_special_tokens_are_at_least_those_of_transformers(folder):
    plain, full = both(folder)
    assert set(full.all_special_ids) <= set(plain.all_special_ids)
    text = full.decode(plain.all_special_ids)
    assert "seconds" not in text  # times are tokens, and not special


@pytest.mark.parametrize("template", ["own", "features"])
@pytest.mark.parametrize("prompt", [False, True])
def test_conversations_are_written_as_by_transformers(folder, template, prompt):
    if template == "features":
        (folder / "chat_template.jinja").write_text(FEATURES)
    plain, full = both(folder)
    ours = plain.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=prompt)
    assert ours == full.apply_chat_template(MESSAGES, tokenize=False, add_generation_prompt=prompt)
    assert "<|video_pad|>" in ours


def test_prompts_are_those_of_transformers(folder):
    ours, theirs = (Prompt(tokenizer) for tokenizer in both(folder))
    query = "Tell me when the door opens."
    assert ours.pair("<0.5 seconds>", 4, query).tolist() == theirs.pair("<0.5 seconds>", 4, query).tolist()
    assert ours.pair("<120.5 seconds>", 4).tolist() == theirs.pair("<120.5 seconds>", 4).tolist()
    assert ours.ending(query).tolist() == theirs.ending(query).tolist()
    assert ours.slot_ids.tolist() == theirs.slot_ids.tolist()


@pytest.mark.parametrize("kind", ["Qwen2Tokenizer", "Qwen2TokenizerFast", None])
def test_the_published_kind_of_tokenizer_gives_the_same_ids(folder, kind):
    """As in Qwen's checkpoints: normalised, and split by a pattern before bytes become letters."""
    from tokenizers import Regex, Tokenizer, normalizers, pre_tokenizers

    pattern = (
        r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}"
        r"| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
    )
    file = folder / "tokenizer.json"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.normalizer = normalizers.NFC()
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(pattern), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.save(str(file))
    edit(folder / "tokenizer_config.json", tokenizer_class=kind)
    plain, full = both(folder)
    for text in TEXTS:
        assert plain(text)["input_ids"] == full(text, add_special_tokens=False)["input_ids"], text


@pytest.mark.parametrize(
    "changes",
    [
        {"tokenizer_class": "GemmaTokenizer"},
        {"added_tokens_decoder": {"999": {"content": "<new>", "special": True}}},
        {"extra_special_tokens": ["<new>"]},
        {"add_prefix_space": True},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_takes_more_than_the_file_is_left_to_transformers(folder, changes):
    edit(folder / "tokenizer_config.json", **changes)
    tokenizer = load_tokenizer(folder)
    assert not isinstance(tokenizer, PlainTokenizer)
    assert tokenizer("view", add_special_tokens=False)["input_ids"]


def test_the_template_is_found_where_older_checkpoints_have_it(folder):
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    with pytest.raises(CheckpointError, match="has no chat template"):
        checkpoint.read_tokenizer(folder)
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    older = checkpoint.read_tokenizer(folder)
    (folder / "chat_template.json").unlink()
    edit(folder / "tokenizer_config.json", chat_template=template)
    inside = checkpoint.read_tokenizer(folder)
    assert isinstance(older, PlainTokenizer)
    assert isinstance(inside, PlainTokenizer)
    assert older.apply_chat_template(MESSAGES) == inside.apply_chat_template(MESSAGES) != ""


@pytest.mark.parametrize(
    "attack",
    [
        "{{ messages.__class__.__mro__ }}",
        "{{ ''.__class__ }}",
        "{% set ns = namespace() %}{% set ns.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{{ raise_exception('no') }}",
    ],
)
def test_a_template_runs_in_a_sandbox(folder, attack):
    from jinja2 import TemplateError

    (folder / "chat_template.jinja").write_text(attack)
    tokenizer = load_tokenizer(folder)
    with contextlib.suppress(TemplateError):
        assert tokenizer.apply_chat_template(MESSAGES) == ""  # an undefined value


@pytest.mark.parametrize(
    "name",
    [
        *("config.json", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"),
        *("chat_template.jinja", "chat_template.json", "preprocessor_config.json", "generation_config.json"),
        *("model.safetensors", "model.safetensors.index.json"),
    ],
)
def test_a_pipe_in_the_place_of_a_file_is_not_waited_for(folder, name):
    from stride_ros.activation import ActivationModel

    (folder / name).unlink(missing_ok=True)
    os.mkfifo(folder / name)

    def load() -> None:
        with contextlib.suppress(CheckpointError):
            ActivationModel.load(folder, device="cpu")

    thread = threading.Thread(target=load, daemon=True)
    thread.start()
    thread.join(60.0)
    assert not thread.is_alive()


def test_a_broken_tokenizer_is_named(folder):
    (folder / "tokenizer.json").write_text('{"version": "1.0"}')
    with pytest.raises(CheckpointError, match="no usable tokenizer"):
        checkpoint.read_tokenizer(folder)


def test_a_tokenizer_that_panics_is_a_sentence(folder):
    """Its expression takes more steps than the library allows, which is a panic and no Exception."""
    pattern = {"Regex": "(e|[a-z ]+)+$"}
    endless = {"type": "Split", "pattern": pattern, "behavior": "Isolated", "invert": False}
    before = json.loads((folder / "tokenizer.json").read_text())["pre_tokenizer"]
    edit(folder / "tokenizer.json", pre_tokenizer={"type": "Sequence", "pretokenizers": [endless, before]})
    prompt = Prompt(checkpoint.read_tokenizer(folder))
    with pytest.raises(CheckpointError, match=r"tokenizer failed \(Onig.*another one\."):
        prompt.check_query(
            "Tell me when a cat attacks a small bag at a cafe, and when it has had all that a cat can eat."
        )


@pytest.mark.parametrize("source", CHECKPOINTS, ids=lambda folder: folder.name)
def test_decisions_need_no_transformers(source):
    """From the name of a checkpoint to decisions, in a process of its own."""
    code = (
        "import sys\n"
        "sys.modules['transformers'] = None\n"
        "import numpy as np\n"
        "from stride_ros.activation import ActivationModel, ActivationSession\n"
        "model = ActivationModel.load(sys.argv[1], device='cpu')\n"
        "session = ActivationSession(model, 'Tell me when a person is in view.')\n"
        "session.push(np.zeros((64, 64, 3), np.uint8), 0.0)\n"
        "print(len(session.push(np.zeros((64, 64, 3), np.uint8), 1.0).labels))"
    )
    result = subprocess.run(
        [sys.executable, "-c", code, str(source)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert result.returncode == 0, result.stderr
    assert int(result.stdout) > 0


def test_a_folder_of_the_hugging_face_cache_names_its_revision(folder, tmp_path):
    revision = tmp_path / "models--a--b" / "snapshots" / "0123abc"
    shutil.copytree(folder, revision)
    for place in (revision.parent, revision.parent.parent):
        with pytest.raises(CheckpointError) as caught:
            checkpoint.read_config(checkpoint.find(place))
        assert str(caught.value) == (
            f"{place} is a folder of the Hugging Face cache; pass that of a revision, like {revision}."
        )
    assert checkpoint.read_config(checkpoint.find(revision))["model_type"] == "qwen3_vl"


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("checkpoint" * 40, "cannot be used (File name too long)"),
        ("~nobody-of-that-name/checkpoint", "cannot be found (Could not determine home directory"),
    ],
)
def test_a_path_that_cannot_be_one_is_told(source, words):
    with pytest.raises(CheckpointError) as caught:
        checkpoint.find(source)
    assert words in str(caught.value)
