"""What a thing is: when it begins and ends, by a slow and obvious model and in cases."""

from __future__ import annotations

import math
from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vision_event_block.tracking.sighting import CLEAR_LEAD, Sighting, picture_score
from vision_event_block.tracking.summary import MAX_PATH_POINTS, Path, State
from vision_event_block.tracking.tracks import (
    MAX_CLASSES,
    MAX_REMEMBERED,
    MAX_SIGHTINGS,
    Kind,
    OpenTracks,
    TrackRules,
)

SECOND = 1_000_000
FRAME = SECOND // 10
SIZE = (1000, 800)


def sighting(track_id, *, name="car", confidence=0.5, left=100.0, size=100.0, row=0):
    box = (left, 100.0, left + size, 100.0 + size)
    return Sighting(track_id, name, confidence, box, picture_score(confidence, box, SIZE), row)


def watch(frames, rules=None, *, ends=True):
    """The changes after frames of (time, sightings), and all that is left at the end."""
    tracks, changes = OpenTracks(), []
    for time_us, seen in frames:
        changes += tracks.see(time_us, seen, rules or TrackRules()).changes
    return changes + (tracks.cut_off().changes if ends else [])


def told(changes):
    return [(each.kind, each.summary.track_id, each.summary.state) for each in changes]


def steady(*ids, frames=20, start=0):
    return [(start + FRAME * n, [sighting(each) for each in ids]) for n in range(frames)]


def test_a_thing_begins_once_it_was_seen_for_the_minimum_and_ends_once_it_was_lost_for_long():
    frames = [*steady(1, frames=10), *[(FRAME * n, []) for n in range(10, 60)]]
    tracks = OpenTracks()

    when = [
        (time_us, change)
        for time_us, seen in frames
        for change in tracks.see(time_us, seen, TrackRules()).changes
    ]

    assert [time_us for time_us, _ in when] == [5 * FRAME, 29 * FRAME]
    (_, began), (_, ended) = when
    assert (began.kind, began.summary.state) == (Kind.BEGAN, State.STILL_THERE)
    assert (ended.kind, ended.summary.state) == (Kind.ENDED, State.LEFT)
    assert began.number == ended.number
    assert ended.summary.duration_s == 0.9
    assert ended.summary.frames == 10


def test_a_thing_that_is_gone_for_less_is_the_same_thing_and_for_as_long_another_one():
    gone = 2 * SECOND
    first = steady(1, frames=10)
    last_us = first[-1][0]

    same = watch([*first, *steady(1, frames=10, start=last_us + gone - 1)])
    other = watch([*first, *steady(1, frames=10, start=last_us + gone)])

    assert told(same) == [
        (Kind.BEGAN, 1, State.STILL_THERE),
        (Kind.ENDED, 1, State.CUT_OFF),
    ]
    assert told(other) == [
        (Kind.BEGAN, 1, State.STILL_THERE),
        (Kind.ENDED, 1, State.LEFT),
        (Kind.BEGAN, 1, State.STILL_THERE),
        (Kind.ENDED, 1, State.CUT_OFF),
    ]


def test_what_is_seen_for_less_than_the_minimum_is_noise():
    tracks = OpenTracks()
    for time_us, seen in steady(1, frames=5):
        assert not tracks.see(time_us, seen, TrackRules()).changes

    found = tracks.see(10 * SECOND, [], TrackRules())

    assert (found.changes, len(found.noise), len(tracks)) == ([], 1, 0)


def test_a_thing_that_stays_is_told_again_every_so_often():
    changes = watch(steady(1, frames=31), replace(TrackRules(), update_us=SECOND), ends=False)

    assert [each.kind for each in changes] == [Kind.BEGAN, Kind.UPDATED, Kind.UPDATED]
    assert [each.summary.duration_s for each in changes] == [0.5, 1.5, 2.5]


def test_beyond_the_limit_the_oldest_is_pushed_out_and_does_not_come_back_while_it_is_there():
    rules = TrackRules(minimum_us=0, max_open=2)
    everyone = [sighting(each) for each in (1, 2, 3)]
    tracks = OpenTracks()
    tracks.see(0, everyone[:2], rules)

    found = tracks.see(FRAME, everyone, rules)
    later = [tracks.see(FRAME * n, everyone, rules) for n in range(2, 100)]

    assert told(found.changes) == [
        (Kind.ENDED, 1, State.PUSHED_OUT),
        (Kind.BEGAN, 3, State.STILL_THERE),
    ]
    assert "objects pushed out: 1" in str(found.remarks)
    assert "max_open" in str(found.remarks)
    assert not any(each.changes or each.remarks for each in later)
    tracks.see(FRAME * 100 + 2 * SECOND, [], rules)
    assert told(tracks.see(FRAME * 200, everyone[:1], rules).changes) == [
        (Kind.BEGAN, 1, State.STILL_THERE)
    ]


def test_only_the_classes_that_are_wanted_are_recorded_and_the_majority_counts():
    rules = TrackRules(classes=frozenset({"car"}))
    names = {1: ["car"] * 20, 2: ["bike"] * 20, 3: ["car", *["truck"] * 19]}
    frames = [
        (FRAME * n, [sighting(each, name=names[each][n]) for each in names]) for n in range(20)
    ]

    assert told(watch(frames, rules, ends=False)) == [(Kind.BEGAN, 1, State.STILL_THERE)]


def test_a_class_that_changes_is_decided_by_the_majority_and_the_votes_are_told():
    names = ["car", "truck", "truck", "car", "truck"] * 4
    frames = [(FRAME * n, [sighting(1, name=name)]) for n, name in enumerate(names)]

    summary = watch(frames)[-1].summary

    assert summary.class_name == "truck"
    assert summary.metadata()["class_votes"] == "truck: 12, car: 8"
    assert "class_votes" not in watch(steady(1))[-1].summary.metadata()


def test_the_classes_of_a_thing_are_bounded():
    frames = [(FRAME * n, [sighting(1, name=f"text {n}")]) for n in range(200)]

    assert len(watch(frames)[-1].summary.votes) == MAX_CLASSES


def test_a_repeated_id_is_taken_once_and_named():
    found = OpenTracks().see(
        0, [sighting(7, confidence=0.3), sighting(7, confidence=0.9, row=1)], TrackRules()
    )

    assert [each.row for each in found.sights] == [1]
    assert "detections left out: 1" in str(found.remarks)


def test_thousands_of_things_on_one_frame_are_bounded_and_named():
    crowd = [sighting(each, confidence=each / 5000, row=each) for each in range(5000)]
    tracks = OpenTracks()
    for n in range(300):
        found = tracks.see(FRAME * n, crowd, TrackRules())

        assert len(found.sights) <= MAX_SIGHTINGS
        assert str(MAX_SIGHTINGS) in str(found.remarks)
        assert len(tracks) <= TrackRules().max_open
    assert len(tracks._pushed_out_us) <= MAX_REMEMBERED


def test_what_is_out_of_sight_is_pushed_out_before_what_is_older_and_in_sight():
    rules = TrackRules(minimum_us=0, max_open=3)
    tracks = OpenTracks()
    tracks.see(0, [sighting(each) for each in (1, 2, 3)], rules)
    tracks.see(FRAME, [sighting(1), sighting(3)], rules)

    found = tracks.see(2 * FRAME, [sighting(each) for each in (1, 4, 5)], rules)

    assert [each[1:] for each in told(found.changes) if each[0] is Kind.ENDED] == [
        (2, State.PUSHED_OUT),
        (3, State.PUSHED_OUT),
    ]


def test_new_things_all_the_time_leave_nothing_behind():
    tracks, rules = OpenTracks(), TrackRules(minimum_us=0, max_open=5)
    for n in range(2_000):
        tracks.see(n * 1000, [sighting(10 * n + each) for each in range(10)], rules)
        assert len(tracks._pushed_out_us) <= MAX_REMEMBERED
        assert len(tracks) <= 5
    tracks.see(60 * SECOND, [], rules)
    assert (len(tracks), len(tracks._pushed_out_us)) == (0, 0)


def test_a_frame_that_comes_late_is_left_out():
    tracks = OpenTracks()
    for time_us, seen in steady(1, frames=10):
        tracks.see(time_us, seen, TrackRules())

    late = tracks.see(5 * FRAME, [sighting(1), sighting(2)], TrackRules())

    assert (late.sights, late.changes) == ([], [])
    assert "late" in str(late.remarks)
    assert tracks.cut_off().changes[0].summary.frames == 10


def test_a_camera_whose_time_begins_again_begins_again():
    changes = watch([*steady(1, start=100 * SECOND), *steady(1, start=0)])

    assert told(changes) == [
        (Kind.BEGAN, 1, State.STILL_THERE),
        (Kind.ENDED, 1, State.CUT_OFF),
        (Kind.BEGAN, 1, State.STILL_THERE),
        (Kind.ENDED, 1, State.CUT_OFF),
    ]


def test_a_camera_that_was_away_is_named_and_what_was_there_has_left():
    tracks = OpenTracks()
    for time_us, seen in steady(1):
        tracks.see(time_us, seen, TrackRules())

    found = tracks.see(3600 * SECOND, [sighting(1)], TrackRules())

    assert told(found.changes) == [(Kind.ENDED, 1, State.LEFT)]
    assert "no frame for" in str(found.remarks)
    assert len(tracks) == 1


def test_confidence_and_boxes_that_are_no_numbers_are_the_worst_picture():
    for box in ((math.nan,) * 4, (5.0, 5.0, 1.0, 1.0), (2000.0, 0.0, 3000.0, 10.0)):
        assert picture_score(0.9, box, SIZE) == 0.0
    assert picture_score(math.nan, (10.0, 10.0, 20.0, 20.0), SIZE) == 0.0


@pytest.mark.parametrize("count", [1, 2, 19, 20, 21, 22, 39, 40, 41, 1000])
def test_a_path_keeps_its_ends_and_no_more_than_its_points(count):
    path = Path()
    places = [(n, -n) for n in range(count)]
    for place in places:
        path.add(place)

    assert len(path.points()) <= MAX_PATH_POINTS
    assert (path.points()[0], path.points()[-1]) == (places[0], places[-1])
    assert path.points() == tuple(thinned(places))


def test_a_path_names_a_place_once_for_as_long_as_the_thing_stands_there():
    path = Path()
    for place in [(1, 1)] * 300 + [(9, 9)] * 300 + [(1, 1)]:
        path.add(place)

    assert path.points() == ((1, 1), (9, 9), (1, 1))


def thinned(places):
    """Every first, second, fourth... place, so that with the last they are few enough.

    Of equal ones that follow each other there is one.
    """
    stride = 1
    while len(places[::stride]) > MAX_PATH_POINTS - 1:
        stride *= 2
    kept = [*places[::stride], places[-1]]
    return [place for n, place in enumerate(kept) if not n or place != kept[n - 1]]


# --- A slow, obvious model -------------------------------------------------------------------


def model(frames, rules):  # noqa: C901, PLR0912, PLR0915 - one thing after the other, as one thinks
    """The changes as (kind, track id, state, first, last, frames, best, class, path), in order.

    It has the whole past at hand: of every thing the list of all that was seen of it.
    """
    lives, changes, banned, last_time = [], [], {}, None

    def summary(kind, life, state):
        sights = life["sights"]
        best = sights[0]
        for each in sights:
            if each[1].score > best[1].score * CLEAR_LEAD:
                best = each
        votes = Counter(each.class_name for _, each in sights)
        changes.append((
            kind, life["id"], state, sights[0][0], sights[-1][0], len(sights), best[0],
            votes.most_common(1)[0][0], tuple(thinned([each.middle for _, each in sights])),
        ))  # fmt: skip

    def end(life, state):
        lives.remove(life)
        if life["told"] is not None:
            summary(Kind.ENDED, life, state)

    for time_us, sightings in frames:
        if last_time is not None and time_us < last_time:
            if last_time - time_us < rules.lost_after_us:
                continue
            for life in lives.copy():
                end(life, State.CUT_OFF)
            banned = {}
        last_time = time_us
        for life in lives.copy():
            if time_us - life["sights"][-1][0] >= rules.lost_after_us:
                end(life, State.LEFT)
        banned = {k: v for k, v in banned.items() if time_us - v < rules.lost_after_us}
        best_of_id = {}
        for each in sightings:
            known = best_of_id.get(each.track_id)
            if known is None or each.confidence > known.confidence:
                best_of_id[each.track_id] = each
        new = []
        for each in best_of_id.values():
            life = next((life for life in lives if life["id"] == each.track_id), None)
            if life is not None:
                life["sights"].append((time_us, each))
            elif each.track_id in banned:
                banned[each.track_id] = time_us
            elif rules.classes is None or each.class_name in rules.classes:
                new.append(each)
        ranked = sorted(new, key=lambda each: -each.confidence)[: rules.max_open]
        for each in (each for each in new if each in ranked):
            if len(lives) == rules.max_open:
                first = min(lives, key=lambda life: life["sights"][-1][0])
                banned[first["id"]] = first["sights"][-1][0]
                end(first, State.PUSHED_OUT)
            lives.append({"id": each.track_id, "sights": [(time_us, each)], "told": None})
        for life in lives:
            (first, _), (last, _) = life["sights"][0], life["sights"][-1]
            if last != time_us:
                continue
            if life["told"] is None:
                votes = Counter(each.class_name for _, each in life["sights"])
                wanted = rules.classes is None or votes.most_common(1)[0][0] in rules.classes
                if last - first >= rules.minimum_us and wanted:
                    life["told"] = time_us
                    summary(Kind.BEGAN, life, State.STILL_THERE)
            elif rules.update_us and time_us - life["told"] >= rules.update_us:
                life["told"] = time_us
                summary(Kind.UPDATED, life, State.STILL_THERE)
    for life in lives.copy():
        end(life, State.CUT_OFF)
    return changes


@st.composite
def scenes(draw):
    """Frames at random times, some of them out of order, with things that come and go."""
    steps = st.sampled_from([0, FRAME, FRAME, FRAME, 3 * FRAME, SECOND, 5 * SECOND, -FRAME, -SECOND,
                             -9 * SECOND])  # fmt: skip
    seen = st.builds(
        sighting,
        st.integers(0, 5),
        name=st.sampled_from(["car", "truck"]),
        confidence=st.integers(0, 100).map(lambda percent: percent / 100),
        left=st.floats(-50, 1000),
        size=st.floats(1, 300),
    )
    time_us, frames = 100 * SECOND, []
    for step, sightings in draw(
        st.lists(st.tuples(steps, st.lists(seen, max_size=5)), max_size=40)
    ):
        time_us += step
        frames.append((time_us, [replace(each, row=row) for row, each in enumerate(sightings)]))
    rules = draw(
        st.builds(
            TrackRules,
            minimum_us=st.sampled_from([0, 2 * FRAME, SECOND]),
            lost_after_us=st.sampled_from([FRAME, 3 * FRAME, 2 * SECOND]),
            update_us=st.sampled_from([0, SECOND]),
            max_open=st.sampled_from([1, 3, 200]),
            classes=st.sampled_from([None, frozenset({"car"})]),
        )
    )
    return frames, rules


@settings(max_examples=200, deadline=None)
@given(scenes())
def test_any_scene_gives_the_changes_of_the_obvious_model(scene):
    frames, rules = scene

    found = [
        (
            each.kind, each.summary.track_id, each.summary.state, each.summary.first_seen_us,
            each.summary.last_seen_us, each.summary.frames, each.summary.best_seen_us,
            each.summary.class_name, each.summary.path,
        )
        for each in watch(frames, rules)
    ]  # fmt: skip

    assert found == model(frames, rules)
