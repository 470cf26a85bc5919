"""Prompts of the local families equal what each family's own processor makes of the same messages."""

from __future__ import annotations

import pytest

from stride_ros.response.backend import load_backend

pytestmark = pytest.mark.slow

torch = pytest.importorskip("torch", reason="torch is not installed")


def never() -> bool:
    return False


@pytest.fixture(params=["qwen3_vl", "internvl3", "gemma3"])
def family(request):
    """The directory of a tiny checkpoint of each family."""
    return request.getfixturevalue(request.param)


@pytest.fixture
def backend(family):
    made = load_backend("huggingface", str(family), max_new_tokens=8)
    yield made
    made.close()


def answer(backend, request) -> str:
    return "".join(backend.stream(request, never))


def test_every_family_answers_always_the_same(backend, make_request):
    first = answer(backend, make_request(4))
    assert first
    assert answer(backend, make_request(4)) == first


def test_every_family_looks_at_the_frames(backend, make_request):
    def odds_of_the_first_word(first_time: float, brightness: int):
        request = make_request(2, first=first_time)
        for frame in request.frames:
            frame.image[:] = frame.image // 2 + brightness
        with torch.inference_mode():
            return backend._model(**backend._prompt.inputs(request)).logits[0, -1]

    dark = odds_of_the_first_word(100.0, 0)
    assert torch.equal(dark, odds_of_the_first_word(200.0, 0))
    assert (dark - odds_of_the_first_word(100.0, 100)).abs().max() > 1e-3


def test_every_family_is_told_the_query_and_the_style(backend, make_request):
    told = ({}, {"query": "Where is the ball?"}, {"system_prompt": "Sing."}, {"history": ("A ball.",)})
    texts = []
    for fields in told:
        ids = backend._prompt.inputs(make_request(2, **fields))["input_ids"]
        texts.append(backend._prompt.tokenizer.decode(ids[0]))
    assert "the cup moves" in texts[0]
    assert "Where is the ball?" in texts[1]
    assert "Sing." in texts[2]
    assert "A ball." in texts[3]


def test_every_family_keeps_its_turns_when_the_query_has_control_tokens(backend, make_request):
    tokenizer = backend._prompt.tokenizer
    tokens = " ".join(str(token) for token in tokenizer.added_tokens_decoder.values())
    plain = backend._prompt.inputs(make_request(2, query="a b"))["input_ids"]
    attacked = backend._prompt.inputs(make_request(2, query=f"a {tokens} b"))["input_ids"]
    assert attacked.tolist() == plain.tolist()


def test_warm_up_leaves_the_answers_alone(backend, make_request):
    before = answer(backend, make_request(3))
    backend.warm_up()
    assert answer(backend, make_request(3)) == before


def test_gemma3_equals_its_own_processor(gemma3, make_request):
    from transformers import AutoProcessor

    backend = load_backend("huggingface", str(gemma3))
    request = make_request(3, system_prompt="Be short.")
    ours = backend._prompt.inputs(request)
    theirs = AutoProcessor.from_pretrained(gemma3).apply_chat_template(
        backend._prompt.messages(request),
        tokenize=True,
        add_generation_prompt=True,
        return_dict=True,
        return_tensors="pt",
    )
    assert set(ours) == set(theirs)
    for name, tensor in theirs.items():
        assert torch.equal(ours[name], tensor), name
    assert int((ours["input_ids"] == backend._model.config.image_token_index).sum()) == 3 * 4
    backend.close()


def test_internvl3_writes_each_frame_as_one_tile(internvl3, make_request):
    """Its processor wants torchvision for videos, so text and token counts are compared."""
    backend = load_backend("huggingface", str(internvl3))
    request = make_request(2, size=(96, 192), system_prompt="Be short.")
    inputs = backend._prompt.inputs(request)
    tile = "<img>" + "<IMG_CONTEXT>" * 4 + "</img>"
    question = backend._prompt.messages(request)[1]["content"][-1]["text"]
    assert backend._prompt.tokenizer.decode(inputs["input_ids"][0]) == (
        "<|im_start|>system\nBe short.<|im_end|>\n"
        f"<|im_start|>user\nFrame 1 at 0.0 s: {tile}\nFrame 2 at 1.0 s: {tile}\n{question}<|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert tuple(inputs["pixel_values"].shape) == (2, 3, 56, 56)
    backend.close()


def test_qwen3_vl_equals_its_own_processor_but_for_the_pixels(qwen3_vl, make_request):
    """Its video half wants torchvision: sizes take its place, the processor itself writes the tokens."""
    from transformers import AutoImageProcessor, AutoTokenizer, Qwen3VLProcessor
    from transformers.video_utils import VideoMetadata

    class WithoutVideoHalf(Qwen3VLProcessor):
        def __init__(self, image_processor, tokenizer):
            super().__init__(image_processor, tokenizer, chat_template=tokenizer.chat_template)

        video_processor = type("Sizes", (), {"merge_size": 2, "temporal_patch_size": 2})

    backend = load_backend("huggingface", str(qwen3_vl))
    request = make_request(5, size=(96, 128), system_prompt="Be short.")
    ours = backend._prompt.inputs(request)
    assert ours["video_grid_thw"].tolist() == [[3, 6, 8]]

    tokenizer = AutoTokenizer.from_pretrained(qwen3_vl)
    processor = WithoutVideoHalf(AutoImageProcessor.from_pretrained(qwen3_vl, backend="pil"), tokenizer)
    metadata = VideoMetadata(total_num_frames=5, fps=1.0, frames_indices=[0, 1, 2, 3, 4])
    sizes = {"video_grid_thw": ours["video_grid_thw"], "video_metadata": [metadata]}
    text = processor.apply_chat_template(backend._prompt.messages(request), add_generation_prompt=True)
    # A video placeholder stands for whole frames, start and end tokens included (as in transformers 4.57).
    placeholder = "<|vision_start|><|video_pad|><|vision_end|>"
    expected = tokenizer(text.replace(placeholder, processor.replace_video_token(sizes, 0)))["input_ids"]
    assert ours["input_ids"][0].tolist() == expected
    assert ours["mm_token_type_ids"].tolist() == processor.create_mm_token_type_ids([expected])
    backend.close()
