"""Replaying a recording: the nodes' path, the same result every time, whatever the storage and the clock."""

from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from stride_ros.activation.config import ActivationConfig
from stride_ros.errors import ConfigError, QueryError, SourceError
from stride_ros.replay import replay
from stride_ros.runs.expectations import Expectations, ExpectedSpan

pytestmark = pytest.mark.slow

QUERY = "Tell me when a red box is on the table."
OTHER = "Tell me when a hand is in view."
RECORDED_0_1_0 = Path(__file__).parent / "recorded_0_1_0"


def spans(result):
    return [(span.id, span.start, span.end, span.state, span.onset) for span in result.spans()]


def steady(count, step=0.5):
    return [(i * step, i * step) for i in range(count)]


def session_spans(model, frames, query=QUERY):
    """(start, end) of every span that a plain session publishes for frames one second apart."""
    from stride_ros.activation.session import ActivationSession

    session = ActivationSession(model, query)
    events = []
    for time, frame in enumerate(frames):
        update = session.push(frame, float(time))
        events += update.events if update else ()
    events += session.close()
    last = {event.span_id: event for event in events}
    return [(event.start, event.end) for event in last.values()]


def test_a_replay_equals_a_session_shown_one_frame_a_second(model, world_bag):
    from rosbags.highlevel import AnyReader

    from stride_ros.imaging.images import compressed_to_rgb

    with AnyReader([world_bag]) as reader:
        images = [c for c in reader.connections if c.topic.endswith("compressed")]
        messages = [reader.deserialize(data, c.msgtype) for c, _, data in reader.messages(images)]
    result = replay(world_bag, QUERY, model=model)
    expected = session_spans(model, [compressed_to_rgb(message) for message in messages[::5]])
    assert expected
    # A session's first slot begins before its first frame; an event of a recording does not.
    expected = [pytest.approx((max(start, 0.0), max(end, 0.0))) for start, end in expected]
    assert [(span.start, span.end) for span in result.spans()] == expected


def test_the_same_recording_gives_the_same_bytes(model, checkpoint, world_bag):
    runs = [replay(world_bag, [QUERY, OTHER], model=model, responder=str(checkpoint)) for _ in range(2)]
    first, second = (result.run.to_json(latencies=False) for result in runs)
    assert first == second
    assert runs[0].spans()
    assert all(span.said is not None for span in runs[0].spans())


def test_sqlite_and_mcap_give_the_same_spans(model, write_images):
    results = [
        replay(write_images(steady(60), storage), QUERY, model=model) for storage in ("mcap", "sqlite3")
    ]
    assert spans(results[0]) == spans(results[1]) != []


def test_several_queries_are_as_if_asked_alone(model, world_bag):
    together = replay(world_bag, [QUERY, OTHER], model=model)
    for query in (QUERY, OTHER):
        alone = replay(world_bag, query, model=model)
        assert [(s.start, s.end) for s in together.spans(query)] == [(s.start, s.end) for s in alone.spans()]
    ids = [span.id for span in together.spans()]
    assert len(set(ids)) == len(ids)


def test_only_the_frames_of_the_rate_are_decoded(model, world_bag, monkeypatch):
    from stride_ros.bags.reader import BagReader

    decoded = []
    original = BagReader.decode
    monkeypatch.setattr(BagReader, "decode", lambda self, m: decoded.append(m) or original(self, m))
    replay(world_bag, QUERY, model=model)
    assert len(decoded) == 41  # of 201


def test_log_times_may_stand_in_for_header_stamps(model, write_images):
    wrong_clock = write_images([(5.0 + i * 0.001, i * 0.5) for i in range(40)])
    by_log = replay(wrong_clock, QUERY, model=model, clock="log")
    assert by_log.run.seconds == pytest.approx(20.0, abs=0.6)
    assert spans(by_log) == spans(replay(write_images(steady(40)), QUERY, model=model))


def test_images_without_stamp_take_their_log_time(model, write_images):
    result = replay(write_images([(None, i * 0.5) for i in range(40)]), QUERY, model=model)
    assert spans(result) == spans(replay(write_images(steady(40)), QUERY, model=model))
    assert any("have no stamp" in note for note in result.run.notes)


def test_a_part_can_be_played(model, world_bag):
    result = replay(world_bag, QUERY, model=model, start=10.0, duration=12.0)
    assert result.run.seconds == pytest.approx(12.0, abs=0.3)


@pytest.mark.parametrize("rate", [1.0, 2.0, 5.0])
def test_the_length_is_that_of_the_recording_at_any_rate(model, world_bag, write_images, tmp_path, rate):
    from stride_ros.sources.world_bag import write_video
    from stride_ros.world import World

    # A world has a picture at its end, too.
    write_video(World(seed=3, seconds=6, size=(96, 64), fps=25), tmp_path / "clip.mp4")
    write_video(World(seed=3, seconds=2.97, size=(96, 64), fps=30), tmp_path / "short.mp4")
    lengths = {
        world_bag: 40.2,  # 201 images at 5 Hz
        write_images(steady(20, 1.0)): 20.0,
        write_images(steady(20, 0.1)): 2.0,
        write_images(steady(4, 3.0)): 10.0,  # the last one stands for a second
        tmp_path / "clip.mp4": 6.04,
        tmp_path / "short.mp4": 3.0,
    }
    for recording, length in lengths.items():
        assert replay(recording, QUERY, model=model, rate=rate).run.seconds == pytest.approx(length, abs=1e-3)


def test_the_length_of_a_part_is_what_was_asked_for(model, write_images):
    recording = write_images(steady(40))
    for start, duration, length in ((0, 3, 3), (2.2, 3, 2.7), (2.5, 6.25, 6.25), (15, 90, 5), (15, None, 5)):
        result = replay(recording, QUERY, model=model, start=start, duration=duration)
        assert result.run.seconds == pytest.approx(length), (start, duration)


def test_times_of_a_part_are_those_of_the_recording(model, write_images, tmp_path):
    """So that one file of ground truth is right for every part."""
    from stride_ros.bags.writer import START_STAMP, BagWriter
    from stride_ros.runs.report import report_html
    from stride_ros.world import World

    bag, later = write_images(steady(60)), tmp_path / "later"
    world = World(seed=0, seconds=60, size=(96, 64))
    with BagWriter(later) as writer:  # the same images without the first 10 s
        for i in range(20, 60):
            stamp = START_STAMP + (i - 20) * 500_000_000
            writer.write_image("/cam", world.frame(i), stamp, raw=True)
    everything = replay(later, QUERY, model=model)
    result = replay(bag, QUERY, model=model, start=10.0)
    assert result.run.begin == pytest.approx(10.0)
    assert len(result.spans()) == len(everything.spans()) > 0
    for span, other in zip(result.spans(), everything.spans(), strict=True):
        assert (span.start, span.end, span.onset) == pytest.approx(
            (other.start + 10, other.end + 10, other.onset + 10)
        )
    truth = [ExpectedSpan(QUERY, span.start, span.end) for span in result.spans()]
    truth += [ExpectedSpan(QUERY, 1.0, 3.0)]  # over before the part begins
    assert replay(bag, model=model, start=10.0, expect=Expectations(truth)).ok
    assert not replay(bag, model=model, expect=Expectations(truth[-1:])).ok
    assert "from 0:10 on" in report_html(result.run)
    part = replay(bag, model=model, start=10.0, duration=8.0, expect=Expectations(truth))
    assert all(10.0 <= item.start < item.end <= 18.5 for query in part.run.queries for item in query.expected)


def test_the_rate_sets_how_many_frames_are_decided_on(model, world_bag):
    result = replay(world_bag, QUERY, model=model, rate=2.0, duration=10.0)
    assert len(result.run.queries[0].decision_seconds) == 20


def test_out_of_order_and_repeated_stamps_are_skipped_and_counted(model, write_images):
    stamps = steady(40)
    stamps[7], stamps[8] = (4.0, 3.5), (3.95, 4.0)  # a swap of two images
    stamps[20] = (stamps[19][0], 10.0)
    result = replay(write_images(stamps), QUERY, model=model)
    assert any(note.startswith("2 of 40 images came out of order or twice") for note in result.run.notes)


def test_a_gap_ends_what_is_open_and_is_told(model, write_images):
    stamps = steady(30) + [(3600.0 + time, 3600.0 + time) for time, _ in steady(60)[30:]]
    result = replay(write_images(stamps), QUERY, model=model)
    (note,) = [note for note in result.run.notes if "no images for" in note]
    assert "no images for 3601.0 s" in note
    assert all(span.end <= 16.0 or span.start >= 3600.0 for span in result.spans())
    assert any(span.end <= 16.0 for span in result.spans())


def test_a_clock_set_forward_starts_anew_and_times_count_on(model, write_images):
    stamps = steady(30) + [(3600.0 + time, time) for time, _ in steady(60)[30:]]
    result = replay(write_images(stamps), QUERY, model=model)
    (note,) = result.run.notes
    assert "the clock went forward by 3600.0 s" in note
    assert result.run.seconds == pytest.approx(30.0, abs=1.0)
    assert not any(span.onset < 15.0 < 16.0 < span.end for span in result.spans())
    assert any(span.onset >= 15.0 for span in result.spans())


def test_both_clocks_set_forward_count_on_too(model, write_images):
    years = 3e8
    stamps = steady(30) + [(years + time, years + time) for time, _ in steady(60)[30:]]
    result = replay(write_images(stamps), QUERY, model=model)
    assert any("the clock went forward" in note for note in result.run.notes)
    assert result.run.seconds == pytest.approx(30.0, abs=1.6)
    part = replay(write_images(stamps), QUERY, model=model, start=14.0, duration=4.0)
    assert part.run.seconds == pytest.approx(4.0, abs=0.6)


@pytest.mark.parametrize("stamp", [4e8, -1e9, None])
def test_one_wrong_stamp_changes_nothing(model, write_images, stamp):
    stamps = steady(40)
    stamps[9] = (stamp, stamps[9][1])
    result = replay(write_images(stamps), QUERY, model=model)
    assert spans(result) == spans(replay(write_images(steady(40)), QUERY, model=model))
    (note,) = result.run.notes
    assert note.startswith("1 of 40 images has ")


def test_a_part_counts_from_the_first_image_not_from_a_log_time_of_zero(model, write_images):
    stamps = [(0.0, 0.0), *((time, time) for time, _ in steady(40)[1:])]
    zero = [(time, logged if i else -1.7e9) for i, (time, logged) in enumerate(stamps)]
    result = replay(write_images(zero), QUERY, model=model, start=5.0, duration=6.0)
    assert result.run.seconds == pytest.approx(6.0, abs=0.3)


def test_a_clock_that_goes_back_starts_anew_and_times_count_on(model, write_images):
    once = steady(40)
    looped = once + [(time, 20.0 + time) for time, _ in once]
    result = replay(write_images(looped), QUERY, model=model)
    assert any(
        "the clock went back by 19.5 s" in note or "the clock went back by 19.0 s" in note
        for note in result.run.notes
    )
    assert result.run.seconds == pytest.approx(40.0, abs=1.5)
    assert not any(span.start < 19.0 < 20.5 < span.end for span in result.spans())


def test_bad_images_are_skipped_and_counted(model, write_images, tmp_path):
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter

    frame = np.full((64, 96, 3), 99, np.uint8)
    with BagWriter(tmp_path / "bag") as bag:
        for i in range(20):
            message = messages.image(frame, (1000 + i) * 10**9, "camera")
            if i in (4, 9):
                message.data = message.data[:100]
            bag.write("/cam", message, (1000 + i) * 10**9)
    result = replay(tmp_path / "bag", QUERY, model=model)
    assert any(note.startswith("2 of 20 images could not be used: ") for note in result.run.notes)
    assert len(result.run.queries[0].decision_seconds) == 18


@pytest.mark.parametrize("size", [(8, 8), (16, 3200)])
def test_images_that_the_model_cannot_take_are_an_error_and_no_quiet_recording(model, tmp_path, size):
    from stride_ros.bags import messages
    from stride_ros.bags.writer import BagWriter

    with BagWriter(tmp_path / "bag") as bag:
        for i in range(6):
            image = messages.image(np.zeros((*size, 3), np.uint8), (1000 + i) * 10**9, "camera")
            bag.write("/cam", image, (1000 + i) * 10**9)
    with pytest.raises(SourceError, match=r"No image on /cam can be used: A frame is .* at least 32"):
        replay(tmp_path / "bag", QUERY, model=model)


def test_a_part_without_any_decision_says_so(model, write_images):
    from stride_ros.activation.config import ActivationConfig

    config = ActivationConfig(odd_frame="wait")  # decides on pairs only
    one = replay(write_images([(0, 0)]), QUERY, model=model, config=config)
    assert one.run.notes == [
        "Nothing was decided, since the model was shown only 1 frame; play a longer part."
    ]
    assert replay(write_images(steady(4)), QUERY, model=model, config=config).run.notes == []


def test_a_topic_of_depth_images_is_an_error(model, write_images):
    with pytest.raises(SourceError, match="depth"):
        replay(write_images(steady(6), encoding="16UC1"), QUERY, model=model)


def test_the_trigger_can_be_configured(model, world_bag):
    from stride_ros.activation.config import TriggerConfig

    config = ActivationConfig(trigger=TriggerConfig(min_confidence=1.0))
    assert replay(world_bag, QUERY, model=model, config=config).spans() == []


def test_no_event_begins_before_the_first_frame(model, world_bag, tmp_path):
    from rosbags.highlevel import AnyReader

    from stride_ros.activation.config import TriggerConfig

    config = ActivationConfig(trigger=TriggerConfig(min_active_seconds=0.0, min_confidence=0.0))
    result = replay(world_bag, QUERY, model=model, config=config, start=3.0, out=tmp_path / "out")
    assert min(span.start for span in result.spans()) == result.run.begin  # on from the first frame
    stamps = {"/stride/frames": [], "/stride/activation/span": []}
    with AnyReader([tmp_path / "out"]) as reader:
        for connection, _, data in reader.messages():
            if connection.topic in stamps:
                message = reader.deserialize(data, connection.msgtype)
                stamp = message.header.stamp if connection.topic == "/stride/frames" else message.start
                stamps[connection.topic].append(stamp.sec * 10**9 + stamp.nanosec)
    assert min(stamps["/stride/activation/span"]) == min(stamps["/stride/frames"])


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"query": None}, ConfigError),
        ({"query": [QUERY, QUERY]}, ConfigError),
        ({"query": " "}, QueryError),
        ({"query": QUERY, "start": -1.0}, ConfigError),
        ({"query": QUERY, "rate": 0.0}, ConfigError),
        ({"query": QUERY, "start": 1000.0}, SourceError),
        ({"query": QUERY, "image_topic": "/no/such"}, SourceError),
    ],
)
def test_bad_arguments_are_refused(model, world_bag, options, error):
    with pytest.raises(error):
        replay(world_bag, model=model, **options)


def test_expectations_give_queries_and_a_verdict(model, world_bag):
    found = replay(world_bag, QUERY, model=model).spans()
    good = Expectations([ExpectedSpan(QUERY, span.start, span.end) for span in found])
    assert replay(world_bag, model=model, expect=good).ok
    bad = Expectations([ExpectedSpan(QUERY, 0.0, 0.1)])
    result = replay(world_bag, model=model, expect=bad)
    assert not result.ok
    assert "inexact" in result.table


def test_the_written_bag_reads_back_without_this_package(model, checkpoint, world_bag, tmp_path):
    from rosbags.highlevel import AnyReader

    out = tmp_path / "out"
    result = replay(world_bag, QUERY, model=model, responder=str(checkpoint), out=out)
    with AnyReader([out]) as reader:
        messages = [
            (connection.topic, stamp, reader.deserialize(data, connection.msgtype))
            for connection, stamp, data in reader.messages()
        ]
    by_topic = {}
    for topic, _, message in messages:
        by_topic.setdefault(topic, []).append(message)
    assert len(by_topic["/camera/image_raw/compressed"]) == 201
    assert len(by_topic["/stride/frames"]) == len(by_topic["/stride/activation/window"]) == 41
    events = by_topic["/stride/activation/span"]
    assert len(by_topic["/stride/commentary"]) == len(result.spans())
    for span in result.spans():
        states = [event.state for event in events if event.span_id == span.id]
        assert states[0] == 0
        assert states[-1] in (2, 3)
        assert set(states[1:-1]) <= {1}
    assert [stamp for _, stamp, _ in messages] == sorted(stamp for _, stamp, _ in messages)


def test_spans_and_commentary_say_what_found_them_and_what_was_shown(model, checkpoint, world_bag, tmp_path):
    out = tmp_path / "out"
    replay(world_bag, [QUERY, OTHER], model=model, responder=str(checkpoint), out=out)
    topics = read(out)
    watches = {QUERY: "query_1", OTHER: "query_2"}
    frames = [nanoseconds(frame.header.stamp) for frame in topics["/stride/frames"]]
    onsets = {}
    for span in topics["/stride/activation/span"]:
        assert span.watch == watches[span.query]
        assert (span.camera, span.respond, span.model) == ("", True, model.short_name)
        if span.state == 0:
            onsets[span.span_id] = nanoseconds(span.header.stamp)
        assert nanoseconds(span.onset) == onsets[span.span_id], "the ONSET's stamp, in every state"
    assert {window.watch for window in topics["/stride/activation/window"]} == set(watches.values())
    assert topics["/stride/commentary"]
    for said in topics["/stride/commentary"]:
        assert said.watch == watches[said.query]
        shown = [nanoseconds(stamp) for stamp in said.frame_stamps]
        assert shown == sorted(set(shown))
        assert set(shown) <= set(frames)
        assert shown[-1] == onsets[said.span_id]


def test_a_bag_with_earlier_definitions_of_our_messages_is_read_and_copied(model, tmp_path):
    """Recorded with version 0.1.0, whose messages had fewer fields."""
    out = tmp_path / "out"
    topics = ["/ground_truth", "/ground_truth/commentary"]
    result = replay(RECORDED_0_1_0, QUERY, model=model, image_topic="/stride/frames", topics=topics, out=out)
    assert result.run.seconds == pytest.approx(13.0)
    before, after = read(RECORDED_0_1_0), read(out)
    for topic in topics:
        assert len(after[topic]) == len(before[topic]) > 0
        assert [message.header.stamp for message in after[topic]] == [m.header.stamp for m in before[topic]]
        assert [message.query for message in after[topic]] == [m.query for m in before[topic]]
        assert not hasattr(before[topic][0], "watch")
        assert after[topic][0].watch == "", "by today's definition: a bag can hold only one of a type"
    assert len(after["/stride/frames"]) == 13, "written once, not copied beside it"
    assert all(window.watch == "query" for window in after["/stride/activation/window"])


def test_topics_that_the_replay_writes_are_not_copied(model, world_bag, tmp_path):
    with pytest.raises(ConfigError, match="writes /stride/activation/span itself"):
        replay(world_bag, QUERY, model=model, topics=["/stride/activation/span"], out=tmp_path / "out")


def read(bag):
    """The messages of a bag by topic, deserialised by the definitions in it."""
    from rosbags.highlevel import AnyReader

    topics = {}
    with AnyReader([bag]) as reader:
        for connection, _, data in reader.messages():
            topics.setdefault(connection.topic, []).append(reader.deserialize(data, connection.msgtype))
    return topics


def nanoseconds(stamp):
    return stamp.sec * 10**9 + stamp.nanosec


def test_chosen_topics_are_copied(model, world_bag, tmp_path):
    from rosbags.highlevel import AnyReader

    replay(world_bag, QUERY, model=model, out=tmp_path / "out", topics=["/ground_truth"], storage="sqlite3")
    with AnyReader([tmp_path / "out"]) as reader:
        topics = {connection.topic: connection.msgcount for connection in reader.connections}
    assert "/camera/image_raw/compressed" not in topics
    assert topics["/ground_truth"] > 0


def test_the_camera_can_play_a_bag(world_bag):
    from stride_ros.sources import open_source

    frames = list(open_source(str(world_bag), rate=1.0, seconds=5.0).frames())
    assert [round(frame.time, 3) for frame in frames] == [0.0, 1.0, 2.0, 3.0, 4.0]
    assert frames[0].image.shape == (64, 96, 3)


def truth(result):
    return {q.query: [(e.start, e.end, e.text) for e in q.expected] for q in result.run.queries}


def test_ground_truth_that_was_recorded_is_in_the_record_and_the_report(model, world_bag):
    from stride_ros.runs.report import report_html
    from stride_ros.world import World

    world = World(seed=0, seconds=40, size=(96, 64), fps=5)
    queries = [*world.queries[:2], "Tell me when a dog barks."]
    for clock in ("header", "log"):
        result = replay(world_bag, queries, model=model, clock=clock)
        assert truth(result) == {
            query: [
                (pytest.approx(e.start, abs=1e-6), pytest.approx(e.end, abs=1e-6), e.text)
                for e in world.events_for(query)
            ]
            for query in queries
        }
    assert result.verdict is None, "only --expect judges"
    assert result.run.source["ground truth"] == "/ground_truth"
    assert "As recorded on /ground_truth." in report_html(result.run)


def test_a_definition_in_a_recording_is_parsed_once(model, world_bag, monkeypatch, tmp_path):
    import rosbags.typesys

    parsed, parse = Counter(), rosbags.typesys.get_types_from_msg

    def counting(text, name):
        parsed[text, name] += 1
        return parse(text, name)

    monkeypatch.setattr(rosbags.typesys, "get_types_from_msg", counting)
    for number in range(2):
        replay(world_bag, QUERY, model=model, out=tmp_path / str(number), topics=["/ground_truth"])
    assert set(parsed.values()) <= {1}  # no time at all, where another test has read such a recording


def test_recorded_ground_truth_is_cut_where_the_part_is(model, world_bag):
    from stride_ros.world import World

    world = World(seed=0, seconds=40, size=(96, 64), fps=5)
    query = world.queries[0]
    event = world.events_for(query)[0]
    begin = np.ceil(event.start) + 1.0
    part = replay(world_bag, query, model=model, start=begin, duration=2.0)
    assert event.end > begin + 2.0
    assert truth(part) == {query: [(begin, pytest.approx(begin + 2.0), event.text)]}


def test_given_ground_truth_takes_the_place_of_the_recorded_one(model, world_bag):
    from stride_ros.world import World

    query = World(seed=0, seconds=40, size=(96, 64), fps=5).queries[0]
    given = Expectations([ExpectedSpan(query, 3.0, 4.0)])
    result = replay(world_bag, query, model=model, expect=given)
    assert truth(result) == {query: [(3.0, 4.0, "")]}
    assert "ground truth" not in result.run.source


def test_a_recording_without_ground_truth_has_none(model, write_images):
    result = replay(write_images(steady(20)), QUERY, model=model)
    assert truth(result) == {QUERY: []}
    assert "ground truth" not in result.run.source


def test_damaged_and_unfinished_ground_truth_is_read_as_far_as_it_goes(model, tmp_path):
    from stride_ros.bags import messages
    from stride_ros.bags.storage import Channel
    from stride_ros.bags.writer import START_STAMP, BagWriter

    def span(number, state, start, end, query=QUERY):
        begin, over = START_STAMP + round(start * 1e9), START_STAMP + round(end * 1e9)
        usual = {"frame_id": "camera", "confidence": 1.0, "onset": begin}
        return messages.span(number, state, query, start=begin, end=over, stamp=over, **usual)

    with BagWriter(tmp_path / "bag") as bag:
        for i in range(20):
            stamp = START_STAMP + i * 10**9
            bag.write("/cam", messages.image(np.full((48, 64, 3), 9 * i, np.uint8), stamp, "camera"), stamp)
        bag.write("/front/ground_truth", span(1, 2, 2.0, 5.0), START_STAMP + 5 * 10**9)
        channel = Channel(0, "/front/ground_truth", messages.SPAN, "cdr")
        bag.copy(channel, b"\0\1\0\0cut", START_STAMP + 6 * 10**9)
        bag.write("/front/ground_truth", span(2, 0, 15.5, 15.5), START_STAMP + 16 * 10**9)  # goes on
    result = replay(tmp_path / "bag", QUERY.removesuffix("."), model=model)
    assert truth(result) == {QUERY.removesuffix("."): [(2.0, 5.0, ""), (15.5, 20.0, "")]}
    assert result.run.source["ground truth"] == "/front/ground_truth"
