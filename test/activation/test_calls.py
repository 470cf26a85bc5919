"""How much a decision asks of PyTorch, counted: operator calls, passes, and pairs that are appended."""

import dataclasses
from typing import ClassVar

import numpy as np
import pytest

from stride_ros.activation.cached_prompt import CachedPrompt
from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.activation.session import ActivationSession
from stride_ros.benchmark.calls_worker import count_calls
from stride_ros.world.world import World

pytestmark = pytest.mark.slow

QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.")
CONFIG = ActivationConfig(max_frames=32, drop_frames=8, margin_seconds=1e9)
TICKS = 4  # that are counted, even: as many with a provisional pair as without


@pytest.fixture(scope="module")
def tiny():
    return ActivationModel.load("stride-tiny", device="cpu", dtype="float32", threads=1)


class Counted:
    """An engine with cameras of the synthetic world, full contexts, and a count of the calls of its ticks."""

    def __init__(self, model, config, cameras=1):
        self.engine = ActivationEngine(model, dataclasses.replace(config, decide_every=10**9))
        self.worlds = [World(seed=index, seconds=600.0) for index in range(cameras)]
        self.streams = [self.engine.open_stream(f"camera{index}") for index in range(cameras)]
        for stream in self.streams:
            stream.watch(QUERIES[0])
        self.now, self.passes = 0, 0
        for _ in range(config.max_frames):
            self.tick()
        self.engine.update_config(config)
        for _ in range(TICKS):
            self.tick()

    def tick(self):
        pairs = zip(self.streams, self.worlds, strict=True)
        given = {stream: (world.frame(float(self.now)), float(self.now)) for stream, world in pairs}
        self.now += 1
        updates = self.engine.push(given)
        self.passes += sum(update.steps for update in updates)

    def calls(self):
        """Calls, and passes, of a tick."""
        self.passes = 0
        found = count_calls(lambda: [self.tick() for _ in range(TICKS)])
        return sum(found.values()) / TICKS, self.passes / TICKS


def test_a_tick_calls_a_bounded_number_of_operators(tiny):
    """Half of what it once was: 10,876 with eight passes, 6,316 with four."""
    fresh, passes = Counted(tiny, dataclasses.replace(CONFIG, confidence_threshold=None)).calls()
    assert passes == 8
    assert fresh <= 5400
    steady, passes = Counted(tiny, CONFIG).calls()
    assert steady <= 5400 / 8 * (passes + 1)


def test_a_pass_costs_the_same_few_calls_whatever_it_runs_over(tiny):
    layers = tiny.architecture.text.layers

    def a_pass(frames):
        config = dataclasses.replace(CONFIG, confidence_threshold=None, max_frames=frames)
        few, many = (
            Counted(tiny, dataclasses.replace(config, unmasking_steps=steps)).calls() for steps in (4, 8)
        )
        return (many[0] - few[0]) / (many[1] - few[1])

    short, long = a_pass(24), a_pass(64)
    assert short == pytest.approx(long, rel=0.02)
    assert short / layers <= 140  # it was 285


def test_cameras_share_most_calls_of_a_tick(tiny):
    config = dataclasses.replace(CONFIG, confidence_threshold=None)
    alone, _ = Counted(tiny, config).calls()
    together, _ = Counted(tiny, config, cameras=4).calls()
    assert together < 2.5 * alone


class Noted(CachedPrompt):
    """Counts blocks and tokens of appends and passes."""

    noted: ClassVar[list] = []

    def advance(self, pair):
        blocks = super().advance(pair)
        self.noted += [("append", len(block.features)) for block in blocks]
        return blocks

    def ask(self, request):
        block = super().ask(request)
        self.noted.append(("pass" if block else "free", 0))
        return block


class Refusing:
    """Recordings that are of no use: appends run before passes all the same."""

    def run(self, rows):
        return None


@pytest.fixture
def noted(rerun):
    """A function that makes a stream of a camera whose appends and passes are noted, and what is."""

    def make(model, config, recorded=False):
        notes = []

        class Prompt(Noted):
            noted = notes

            def __init__(self, *arguments):
                super().__init__(*arguments, recorder=rerun if recorded else None)

        engine = ActivationEngine(model, config, prompts=Prompt)
        stream = engine.open_stream("camera")
        stream.watch(QUERIES[0])
        return engine, stream, notes

    return make


@pytest.mark.parametrize("recorded", [False, True])
def test_a_watch_that_needs_no_pass_runs_none(make_model, make_frames, noted, rerun, recorded):
    """Every slot is settled: what is asked again without a new frame, after a span that ends with the window,
    has nothing to denoise.
    """
    model, images = make_model(window=8), make_frames(12, (64, 64))
    config = ActivationConfig(max_frames=12, drop_frames=4)
    engine, stream, notes = noted(model, config, recorded)
    for index, image in enumerate(images):
        engine.push({stream: (image, float(index))})
    (watch,) = stream.watches
    watch._tracker.completed_until = float("inf")
    notes.clear()
    replayed = rerun.replayed
    (update,) = stream.decide()
    assert update.steps == 0
    assert notes == []
    assert rerun.replayed == replayed
    assert not update.labels[update.labels != 255].any()


@pytest.mark.parametrize("recorded", [False, True])
def test_a_baseline_pass_that_confirms_nothing_is_the_first_step(
    make_model, make_frames, noted, rerun, recorded
):
    model, images = make_model(window=8), make_frames(12, (64, 64))
    engine, stream, notes = noted(model, ActivationConfig(max_frames=12, confidence_threshold=1.0), recorded)
    replayed = 0
    for index, image in enumerate(images):
        (update,) = engine.push({stream: (image, float(index))})
        asked = [kind for kind, _ in notes if kind != "append"]
        notes.clear()
        if index and not recorded:
            assert asked[:2] == ["pass", "free"]
        if index > 2 and recorded:  # its checks are done
            assert rerun.replayed - replayed == update.steps - 1
        replayed = rerun.replayed


@pytest.mark.parametrize("recorded", [False, True])
def test_no_provisional_pair_where_its_partner_comes_before_anyone_asks(
    make_model, make_frames, noted, monkeypatch, recorded
):
    model, images = make_model(window=8), make_frames(24, (64, 64))
    encoded = []
    encode = model.encode
    monkeypatch.setattr(model, "encode", lambda pairs: encoded.append(len(pairs)) or encode(pairs))
    engine, stream, notes = noted(model, ActivationConfig(max_frames=64, decide_every=2), recorded)
    decided = []
    for index, image in enumerate(images):
        decided += engine.push({stream: (image, float(index))})
    assert len(decided) == 12
    assert sum(encoded) == 12
    appended = sum(pairs for kind, pairs in notes if kind == "append")
    assert appended <= 12 + 12  # to both prompts at most
    (last,) = engine.decide(stream)  # and where somebody does ask, nothing is missing
    assert last.time == 23.0
    engine.push({stream: (images[0], 24.0)})
    before = len(encoded)
    (asked,) = stream.decide()
    assert asked.time == 24.0
    assert len(encoded) == before + 1


def test_what_is_appended_runs_with_the_first_pass(make_model, make_frames, noted, monkeypatch):
    """A tick of n passes is n forwards, and decides as one that appends before."""
    model, images = make_model(window=8, seed=3), make_frames(40, (64, 32))
    config = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
    forwards = []
    forward = model._decoder.forward
    monkeypatch.setattr(model._decoder, "forward", lambda blocks: forwards.append(1) or forward(blocks))
    (engine, stream, notes), (separate, other, _) = noted(model, config), noted(model, config)
    for watch in other.watches:
        monkeypatch.setattr(type(watch.passes), "recordings", Refusing())
    for index, image in enumerate(images):
        forwards.clear()
        notes.clear()
        (update,) = engine.push({stream: (image, float(index))})
        assert len(forwards) == sum(kind == "pass" for kind, _ in notes)
        (expected,) = separate.push({other: (image, float(index))})
        np.testing.assert_array_equal(update.labels, expected.labels)
        np.testing.assert_allclose(update.probabilities, expected.probabilities, atol=1e-4, rtol=0)
        assert 0 < update.timings["append"] < update.timings["total"]


def test_answers_are_those_of_their_watches_in_whatever_order_frames_are_given(make_model, make_frames):
    """With `wait` some streams append without deciding, and others decide."""
    model, images = make_model(window=8, seed=3), make_frames(37, (64, 32))
    config = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3, odd_frame="wait")
    engine = ActivationEngine(model, config)
    streams = [engine.open_stream(name) for name in ("front", "left", "right")]
    sessions = {}
    for stream, query in zip(streams, (*QUERIES, QUERIES[0]), strict=True):
        stream.watch(query)
        sessions[stream.name] = ActivationSession(model, query, config)
    rng, decided = np.random.default_rng(4), 0
    for tick in range(40):
        given = [streams[index] for index in rng.permutation(3)[: rng.integers(1, 4)]]
        frames = {stream: (images[(tick + streams.index(stream)) % 37], float(tick)) for stream in given}
        updates = {update.stream: update for update in engine.push(frames)}
        for stream, frame in frames.items():
            expected = sessions[stream.name].push(*frame)
            assert (expected is None) == (stream.name not in updates)
            if expected is not None:
                decided += 1
                found = updates[stream.name].probabilities
                np.testing.assert_allclose(found, expected.probabilities, atol=1e-4, rtol=0)
    assert decided > 20
