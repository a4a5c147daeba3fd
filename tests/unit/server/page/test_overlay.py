"""What is drawn over a picture, and where."""

from __future__ import annotations

import math

import pytest

from vision_event_block.server.page.labels import HEIGHT_EM
from vision_event_block.server.page.overlay import TILE, VIEW, overlay
from vision_event_block.server.page.palette import HUES, SLOTS, slot_of, slots_of

SIZE = (640, 480)


def box(name="cap", x=100.0, y=80.0, width=40.0, height=20.0, confidence=0.9, **more):
    return {
        "class": name, "x": x, "y": y, "width": width, "height": height,
        "confidence": confidence, **more,
    }  # fmt: skip


def drawn(image, size=SIZE, frame=VIEW):
    return overlay(image, size, slots={}, frame=frame)


def test_an_image_without_annotations_draws_nothing():
    empty = drawn({})

    assert (empty.width, empty.height) == SIZE
    assert empty.shapes == empty.tags == ()
    assert empty.classes == {}


def test_a_box_is_placed_by_its_centre_in_the_pixels_of_the_picture():
    (shape,) = drawn({"objectDetections": [box()]}).shapes

    assert shape.box == (80.0, 70.0, 40.0, 20.0)
    assert shape.title == "cap 90%"


def test_an_outline_keeps_its_points_where_there_are_few_and_its_form_where_there_are_many():
    ring = [
        [round(300 + 99 * math.cos(a / 50), 3), round(200 + 99 * math.sin(a / 50), 3)]
        for a in range(314)
    ]
    image = {"instanceSegmentations": [box(points=ring)]}

    exact = drawn(image).shapes[0].outline.split()
    coarse = drawn(image, frame=TILE).shapes[0].outline.split()

    assert len(exact) == len(ring)
    assert exact[0] == "399,200"
    assert len(coarse) <= TILE.max_points
    assert set(coarse) <= set(exact)


def test_a_person_has_bones_and_anything_else_has_only_its_points():
    points = [{"id": number, "x": number, "y": 2 * number} for number in (5, 7, 9)]

    person = drawn({"keypoints": [box("person", keypoints=points)]}).shapes[0]
    gripper = drawn({"keypoints": [box("gripper", keypoints=points)]}).shapes[0]

    assert person.bones == ((5.0, 10.0, 7.0, 14.0), (7.0, 14.0, 9.0, 18.0))
    assert gripper.bones == ()
    assert len(gripper.joints) == 3


def test_an_occluded_key_point_is_told_apart():
    points = [{"id": 0, "x": 1, "y": 2, "occluded": True}, {"id": 1, "x": 3, "y": 4}]

    (shape,) = drawn({"keypoints": [box(keypoints=points)]}).shapes

    assert [joint[2] for joint in shape.joints] == [True, False]


def test_classifications_stand_below_each_other_surest_first():
    entries = [{"class": "dry", "confidence": 0.2}, {"class": "wet", "confidence": 0.8}]

    tags = drawn({"classifications": entries}).tags

    assert [tag.label.text for tag in tags] == ["wet 80%", "dry 20%"]
    assert tags[0].label.y < tags[1].label.y


@pytest.mark.parametrize(
    "entry",
    [
        {},
        {"class": "cap"},
        box(x="12"),
        box(x=None),
        box(width=-1),
        box(x=True),
        box(x=math.nan),
        box(x=math.inf),
        box(x=10**400),
        "no object",
        None,
    ],
    ids=lambda entry: str(entry)[:40],
)
def test_what_cannot_be_drawn_is_left_out(entry):
    assert drawn({"objectDetections": [entry, box("good")]}).classes.keys() == {"good"}


@pytest.mark.parametrize("entries", [None, 3, {"a": 1}, "text", []])
def test_a_list_that_is_none_draws_nothing(entries):
    assert drawn({"objectDetections": entries}).shapes == ()


def test_a_tile_draws_the_surest_and_says_how_many_it_left_out():
    boxes = [box(f"c{number}", confidence=number / 1000) for number in range(100)]

    tile = drawn({"objectDetections": boxes}, frame=TILE)

    assert len(tile.shapes) == TILE.max_shapes
    assert tile.left_out == 100 - TILE.max_shapes
    assert min(shape.confidence for shape in tile.shapes) == 0.04


def test_large_shapes_lie_below_small_ones():
    boxes = [box("small", width=4, height=4), box("large", width=400, height=400)]

    assert [shape.class_name for shape in drawn({"objectDetections": boxes}).shapes] == [
        "large",
        "small",
    ]


def test_a_tile_names_each_class_once():
    boxes = [box(x=60 * number) for number in range(1, 9)]

    labels = [shape.label for shape in drawn({"objectDetections": boxes}, frame=TILE).shapes]

    assert sum(label is not None for label in labels) == 1


@pytest.mark.parametrize(
    ("x", "y"),
    [(20, 10), (620, 10), (20, 470), (620, 470), (-50, -50), (700, 500)],
    ids=["upper left", "upper right", "lower left", "lower right", "out", "out below"],
)
def test_a_label_stays_on_the_picture_wherever_its_box_is(x, y):
    seen = drawn({"objectDetections": [box("a rather long name", x=x, y=y)]})

    label = seen.shapes[0].label
    top = label.y if label.is_below else label.y - HEIGHT_EM * seen.font_size
    assert label.x >= 0
    assert label.x + label.width_em * seen.font_size <= SIZE[0] + 0.1
    if y < SIZE[1]:
        assert -0.1 <= top <= SIZE[1] - HEIGHT_EM * seen.font_size


def test_labels_of_boxes_with_one_corner_do_not_hide_each_other():
    boxes = [box("person", 100, 200, 80, 200), box("hard-hat", 80, 110, 30, 20)]

    seen = drawn({"objectDetections": boxes})

    height = HEIGHT_EM * seen.font_size
    tops = [
        shape.label.y if shape.label.is_below else shape.label.y - height for shape in seen.shapes
    ]
    assert abs(tops[0] - tops[1]) >= height


def test_text_has_the_same_size_on_the_screen_whatever_the_picture_measures():
    small = drawn({"objectDetections": [box()]}, size=(640, 480))
    large = drawn({"objectDetections": [box()]}, size=(6400, 4800))

    assert large.font_size == pytest.approx(10 * small.font_size, rel=0.01)


def test_a_picture_of_unknown_size_is_as_large_as_what_is_on_it():
    seen = drawn({"objectDetections": [box(x=900, y=500)]}, size=None)

    assert (seen.width, seen.height) == (920, 510)


def test_classes_get_colours_of_their_own_as_long_as_there_are_some():
    names = [f"class {number}" for number in range(SLOTS)]

    assert sorted(slots_of(names).values()) == list(range(SLOTS))
    assert max(slots_of(names[:HUES]).values()) < HUES, "dashed although colours were free"
    assert len(slots_of([*names, "one more"])) == SLOTS + 1


def test_a_class_keeps_its_colour_from_page_to_page():
    assert slots_of(["b", "a"]) == slots_of(["a", "b", "a"])
    assert slot_of("never seen") == slot_of("never seen", {"seen": 3})
    assert slot_of("seen", {"seen": 3}) == 3
