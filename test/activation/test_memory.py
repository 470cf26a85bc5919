"""Memory of a watch follows its prompt, stays within what was promised, and is admitted before it is used."""

import gc
import os
import re
from pathlib import Path

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig
from stride_ros.activation.engine import ActivationEngine
from stride_ros.activation.model import ActivationModel
from stride_ros.errors import CapacityError
from stride_ros.qwen3_vl import reservation

pytestmark = pytest.mark.slow

TICKS = int(os.environ.get("STRIDE_TICKS", "520"))
QUERIES = ("Tell me when a person is in view.", "A red ball is on the table.")
SIZE = (64, 96)
CONFIG = ActivationConfig(max_frames=128, drop_frames=32, decide_every=8, unmasking_steps=2)


@pytest.fixture(scope="module")
def tiny():
    return ActivationModel.load("stride-tiny", device="cpu", dtype="float32")


def resident_bytes() -> int:
    """Bytes that the caches of this process have in memory: mappings without huge pages are theirs alone."""
    found, size = 0, 0
    for line in Path("/proc/self/smaps").read_text().splitlines():
        if line.startswith("Rss:"):
            size = int(line.split()[1]) * 1024
        elif line.startswith("VmFlags:") and re.search(r"\bnh\b", line):
            found += size
    return found


def test_hundreds_of_ticks_take_what_was_promised_and_the_system_says_so(tiny, make_frames):
    engine = ActivationEngine(tiny, CONFIG)
    stream = engine.open_stream("camera", SIZE)
    promised = engine.memory_for(SIZE, QUERIES[:1])
    watch = stream.watch(QUERIES[0])
    images, known, kept, full = make_frames(8, SIZE), [], [], 0
    gc.collect()
    others, resident = resident_bytes(), []
    for tick in range(TICKS):
        engine.push({stream: (images[tick % 8], float(tick))})
        full = max(full, watch.passes._active.memory_bytes)
        known.append(engine.memory_bytes)
        if tick % 5 == 0:  # every place between two shifts comes, and the system's answer takes long
            kept.append(watch.passes.memory_bytes)
            resident.append(resident_bytes() - others)
    assert max(known) <= promised
    assert max(known) > 0.9 * promised
    for bytes_of_caches in (kept, resident) if max(resident) else (kept,):  # a kernel without huge pages
        assert np.mean(bytes_of_caches) <= 1.35 * full
        assert np.mean(bytes_of_caches[40:]) <= 1.35 * full  # without the time when nothing was full
        assert max(bytes_of_caches) <= 1.85 * full
    if max(resident):
        np.testing.assert_allclose(resident, kept, rtol=0.02)
    # What a prompt had is free as soon as it starts over, not when somebody needs it.
    assert min(kept[40:]) < 1.1 * full


def test_without_mappings_memory_is_still_bounded(tiny, make_frames, monkeypatch):
    monkeypatch.setattr(reservation, "_mapping", lambda size: None)
    engines = [ActivationEngine(tiny, ActivationConfig(max_frames=16))]
    monkeypatch.undo()
    engines.append(ActivationEngine(tiny, ActivationConfig(max_frames=16)))
    images, streams = make_frames(8, SIZE), []
    for engine in engines:
        stream = engine.open_stream("camera", SIZE)
        stream.watch(QUERIES[0])
        streams.append(stream)
    promised = engines[0].memory_for(SIZE, QUERIES[:1])
    for tick in range(50):
        monkeypatch.setattr(reservation, "_mapping", lambda size: None)
        (plain,) = engines[0].push({streams[0]: (images[tick % 8], float(tick))})
        monkeypatch.undo()
        (mapped,) = engines[1].push({streams[1]: (images[tick % 8], float(tick))})
        np.testing.assert_array_equal(plain.labels, mapped.labels)
        assert engines[0].memory_bytes <= promised


def test_a_watch_that_is_gone_takes_nothing_though_somebody_keeps_it(tiny, make_frames):
    engine = ActivationEngine(tiny, CONFIG, keep_features=False)
    stream = engine.open_stream("camera", SIZE)
    watches = [stream.watch(query) for query in QUERIES]
    gc.collect()
    before = resident_bytes()
    for tick, image in enumerate(make_frames(30, SIZE)):
        engine.push({stream: (image, float(tick))})
    both = engine.memory_bytes
    stream.unwatch(watches[0])
    assert engine.memory_bytes < 0.6 * both
    stream.close()
    assert watches[1].passes.memory_bytes == 0
    gc.collect()
    assert resident_bytes() <= before


@pytest.mark.parametrize("paged", [False, True])
def test_a_refusal_at_a_limit_leaves_others_unchanged(make_model, make_frames, monkeypatch, paged):
    model, images = make_model(window=8, seed=3), make_frames(40, (64, 96))
    monkeypatch.setattr(model, "paged", paged)
    config = ActivationConfig(max_frames=12, drop_frames=4, unmasking_steps=3)
    one = ActivationEngine(model, config).memory_for((64, 96), QUERIES[:1])
    limited, free = (ActivationEngine(model, config, memory_limit=limit) for limit in (one + one // 3, None))
    streams = [engine.open_stream("camera", size=(64, 96)) for engine in (limited, free)]
    for stream in streams:
        stream.watch(QUERIES[0])
    for tick, image in enumerate(images):
        if tick % 10 == 3:
            with pytest.raises(CapacityError) as caught:
                streams[0].watch(QUERIES[1], look_back=True)
            assert caught.value.needed > caught.value.free >= one
            with pytest.raises(CapacityError):
                limited.open_stream("other", size=(512, 512))
        (ours,), (theirs,) = (
            engine.push({stream: (image, float(tick))})
            for engine, stream in zip((limited, free), streams, strict=True)
        )
        np.testing.assert_array_equal(ours.labels, theirs.labels)
        np.testing.assert_array_equal(ours.probabilities, theirs.probabilities)
        assert limited.memory_bytes <= one


def test_times_that_take_more_tokens_have_to_fit_as_well(make_model, make_frames):
    """The prompt says the time of each pair: a context over days needs more of them than one over seconds."""
    model, images = make_model(window=8), make_frames(40, (32, 32))
    config = ActivationConfig(max_frames=32)
    one = ActivationEngine(model, config).memory_for((32, 32), QUERIES[:1])
    days = ActivationEngine(model, config).memory_for((32, 32), QUERIES[:1], seconds=1e6)
    assert days > one
    engine = ActivationEngine(model, config, memory_limit=one)
    stream = engine.open_stream("camera", size=(32, 32))
    stream.watch(QUERIES[0])
    engine.push({stream: (images[0], 0.0)})
    with pytest.raises(CapacityError):
        engine.push({stream: (images[1], 86400.0)})
    assert len(engine.push({stream: (images[1], 1.0)})) == 1
    engine = ActivationEngine(model, config, memory_limit=days)
    stream = engine.open_stream("camera", size=(32, 32))
    stream.watch(QUERIES[0])
    for tick, image in enumerate(images):
        engine.push({stream: (image, 7000.0 * tick)})
        assert engine.memory_bytes <= days


def test_a_stream_that_nobody_watches_keeps_pixels_and_stays_within_its_figure(make_model, make_frames):
    engine = ActivationEngine(make_model(window=8), ActivationConfig(max_frames=12))
    stream = engine.open_stream("camera", size=SIZE)
    promised = engine.memory_for(SIZE, ())
    for tick, image in enumerate(make_frames(30, SIZE)):
        engine.push({stream: (image, float(tick))})
        assert engine.memory_bytes <= promised
