"""The recipe of the embedded checkpoint: packing and batched vision are exact, and it writes a checkpoint."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed")
pytest.importorskip("transformers", reason="transformers is not installed")

from safetensors.torch import load_file  # noqa: E402

from stride_ros.activation.model import ActivationModel  # noqa: E402
from stride_ros.activation.prompt import Prompt  # noqa: E402
from stride_ros.qwen3_vl.checkpoint import find  # noqa: E402
from stride_ros.qwen3_vl.patches import patches  # noqa: E402
from stride_ros.training.examples import IGNORED, WindowExamples  # noqa: E402
from stride_ros.training.masking import Window  # noqa: E402
from stride_ros.training.model import WindowKeys, prepare  # noqa: E402
from stride_ros.training.tiny.clips import facts, frame_facts, load_clips, render_clip  # noqa: E402
from stride_ros.training.tiny.drawing import encode_tables  # noqa: E402
from stride_ros.training.tiny.packing import Packer, holding, language_model_inputs, window_entries  # noqa: E402
from stride_ros.training.tiny.recipe import Recipe, make, start  # noqa: E402
from stride_ros.training.tiny.vision import PairSet, encode_pairs  # noqa: E402
from stride_ros.world.story import WorldConfig, WorldEvent  # noqa: E402

pytestmark = pytest.mark.slow

SLOTS = 16
STRIDE_TINY = find("stride-tiny")
NEXT_TO_NOTHING = {"clips": 1, "vision_steps": 1, "pair_steps": 1, "short_steps": 1, "long_steps": 1}


@pytest.fixture(scope="module")
def clip():
    return render_clip(10_000, 6, count=24)


@pytest.fixture(scope="module")
def start_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "start"
    start(folder, Recipe())
    return folder


@pytest.fixture(scope="module")
def model(start_folder, tmp_path_factory):
    model, _ = prepare(str(start_folder), tmp_path_factory.mktemp("tiny") / "model", WindowKeys())
    return model.eval()


@pytest.fixture(scope="module")
def prompt(start_folder):
    from transformers import AutoTokenizer

    return Prompt(AutoTokenizer.from_pretrained(start_folder))


def event(start, end):
    return WorldEvent("q", start, end, "It.", "hand", "hand")


def test_a_clip_is_the_same_again_and_comes_from_the_cache(clip, tmp_path):
    assert clip.frames.shape == (24, 64, 96, 3)
    assert (np.diff(clip.times) > 0.8).all()
    for _ in range(2):
        (again,) = load_clips(range(10_000, 10_001), 6, tmp_path, count=24)
        assert np.array_equal(again.frames, clip.frames)
    assert list(tmp_path.glob("*.npz"))


def test_facts_are_what_holds_at_each_frame(clip):
    table = frame_facts(clip)
    assert table.shape == (24, len(facts()))
    for query in clip.world.queries:
        expected = holding(clip.events_for(query), clip.times)
        assert table[:, facts().index(query)].astype(bool).tolist() == expected.tolist()


def test_batched_vision_is_that_of_transformers(model, clip):
    pixels = torch.from_numpy(np.stack([patches(clip.frames[k], clip.frames[k + 1]) for k in range(3)]))
    with torch.no_grad():
        mine = encode_pairs(model.model.visual, pixels, 2, 3)
        theirs = model.model.visual(pixels.flatten(0, 1), torch.tensor([[1, 4, 6]] * 3))
    assert torch.allclose(mine[0].flatten(0, 1), theirs.pooler_output, atol=1e-5)
    assert torch.allclose(mine[1].flatten(0, 1), theirs.deepstack_features[0], atol=1e-5)


def test_every_packed_window_is_computed_as_if_its_prompt_stood_alone(model, prompt, clip, monkeypatch):
    query = clip.world.queries[0]
    tokens = np.array([2, 0, 1, 2] * 4, np.uint8)
    window = Window(np.ones(SLOTS, np.uint8), tokens == 2, np.ones(SLOTS, bool))
    monkeypatch.setattr("stride_ros.training.tiny.packing.build_window", lambda *_: window)
    monkeypatch.setattr(Window, "tokens", property(lambda self: tokens))
    packer = Packer(prompt, SLOTS, 1.0, (1,), 2, 3)
    ticks = [0, 1, 6, 11]  # even: on the newest frame twice; odd: on complete pairs
    packed = packer.collate([packer.sequence(clip, query, 3, 12, ticks, 0, np.random.default_rng(0))])
    tables = encode_tables(model.model.visual, [clip])
    with torch.no_grad():
        inputs = language_model_inputs(model, packed, [table.float() for table in tables])
        states = model.model.language_model(**inputs).last_hidden_state
    states = states[packed.labels != IGNORED].unflatten(0, (len(ticks), -1))
    examples = WindowExamples(prompt, SLOTS, 1.0, (1,), 2, 6)
    for tick, mine in zip(ticks, states, strict=True):
        shown = list(range(3, 3 + tick + 1)) + ([3 + tick] if tick % 2 == 0 else [])
        times = [float(clip.times[k]) for k in shown]
        example = examples.assemble(query, [clip.frames[k] for k in shown], times, window)
        asked = example.slot_labels != IGNORED
        with torch.no_grad():
            alone = model.model(
                input_ids=torch.from_numpy(example.ids)[None],
                position_ids=torch.from_numpy(example.positions)[:, None],
                mm_token_type_ids=2 * (torch.from_numpy(example.ids) == prompt.video_id).long()[None],
                pixel_values_videos=torch.from_numpy(example.pixels),
                video_grid_thw=torch.tensor([example.grid]),
            ).last_hidden_state[0]
        assert torch.allclose(mine, alone[torch.from_numpy(asked)], atol=2e-3)  # tables are in half precision


def test_a_window_asks_for_the_event_after_the_last_settled_one():
    events = [event(2.0, 5.0), event(10.0, 14.0), event(20.0, 25.0)]
    rng = np.random.default_rng(0)
    answers = set()
    for _ in range(200):
        entries = window_entries(events, origin=0.0, now=13.0, seconds=16.0, unsettled=(0.5, 2.5), rng=rng)
        active = [entry for entry in entries if entry.active]
        assert len(active) == 1
        settled = [entry.end for entry in entries if entry.shown]
        answers.add(active[0].start)
        if active[0].start == 10.0:
            assert settled[0] > 3.0
    assert answers == {2.0, 10.0}  # the first only when nothing is settled


def test_an_event_is_settled_somewhere_between_the_times_of_the_recipe():
    events = [event(2.0, 5.0)]
    rng = np.random.default_rng(0)

    def settled(now: float) -> set[bool]:
        """Whether the event that is over at 5 s is part of the answer, in many windows that end at `now`."""
        windows = (window_entries(events, 0.0, now, 16.0, (1.0, 4.0), rng) for _ in range(200))
        return {any(entry.active for entry in entries) for entries in windows}

    assert settled(5.9) == {True}
    assert settled(7.5) == {True, False}
    draws = [window_entries(events, 0.0, 9.5, 16.0, (1.0, 4.0), rng) for _ in range(400)]
    active = np.mean([any(entry.active for entry in entries) for entries in draws])
    assert active == pytest.approx(0.25, abs=0.08)  # then only where nothing is settled at all


def test_a_window_of_one_slot_is_told_every_event_that_it_touches(clip, prompt):
    """A per-frame model has no span to finish first: what goes on now is active, whatever was before."""
    query = max(clip.world.queries, key=lambda q: len(clip.events_for(q)))
    packer = Packer(prompt, 1, 1.0, (1,), 2, 3)
    ticks = list(range(1, 24))
    packed = packer.sequence(clip, query, 0, 24, ticks, 0, np.random.default_rng(0))
    asked = [label for label in packed.labels if label != IGNORED]
    touched = [
        any(event.end >= clip.times[tick] - 1.0 and event.start <= clip.times[tick] for event in events)
        for events in [clip.events_for(query)]
        for tick in ticks
    ]
    assert 0 < sum(touched) < len(touched)
    assert asked == touched


def test_a_recipe_for_another_world_asks_and_renders_what_happens_there(tmp_path):
    kinds = ("on_table", "taken", "hand")
    query = "Tell me when a hand takes something away."
    make(
        tmp_path / "late",
        Recipe(**NEXT_TO_NOTHING, world=WorldConfig(kinds=kinds)),
        tmp_path / "cache",
        say=lambda text: None,
    )
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "late")
    usual = AutoTokenizer.from_pretrained(STRIDE_TINY)
    assert len(tokenizer.tokenize(query)) < len(usual.tokenize(query))
    (clip,) = load_clips(range(10_000, 10_001), 6, tmp_path / "cache", config=WorldConfig(kinds=kinds))
    (other,) = load_clips(range(10_000, 10_001), 6, tmp_path / "cache")
    assert clip.events_for(query)
    assert not other.events_for(query)
    assert not np.array_equal(clip.frames, other.frames)


def test_a_window_written_once_has_half_the_slot_tokens(clip, prompt):
    query, rng = clip.world.queries[0], np.random.default_rng(0)
    frames, once, twice = (
        len(Packer(prompt, SLOTS, 1.0, (1,), 2, 3, copies).sequence(clip, query, 0, 12, ticks, 0, rng).ids)
        for copies, ticks in ((1, []), (1, [11]), (2, [11]))
    )
    assert (once - frames, twice - frames) == (SLOTS, 2 * SLOTS)


def test_the_vision_tower_sees_changes_more_often_than_they_are(clip, monkeypatch):
    """Half of the pairs are at a change or beside one, be it the only one of the clip."""
    table = np.zeros((len(clip.frames), len(facts())), np.float32)
    table[12:] = 1.0
    monkeypatch.setattr("stride_ros.training.tiny.vision.frame_facts", lambda clip: table)
    _, truth = PairSet([clip]).draw(600, np.random.default_rng(0))
    changing = (truth[:, 0] != truth[:, 1]).any(dim=1).float().mean()
    assert changing > 0.06  # 0.026 by chance: one pair of 23, and 0.4 of them show one frame twice


def test_the_recipe_writes_a_checkpoint_that_loads(tmp_path):
    make(tmp_path / "tiny", Recipe(**NEXT_TO_NOTHING), tmp_path / "cache", say=lambda text: None)
    model = ActivationModel.load(tmp_path / "tiny")
    assert (model.window, model.frame_max_tokens) == (SLOTS, 6)
    assert sum(file.stat().st_size for file in (tmp_path / "tiny").iterdir()) < 16e6


def test_a_rival_takes_the_vision_tower_of_another_and_its_own_window(tmp_path):
    recipe = Recipe(**NEXT_TO_NOTHING, window=1, mask_modes=(1,), single_sequence=True)
    make(tmp_path / "rival", recipe, vision=STRIDE_TINY, say=lambda text: None)
    model = ActivationModel.load(tmp_path / "rival")
    assert (model.window, model.single_sequence) == (1, True)
    mine, theirs = (load_file(folder / "model.safetensors") for folder in (tmp_path / "rival", STRIDE_TINY))
    visual = [name for name in theirs if "visual" in name]
    assert visual
    assert all(torch.equal(mine[name], theirs[name]) for name in visual)
    others = [name for name in theirs if "visual" not in name and mine[name].shape == theirs[name].shape]
    assert not all(torch.equal(mine[name], theirs[name]) for name in others)
