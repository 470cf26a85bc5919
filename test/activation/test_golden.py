"""Agreement with the authors' implementation on recorded cases; STRIDE_GOLDEN_DIR names another set."""

import numpy as np

from stride_ros.activation.config import ActivationConfig, TriggerConfig
from stride_ros.activation.denoising import SlotPass
from stride_ros.activation.engine import FramePair
from stride_ros.activation.prefix import Pair, Prefix
from stride_ros.activation.session import ActivationSession
from stride_ros.activation.spans import Span, SpanState, SpanTracker
from stride_ros.qwen3_vl import patches as frames


def frame_pairs(case):
    times = case.timestamps
    return [
        FramePair((case.frames[i], case.frames[i + 1]), (times[i], times[i + 1]))
        for i in range(0, len(times), 2)
    ]


def test_golden_forward(golden_forward):
    case, model = golden_forward, golden_forward.model
    prefix = Prefix(model, case.query, "mrope", len(case.timestamps) // 2)
    ids = []
    for pair in frame_pairs(case):
        block = prefix.append([Pair(*pair.times, model.encode([pair.images])[0])], case.timestamps[0])
        model.append([block])
        ids.extend(block.ids.tolist())
    labels = np.array(case.labels, dtype=np.uint8)
    block = prefix.ask(SlotPass(labels, len(labels)))
    probabilities = prefix.answer(model.slot_probabilities([block])[0])
    ids.extend(block.ids.tolist())
    ids.extend(model.prompt.ending(case.query).tolist())
    assert ids == case.input_ids
    np.testing.assert_allclose(probabilities, case.p_active, atol=1e-4, rtol=0)


def test_golden_forward_grid_and_patches(golden, golden_forward):
    case = golden_forward
    height, width = case.frames.shape[1:3]
    assert [len(case.frames) // 2, height // 16, width // 16] == case.video_grid_thw
    recorded = f"{case.name}_pixel_values_videos"
    if recorded in golden.arrays:
        ours = np.concatenate([frames.patches(*pair.images) for pair in frame_pairs(case)])
        np.testing.assert_allclose(ours, golden.arrays[recorded], atol=1e-6, rtol=0)


def test_golden_stream(golden_stream):
    case = golden_stream
    config = ActivationConfig(
        unmasking_steps=case.unmasking_steps,
        confidence_threshold=case.confidence_threshold,
        margin_seconds=case.margin_seconds,
        multi_event=case.multi_event,
        max_frames=case.max_window_size,
        drop_frames=case.stride,
        decide_every=case.chunk_size,
        odd_frame="wait",
        trigger=TriggerConfig(min_active_seconds=0.0, min_confidence=0.0),
    )
    session = ActivationSession(case.model, case.query, config)
    ticks, segments = [], []
    for count, (frame, time) in enumerate(zip(case.frames, case.timestamps, strict=True), start=1):
        update = session.push(frame, time)
        if update is None and (count % case.chunk_size == 0 or count == len(case.frames)):
            update = session.decide()  # the recorded evaluation decides at the end of a chunk, however short
        if update is None:
            continue
        ticks.extend((update.time, labels) for labels in update.passes)
        segments.extend(event for event in update.events if event.state is SpanState.OFFSET)
        if session.finished:
            break
    segments.extend(session.close())
    assert len(ticks) == len(case.ticks)
    for (time, labels), expected in zip(ticks, case.ticks, strict=True):
        assert time == expected["last_time"]
        assert (labels == 255).astype(int).tolist() == expected["unseen"]
        assert np.where(labels == 255, 0, labels).tolist() == expected["labels"]
    found = [{"start_sec": max(0.0, event.start), "end_sec": max(0.0, event.end)} for event in segments]
    nothing = {"start_sec": 0.0, "end_sec": float(case.timestamps[-1]), "fallback": True}
    assert (found or [nothing]) == case.segments


def test_golden_resolution(golden):
    for row in golden.cases["resolution"]["table"]:
        size = frames.choose_size(*row["src"], row["max_tokens"])
        assert (list(size) if size else None) == row["dst"], row
        if size:
            assert size[0] * size[1] // 1024 == row["tokens"]


def test_golden_resize(golden):
    source = golden.arrays["resize_src"]
    targets = [name for name in golden.arrays if name.startswith("resize_") and name != "resize_src"]
    assert targets
    for name in targets:
        expected = golden.arrays[name]
        assert np.array_equal(frames.resize(source, expected.shape[:2]), expected), name


def test_golden_tracker(golden):
    for trace in golden.cases["tracker"]["traces"]:
        tracker, completed = SpanTracker(), []
        for step in trace["steps"]:
            found = [Span(start, end) for start, end in step["spans"]]
            over, _ = tracker.update(found, step["first_seen"], step["now"], trace["margin_seconds"])
            completed.extend(over)
            assert [[span.start, span.end] for span in over] == [list(span[:2]) for span in step["completed"]]
            tracked = [[span.start, span.end, True] for span in completed]
            tracked += [[span.start, span.end, False] for span in tracker.open_spans]
            assert tracked == step["tracked"]
