"""The event log keeps what is published, with words and pictures, and finds it again."""

from __future__ import annotations

import sys
import types

import pytest

from stride_ros.events.search import EventReader, Search

from .conftest import LIFE, OFFSET, ONSET, RETRACTED, START, UPDATE


def ids(answer):
    return [record.span.span_id - LIFE for record in answer.events]


def test_an_event_is_kept_with_its_sentence_and_its_picture(log):
    log.start()
    log.frame(1, 80)
    log.span(1, ONSET)
    log.say(1, "A person opens the door.", frame_stamps=[])
    log.span(1, UPDATE, 1.0, confidence=0.5)
    log.span(1, OFFSET, 2.0, confidence=0.625)
    answer = log.until(
        lambda a: a.total and a.events[0].span.state == OFFSET and a.events[0].commentary.final,
        "the event",
        '"opens the door" person',
        pictures=True,
    )
    (record,) = answer.events
    assert (answer.success, answer.error_code, answer.error_msg) == (True, 0, "")
    span, said = record.span, record.commentary
    assert (span.span_id, span.watch, span.confidence) == (LIFE + 1, "door", 0.625)
    assert (span.start.sec, span.end.sec, span.onset.sec) == (START + 1, START + 3, START + 1)
    assert (span.header.stamp.sec, span.header.frame_id) == (START + 3, "camera")
    assert (said.text, said.final, said.model, said.status) == ("A person opens the door.", True, "tiny", 0)
    assert log.grey(log.until(lambda a: len(a.events[0].picture.data), "it", pictures=True).events[0]) == 80
    assert record.pose.header.frame_id == ""
    assert not log.find().events[0].picture.data


def test_an_event_that_goes_on_is_an_update(log):
    log.start()
    log.span(1, ONSET)
    log.span(1, UPDATE, 1.5)
    answer = log.until(lambda a: a.total and a.events[0].span.end.sec == START + 2, "the update")
    assert answer.events[0].span.state == UPDATE
    assert not answer.events[0].commentary.final


def test_a_false_alarm_is_not_found(log):
    log.start()
    log.span(1, ONSET)
    log.span(2, ONSET)
    log.until(lambda a: a.total == 2, "both")
    log.span(1, RETRACTED, 1.0)
    assert ids(log.until(lambda a: a.total == 1, "the other")) == [2]
    with EventReader(log.path) as reader:
        assert reader.find(Search(retracted=True)).total == 2


def test_words_and_frames_may_come_before_and_after_the_span(log):
    log.start()
    log.say(1, "early")
    log.span(1, ONSET)
    log.frame(1, 40)  # after the onset
    log.frame(2, 60)
    log.span(2, ONSET)
    log.span(3, ONSET)  # its own frame is lost: the nearest within 2 s stands in
    log.frame(4, 100)
    log.frame(9, 200)
    log.span(20, ONSET)  # no frame is near
    log.frame(30, 250)
    log.say(2, "late")
    answer = log.until(
        lambda a: a.total == 4 and sum(bool(record.picture.data) for record in a.events) == 3,
        "three pictures",
        pictures=True,
    )
    assert ids(answer) == [20, 3, 2, 1]
    greys = {record.span.span_id - LIFE: log.grey(record) for record in answer.events}
    assert {number: greys[number] for number in (1, 2, 20)} == {1: 40, 2: 60, 20: None}
    assert greys[3] in (60, 100)
    assert ids(log.until(lambda a: a.total, "what was said early", "early")) == [1]
    assert ids(log.until(lambda a: a.total, "what was said late", "late")) == [2]


def test_each_camera_has_its_own_pictures(log):
    log.start("front", "left")
    for number, camera, value in ((1, "front", 50), (2, "left", 150)):
        log.frame(number, value, camera)
        log.frame(number, 250, "left" if camera == "front" else "front")
        log.span(number, ONSET, camera=camera)
    both = log.until(lambda a: all(r.picture.data for r in a.events) and a.total == 2, "both", pictures=True)
    assert [log.grey(record) for record in both.events] == [150, 50]
    assert ids(log.find(cameras=["left"])) == [2]
    assert ids(log.find(cameras=["rear"])) == []


@pytest.mark.parametrize(("own", "camera"), [((), "front"), (("front",), ""), (("front", "left"), "rear")])
def test_a_camera_that_the_node_does_not_know_is_named(log, own, camera):
    from rcl_interfaces.msg import Log as Line
    from rclpy.qos import QoSDurabilityPolicy, QoSProfile

    latched = QoSProfile(depth=1000, durability=QoSDurabilityPolicy.TRANSIENT_LOCAL)
    lines = log.graph.collect(Line, "/rosout", latched)
    log.start(*own)
    for number in (1, 2):
        log.span(number, ONSET, camera=camera)
    log.until(lambda a: a.total == 2, "the events")

    def said():
        return [line.msg for line in lines if "have no pictures" in line.msg]

    log.graph.wait(said, "the warning")
    assert said() == [
        f"Events of the camera {camera or 'without a name'} have no pictures, since the parameter cameras "
        "does not name it; set it as in the activation node."
    ]


def test_an_event_that_is_over_is_not_open_again_when_it_is_received_again():
    from stride_ros.msg import ActivationSpan

    from stride_ros.nodes.event_records import to_event
    from stride_ros.nodes.open_events import OpenEvents

    def event(number, state):
        return to_event("robot", ActivationSpan(span_id=LIFE + number, state=state))

    events = OpenEvents([event(9, ONSET)])
    for number, state in ((1, OFFSET), (1, ONSET), (1, UPDATE), (2, ONSET), (2, RETRACTED), (2, UPDATE)):
        events.heard(event(number, state))
    assert len(events) == 1
    events.heard(event(3, ONSET))
    assert len(events) == 2


def test_a_search_is_narrowed_and_bounded(log):
    from stride_ros.nodes.messages import to_time

    log.start()
    for number in range(30):
        log.span(number, ONSET, watch=("door", "cat")[number % 2], confidence=number / 32)
    log.until(lambda a: a.total == 30, "all")
    assert ids(log.find()) == list(range(29, 9, -1))  # 20 unless asked otherwise
    assert ids(log.find(limit=2)) == [29, 28]
    assert len(log.find(limit=2**32 - 1).events) == 30
    assert ids(log.find(watches=["cat"], limit=2)) == [29, 27]
    assert ids(log.find(min_confidence=0.875)) == [29, 28]
    seconds = [to_time((START + second) * 10**9) for second in (3, 5)]
    assert ids(log.find(since=seconds[0], until=seconds[1])) == [5, 4, 3]
    assert log.find("nothing").success


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [({"text": "***"}, "There are no words in"), ({"min_confidence": 2.0}, "The confidence cannot be 2.0")],
)
def test_a_search_that_makes_no_sense_is_refused_with_the_reason(log, fields, sentence):
    from stride_ros.srv import FindEvents

    log.start()
    answer = log.find(**fields)
    assert (answer.success, answer.error_code) == (False, FindEvents.Response.INVALID)
    assert sentence in answer.error_msg


def test_the_service_answers_in_every_state(log):
    from stride_ros.srv import FindEvents

    node = log.start()
    log.span(1, ONSET)
    log.until(lambda a: a.total == 1, "the event")
    assert log.graph.transition("event_log", "deactivate")
    assert log.find().total == 1
    assert log.graph.transition("event_log", "cleanup")
    answer = log.find()
    assert (answer.success, answer.error_code) == (False, FindEvents.Response.UNAVAILABLE)
    assert answer.error_msg == "The node is not configured; configure it first."
    for transition in ("configure", "activate"):
        assert log.graph.transition("event_log", transition), node.last_error
    assert log.find().total == 1


def test_a_node_that_is_started_again_goes_on_and_writes_nothing_twice(log):
    node = log.start()
    log.span(1, ONSET)
    log.say(1, "words")
    log.span(2, ONSET)
    log.until(lambda a: a.total == 2, "both")
    log.graph.remove(node)
    log.span(2, OFFSET, 2.0)  # while it is down
    log.span(3, ONSET)
    log.start()  # the publisher keeps the last ones for it
    answer = log.until(lambda a: a.total == 3 and a.events[1].span.state == OFFSET, "three events")
    assert ids(answer) == [3, 2, 1]
    assert answer.events[2].commentary.text == "words"


def test_an_event_whose_end_was_not_heard_is_over_when_the_node_no_longer_lists_it(log):
    log.start()
    log.span(1, ONSET)
    log.span(1, UPDATE, 1.0)
    log.span(2, ONSET)
    log.until(lambda a: a.total == 2, "both")

    def over():
        log.list_open(2)
        with EventReader(log.path) as reader:
            return [
                event.span_id - LIFE for event in reader.find(Search()).events if event.end_ns is not None
            ]

    log.until(lambda a: over() == [1], "the end of the first")
    log.span(1, OFFSET, 5.0)  # which comes after all
    answer = log.until(lambda a: a.events[1].span.state == OFFSET, "the real end")
    assert answer.events[1].span.end.sec == START + 6


def test_results_of_recordings_with_the_same_ids_are_different_events(log):
    from stride_ros.nodes.messages import to_time

    log.start()
    for onset in (10, 20):
        fields = {"span_id": 1, "start": to_time(onset * 10**9), "onset": to_time((1000 + onset) * 10**9)}
        log.span(1000 + onset - START, ONSET, **fields)
        log.span(1001 + onset - START, OFFSET, **fields)
    answer = log.until(lambda a: a.total == 2, "both")
    assert {record.span.state for record in answer.events} <= {UPDATE, OFFSET}
    log.until(lambda a: [r.span.state for r in a.events] == [OFFSET, OFFSET], "the ends")


def test_a_log_that_is_deleted_is_begun_again(log):
    node = log.start()
    log.span(1, ONSET)
    log.until(lambda a: a.total == 1, "the first")
    for file in log.path.parent.glob("events.db*"):
        file.unlink()
    log.until(lambda a: a.success and a.total == 0, "a new log")
    log.span(2, ONSET)
    log.span(1, OFFSET, 1.0)  # was open
    assert ids(log.until(lambda a: a.total == 2, "both")) == [2, 1]
    assert {event.span_id - LIFE for event in log.kept()} == {1, 2}
    assert "was deleted, moved or replaced while it was being written" in node.last_error


def test_odd_spans_do_no_harm(log):
    log.start()
    log.span(1, 7)
    log.span(2, ONSET, confidence=float("nan"))
    log.span(3, ONSET, confidence=7.0, span_id=2**64 - 1, query="x\U0001f600")
    log.span(4, OFFSET, -5.0)
    answer = log.until(lambda a: a.total == 3, "the others")
    assert [record.span.confidence for record in answer.events] == [0.75, 1.0, 0.0]
    assert answer.events[1].span.span_id == 2**64 - 1


def test_a_file_that_is_no_log_keeps_the_node_from_being_configured(log):
    from stride_ros.nodes.event_log_node import EventLogNode

    log.path.write_text("precious " * 100)
    node = log.graph.host(EventLogNode, {"file": str(log.path)})
    assert not log.graph.transition("event_log", "configure")
    assert "is a file of another program, not an event log; choose another name." in node.last_error
    assert log.path.read_text() == "precious " * 100
    assert not log.find().success


def test_the_log_is_for_its_user_alone_and_stands_in_roses_home(graph, tmp_path, monkeypatch):
    from stride_ros.nodes.event_log_node import EventLogNode

    monkeypatch.setenv("ROS_HOME", str(tmp_path / "home"))
    node = graph.host(EventLogNode)
    assert graph.transition("event_log", "configure"), node.last_error
    assert node.path == tmp_path / "home" / "stride_ros" / "events.db"
    assert {path.stat().st_mode & 0o077 for path in node.path.parent.glob("events.db*")} == {0}
    assert graph.transition("event_log", "cleanup")
    path = tmp_path / "home" / "stride_ros" / "events.db"
    path.rename(tmp_path / "other.db")
    path.symlink_to(tmp_path / "other.db")
    assert not graph.transition("event_log", "configure")
    assert "is a symbolic link, which is not followed" in node.last_error


def test_a_relative_file_is_named_with_its_folder(graph, tmp_path, monkeypatch):
    from stride_ros.nodes.event_log_node import EventLogNode

    monkeypatch.chdir(tmp_path)
    node = graph.host(EventLogNode, {"file": "kept/events.db"})
    assert graph.transition("event_log", "configure"), node.last_error
    assert node.path == tmp_path / "kept" / "events.db"


def test_a_pose_comes_from_tf_also_when_that_is_late(log, monkeypatch):
    """tf2_ros is not among the wheels: a stand-in with its names plays it."""
    transforms = {}

    class TransformException(Exception):
        pass

    class Buffer:
        def lookup_transform(self, target, source, time):
            from geometry_msgs.msg import TransformStamped

            from stride_ros.nodes.messages import to_time

            stamp = time.nanoseconds or max(transforms, default=0)
            if (target, source) != ("map", "base_link") or stamp not in transforms:
                raise TransformException
            found = TransformStamped()
            found.header.frame_id, found.header.stamp = target, to_time(stamp)
            found.transform.translation.x = transforms[stamp]
            return found

    class TransformListener:
        def __init__(self, buffer, node, *, spin_thread):
            assert not spin_thread

        def unregister(self):
            transforms.clear()

    stand_in = types.SimpleNamespace(
        TransformException=TransformException, Buffer=Buffer, TransformListener=TransformListener
    )
    monkeypatch.setitem(sys.modules, "tf2_ros", stand_in)
    log.start(map_frame="map")
    transforms[(START + 1) * 10**9] = 1.5
    for number in (1, 2, 3, 9):
        log.span(number, ONSET)
    log.until(lambda a: a.total == 4, "the events")
    transforms[(START + 2) * 10**9] = 2.5
    transforms[(START + 4) * 10**9] = 4.5  # near the third, whose own never comes; far from the last

    def poses(answer):
        return {
            record.span.span_id - LIFE: record.pose.pose.position.x
            for record in answer.events
            if record.pose.header.frame_id == "map"
        }

    answer = log.until(lambda a: len(poses(a)) == 3, "three poses")
    assert poses(answer) == {1: 1.5, 2: 2.5, 3: 4.5}
    assert answer.events[1].pose.header.stamp.sec == START + 4


def test_diagnostics_say_what_is_documented(log, documented_values):
    from diagnostic_msgs.msg import DiagnosticArray

    statuses = log.graph.collect(DiagnosticArray, "/diagnostics")
    log.start()
    log.span(1, ONSET)

    def newest():
        for message in reversed(statuses):
            values = {item.key: item.value for item in message.status[0].values}
            if values.get("written") == "1":
                return message.status[0], values
        return None

    status, values = log.graph.wait(newest, "a status")
    assert (status.name, status.message) == ("event_log: status", "OK")
    assert (values["state"], values["open"], values["file"]) == ("active", "1", str(log.path))
    assert set(values) == documented_values("event_log")
