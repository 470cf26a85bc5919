"""A responder that starts late: each ONSET of before still gets its one final Commentary."""

from __future__ import annotations

ONSET, UPDATE, OFFSET, RETRACTED = range(4)
OK, ERROR, SKIPPED = range(3)
UPDATES = 12  # more than the publisher keeps: the ONSET is pushed out


def begin(stage, span_id, *, updates=UPDATES, query="the cup"):
    """Publish an ONSET at 2 s and its UPDATEs, one a second, to nobody."""
    stage.advertise()
    stage.span(span_id, ONSET, 1.0, 2.0, query=query, watch="cup")
    for i in range(updates):
        stage.span(span_id, UPDATE, 1.0, 3.0 + i, query=query, onset=2.0, watch="cup")


def settle(stage, span_id):
    """A span after all others, whose answer shows that they were seen."""
    stage.span(span_id, ONSET, 29.0, 30.0, query="the last one")
    return stage.finals(span_id)


def test_an_event_whose_onset_was_pushed_out_is_answered_while_it_goes_on(stage, stamp_of):
    begin(stage, 7)
    stage.start()
    stage.frames(30, 31)
    final = stage.finals(7)[7]
    assert (final.status, final.error) == (OK, "")
    assert final.header.stamp == stamp_of(2.0), "the ONSET's, which was never heard"
    assert final.watch == "cup"
    assert final.frame_stamps[0] == stamp_of(30.0)
    stage.span(7, UPDATE, 1.0, 31.0, onset=2.0)
    stage.span(7, OFFSET, 1.0, 31.0, onset=2.0)
    assert set(settle(stage, 8)) == {7, 8}, "no second final"


def test_without_frames_it_is_skipped_with_the_reason(stage):
    begin(stage, 7)
    stage.start()
    final = stage.finals(7)[7]
    assert final.status == SKIPPED
    assert "No frame" in final.error


def test_an_event_that_is_over_is_not_told_late(stage):
    begin(stage, 5)
    stage.span(5, OFFSET, 1.0, 15.0, onset=2.0)
    begin(stage, 6)
    stage.span(6, RETRACTED, 1.0, 15.0, onset=2.0)
    stage.start()
    stage.frames(30)
    finals = settle(stage, 8)
    assert finals[6].status == SKIPPED
    assert "over" in finals[6].error or "retracted" in finals[6].error
    assert not stage.partials(6)
    assert 5 not in finals, "nothing is kept of it, so nobody can know that it was"


def test_an_end_without_its_onset_is_answered_where_ends_are(stage):
    begin(stage, 7, updates=0)
    for i in range(10):
        stage.span(6, UPDATE, 1.0, 3.0 + i, onset=2.0, respond=False)
    stage.start(respond_on="offset")
    stage.frames(29, 30)
    stage.span(7, OFFSET, 1.0, 30.0, onset=2.0)
    assert stage.finals(7)[7].status == OK
    assert set(settle_offset(stage)) >= {6, 7, 8}


def settle_offset(stage):
    stage.span(8, ONSET, 29.0, 30.0, query="the last one")
    stage.span(8, OFFSET, 29.0, 30.0, query="the last one")
    return stage.finals(6, 7, 8)


def test_a_restarted_node_joins_no_event_that_was_answered(stage):
    node = stage.start()
    stage.frames(0, 1, 2)
    stage.span(7, ONSET, 1.0, 2.0)
    assert stage.finals(7)[7].status == OK
    for i in range(UPDATES):
        stage.span(7, UPDATE, 1.0, 3.0 + i, onset=2.0)
    stage.graph.remove(node)
    stage.start()
    stage.frames(30)
    assert set(settle(stage, 8)) == {7, 8}


def test_nobody_speaks_for_a_watch_that_wants_no_commentary(stage):
    stage.advertise()
    stage.span(7, ONSET, 1.0, 2.0, respond=False)
    for i in range(UPDATES):
        stage.span(7, UPDATE, 1.0, 3.0 + i, onset=2.0, respond=False)
    stage.start()
    final = stage.finals(7)[7]
    assert final.status == SKIPPED
    assert "no commentary" in final.error
