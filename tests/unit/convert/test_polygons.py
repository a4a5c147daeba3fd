from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from vision_event_block.convert.polygons import MAX_OUTLINES, mask_box, ring_from_mask

unhurried = settings(deadline=None, max_examples=60)


def disc(x, y, radius, *, height=300, width=320):
    mask = np.zeros((height, width), np.uint8)
    cv2.circle(mask, (x, y), radius, 1, cv2.FILLED)
    return mask.astype(bool)


def rectangle(x_min, y_min, x_max, y_max, *, height=300, width=320):
    mask = np.zeros((height, width), bool)
    mask[y_min : y_max + 1, x_min : x_max + 1] = True
    return mask


def rotated(degrees):
    box = cv2.boxPoints(((150, 150), (180, 60), degrees)).round().astype(np.int32)
    return cv2.fillPoly(np.zeros((300, 320), np.uint8), [box], 1).astype(bool)


def fortran_view():
    return np.asfortranarray(disc(150, 150, 60))


def strided_view():
    stack = np.zeros((300, 320, 3), bool)
    stack[..., 1] = disc(150, 150, 60)
    return stack[::-2, ::-1, 1]


def checkerboard(height, width):
    return np.indices((height, width)).sum(axis=0) % 2 == 0


DOUGHNUT = disc(150, 150, 100) & ~disc(150, 150, 50)
MASKS = {
    "disc": disc(150, 150, 100),
    "small disc": disc(150, 150, 9),
    "rectangle": rectangle(10, 20, 99, 79),
    "two pixels wide": rectangle(10, 20, 11, 79),
    "slanted rectangle": rotated(27),
    "triangle": np.tri(200, dtype=bool),
    "L shape": rectangle(10, 10, 40, 200) | rectangle(10, 170, 200, 200),
    "doughnut": DOUGHNUT,
    "doughnut of one pixel": disc(150, 150, 60)
    & ~cv2.erode(disc(150, 150, 60).astype(np.uint8), np.ones((3, 3), np.uint8)).astype(bool),
    "island in a hole": DOUGHNUT | disc(150, 150, 30),
    "hole in an island in a hole": DOUGHNUT | (disc(150, 150, 40) & ~disc(150, 150, 15)),
    "two pieces": disc(80, 80, 50) | disc(180, 200, 60),
    "two pieces side by side": rectangle(10, 10, 250, 60) | rectangle(100, 80, 300, 120),
    "three pieces in a row": rectangle(0, 0, 60, 60)
    | rectangle(70, 0, 130, 60)
    | rectangle(140, 0, 200, 60),
    "piece and speck": disc(150, 150, 60) | rectangle(290, 290, 291, 292),
    "piece and far stray": disc(60, 60, 50) | rectangle(280, 280, 289, 289),
    "piece and pinholes": disc(150, 150, 60) & ~(disc(140, 150, 0) | disc(160, 150, 1)),
    "several holes": disc(150, 150, 120)
    & ~(disc(110, 110, 20) | disc(190, 120, 25) | disc(150, 200, 30) | disc(150, 150, 8)),
    "holes that touch": rectangle(50, 50, 200, 200)
    & ~(rectangle(80, 80, 119, 119) | rectangle(120, 120, 160, 160)),
    "hole at the rim": rectangle(50, 50, 150, 150) & ~rectangle(51, 60, 90, 90),
    "diagonal contact": rectangle(0, 0, 49, 49) | rectangle(50, 50, 99, 99),
    "one pixel": rectangle(7, 9, 7, 9),
    "two pixels": rectangle(7, 9, 8, 9),
    "two pixels apart": rectangle(7, 9, 7, 9) | rectangle(9, 9, 9, 9) | rectangle(8, 9, 8, 9),
    "horizontal line": rectangle(10, 20, 90, 20),
    "vertical line": rectangle(10, 20, 10, 90),
    "diagonal line": np.eye(80, dtype=bool),
    "thin cross": rectangle(150, 50, 150, 250) | rectangle(50, 150, 250, 150),
    "two-pixel square": rectangle(3, 3, 4, 4),
    "touching every border": disc(150, 150, 170) & ~disc(150, 150, 140),
    "in the last corner": rectangle(300, 280, 319, 299),
    "full": np.ones((300, 320), bool),
    "full picture": np.ones((1080, 1920), bool),
    "one row": np.ones((1, 50), bool),
    "checkerboard": checkerboard(40, 41),
    "noise": np.random.default_rng(3).random((48, 48)) < 0.6,
    "column-major": fortran_view(),
    "strided and reversed": strided_view(),
    "uint8 with 255": disc(150, 150, 60).astype(np.uint8) * 255,
    "large and in two pieces": disc(300, 300, 200, height=1080, width=1920)
    | disc(900, 700, 250, height=1080, width=1920),
}


@pytest.fixture(params=MASKS.values(), ids=MASKS.keys())
def mask(request):
    return request.param


def edges(ring):
    return zip(ring.tolist(), np.roll(ring, -1, axis=0).tolist(), strict=True)


def drawn(ring, shape):
    """What whoever fills the ring with OpenCV gets: even-odd, the ring itself included."""
    return cv2.fillPoly(np.zeros(shape, np.uint8), [ring], 1).astype(bool)


def winding(ring, shape):
    """How often the ring goes around each pixel's centre, counted along a ray to the right."""
    turns = np.zeros(shape, int)
    for (x_0, y_0), (x_1, y_1) in edges(ring):
        for y in range(min(y_0, y_1), max(y_0, y_1)):
            crossing = x_0 + (y - y_0) * (x_1 - x_0) / (y_1 - y_0)
            turns[y, : max(0, int(np.ceil(crossing)))] += 1 if y_1 > y_0 else -1
    return turns


def lines(segments, shape):
    picture = np.zeros(shape, np.uint8)
    for start, end in segments:
        cv2.line(picture, start, end, 1)
    return picture.astype(bool)


def bridges(ring, shape):
    """The pixels of all segments that the ring walks there and back."""
    segments = {(tuple(start), tuple(end)) for start, end in edges(ring)}
    return lines([(start, end) for start, end in segments if (end, start) in segments], shape)


def iou(one, other):
    return (one & other).sum() / (one | other).sum()


def required_iou(mask):
    return 0.98 if np.count_nonzero(mask) >= 100 else 0.9


def test_a_mask_keeps_its_area_when_the_ring_is_filled_again(mask):
    ring = ring_from_mask(mask)
    assert iou(drawn(ring, mask.shape), mask != 0) >= required_iou(mask)


def test_both_fill_rules_give_the_same_mask(mask):
    ring = ring_from_mask(mask)
    turns = winding(ring, mask.shape)
    outline = lines(edges(ring), mask.shape)
    by_nonzero = (turns != 0) | outline
    by_even_odd = (turns % 2 == 1) | outline
    assert iou(by_nonzero, by_even_odd) >= 0.995
    assert iou(by_nonzero, mask != 0) >= required_iou(mask)


def test_points_lie_within_the_mask_and_become_plain_json(mask):
    ring = ring_from_mask(mask)
    x_min, y_min, x_max, y_max = mask_box(mask)
    assert ring.shape[1:] == (2,)
    assert len(ring) >= 3
    assert (ring >= [x_min, y_min]).all()
    assert (ring < [x_max, y_max]).all()
    assert json.loads(json.dumps(ring.tolist())) == ring.tolist()


def test_the_box_is_that_of_the_pixels(mask):
    ys, xs = np.nonzero(mask)
    assert mask_box(mask) == (xs.min(), ys.min(), xs.max() + 1, ys.max() + 1)


@pytest.mark.parametrize("layout", ["C", "F"])
@pytest.mark.parametrize(
    "near", [(0, 0, 0, 0), (9, 11, 60, 40), (-50, -50, 9999, 9999), (60, 40, 9, 11), (900,) * 4]
)  # fmt: skip
def test_the_box_is_the_same_wherever_it_is_looked_for_first(mask, near, layout):
    assert mask_box(np.array(mask, order=layout), near=near) == mask_box(mask)


def test_the_box_is_found_where_it_is_looked_for_first(mask):
    box = mask_box(mask)
    assert mask_box(mask, near=box) == box


def test_any_byte_but_zero_is_inside_a_mask_of_booleans(mask):
    marked = (np.asarray(mask != 0).astype(np.uint8) * 255).view(np.bool_)
    assert ring_from_mask(marked).tolist() == ring_from_mask(mask).tolist()


def test_the_mask_is_left_as_it_was(mask):
    before = mask.copy()
    ring_from_mask(mask)
    assert np.array_equal(mask, before)


@pytest.mark.parametrize(
    "shape", [(300, 320), (1, 1), (0, 0), (0, 7), (7, 0)], ids="{0[0]}x{0[1]}".format
)
@pytest.mark.parametrize("dtype", [bool, np.uint8])
def test_an_empty_mask_has_no_ring(shape, dtype):
    mask = np.zeros(shape, dtype)
    assert ring_from_mask(mask) is None
    assert mask_box(mask) is None


def test_a_rectangle_has_its_four_corners_at_pixel_centres():
    ring = ring_from_mask(rectangle(10, 30, 20, 80))
    assert sorted(ring.tolist()) == [[10, 30], [10, 80], [20, 30], [20, 80]]


@pytest.mark.parametrize("name", ["rectangle", "L shape", "two pixels wide", "two-pixel square"])
def test_a_plain_piece_with_straight_edges_gives_the_usual_outline(name):
    [outline], _ = cv2.findContours(
        MASKS[name].astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    assert sorted(ring_from_mask(MASKS[name]).tolist()) == sorted(outline.reshape(-1, 2).tolist())


def test_a_single_pixel_is_three_times_its_point():
    assert ring_from_mask(MASKS["one pixel"]).tolist() == [[7, 9]] * 3


@pytest.mark.parametrize(
    ("name", "max_points"),
    [
        ("disc", 50),
        ("small disc", 30),
        ("slanted rectangle", 12),
        ("triangle", 5),
        ("diagonal line", 3),
        ("doughnut", 75),
        ("piece and far stray", 75),
        ("full picture", 4),
    ],
)
def test_there_are_few_points(name, max_points):
    assert len(ring_from_mask(MASKS[name])) <= max_points


def test_the_offset_moves_every_point():
    ring = ring_from_mask(DOUGHNUT)
    moved = ring_from_mask(DOUGHNUT[40:, 30:], offset=(30, 40))
    assert np.array_equal(moved, ring)


def test_a_hole_is_not_filled():
    assert not drawn(ring_from_mask(DOUGHNUT), DOUGHNUT.shape)[150, 150 - 10]


def test_an_island_in_a_hole_is_filled():
    mask = MASKS["island in a hole"]
    filled = drawn(ring_from_mask(mask), mask.shape)
    assert filled[150, 150]
    assert not filled[150 + 28, 150 + 28]


def test_pieces_are_joined_where_they_are_nearest():
    mask = MASKS["two pieces side by side"]
    ring = ring_from_mask(mask)
    assert (bridges(ring, mask.shape) & ~mask).sum() == 19


@pytest.mark.parametrize("x", [703, 710, 733, 900])
def test_pieces_of_a_large_mask_are_joined_almost_where_they_are_nearest(x):
    mask = disc(300, 300, 200, height=1080, width=1920) | disc(x, 340, 200, height=1080, width=1920)
    gap_px = np.hypot(x - 300, 40) - 400
    bridge = bridges(ring_from_mask(mask), mask.shape) & ~mask
    assert 0 < bridge.sum() <= 1.1 * gap_px + 1


def test_pieces_on_either_side_of_a_slit_are_joined_straight_across():
    mask = np.ones((1080, 1920), bool)
    mask[:, 643:645] = False
    assert (bridges(ring_from_mask(mask), mask.shape) & ~mask).sum() == 2


@pytest.mark.parametrize("gap_px", [10, 40, 80])
def test_what_a_bridge_shows_is_made_up_for_by_a_finer_outline(gap_px):
    mask = disc(60, 60, 40) | disc(140 + gap_px, 60, 40)
    ring = ring_from_mask(mask)
    assert iou(drawn(ring, mask.shape), mask) >= 0.98
    assert len(ring) < 100


def test_specks_and_pinholes_are_left_out():
    whole = ring_from_mask(disc(150, 150, 60)).tolist()
    assert sorted(ring_from_mask(MASKS["piece and speck"]).tolist()) == sorted(whole)
    assert sorted(ring_from_mask(MASKS["piece and pinholes"]).tolist()) == sorted(whole)


def test_a_stray_piece_smaller_than_its_bridge_is_left_out_but_a_near_one_is_kept():
    far, near = (disc(60, 60, 50) | rectangle(x, 60, x + 9, 69) for x in (280, 120))
    assert not drawn(ring_from_mask(far), far.shape)[65, 285]
    assert drawn(ring_from_mask(near), near.shape)[65, 125]


def test_a_small_hole_is_kept_however_deep_it_lies():
    mask = disc(150, 150, 60) & ~disc(150, 150, 3)
    assert not drawn(ring_from_mask(mask), mask.shape)[151, 151]


def test_many_small_pieces_are_not_specks():
    mask = np.zeros((60, 60), bool)
    mask[::6, ::6] = True
    assert len(np.unique(ring_from_mask(mask), axis=0)) >= 0.98 * np.count_nonzero(mask)


def test_of_too_many_pieces_the_largest_are_kept():
    mask = np.zeros((240, 240), bool)
    mask[::3, ::3] = True
    mask[120:130, 120:160] = True
    points = ring_from_mask(mask)
    single_pixels = (points % 3 == 0).all(axis=1)
    assert len(np.unique(points[single_pixels], axis=0)) >= 0.95 * MAX_OUTLINES
    assert len(np.unique(points, axis=0)) <= MAX_OUTLINES + 3
    assert drawn(points, mask.shape)[120:130, 120:160].all()


@st.composite
def shapes(draw):
    """Unions and differences of discs and rectangles, some reaching over the border."""
    mask = np.zeros((draw(st.integers(20, 200)), draw(st.integers(20, 260))), np.uint8)
    sizes = st.integers(0, 60)
    places = st.tuples(st.integers(-20, 280), st.integers(-20, 220))
    for place, size, height, round_, color in draw(
        st.lists(st.tuples(places, sizes, sizes, st.booleans(), st.integers(0, 2)), min_size=1)
    ):
        if round_:
            cv2.circle(mask, place, size, min(color, 1), cv2.FILLED)
        else:
            corner = (place[0] + size, place[1] + height)
            cv2.rectangle(mask, place, corner, min(color, 1), cv2.FILLED)
    return mask.astype(bool)


small_arrays = hnp.arrays(bool, hnp.array_shapes(min_dims=2, max_dims=2, min_side=0, max_side=14))


def simple_points(mask):
    outlines, _ = cv2.findContours(mask.astype(np.uint8), cv2.RETR_LIST, cv2.CHAIN_APPROX_SIMPLE)
    return sum(map(len, outlines)), len(outlines)


@unhurried
@given(shapes() | small_arrays)
def test_any_mask_keeps_its_area_but_for_what_the_bridges_show(mask):
    ring = ring_from_mask(mask)
    if not mask.any():
        assert ring is None
        return
    bridge = bridges(ring, mask.shape) & ~mask
    assert iou(drawn(ring, mask.shape) & ~bridge, mask) >= required_iou(mask)

    turns = winding(ring, mask.shape)
    outline = lines(edges(ring), mask.shape)
    by_nonzero = ((turns != 0) | outline) & ~bridge
    by_even_odd = ((turns % 2 == 1) | outline) & ~bridge
    assert iou(by_nonzero, mask) >= required_iou(mask)
    assert iou(by_nonzero, by_even_odd) >= (0.99 if mask.sum() >= 100 else 0.95)


@unhurried
@given(shapes() | small_arrays)
def test_any_ring_is_within_the_box_and_has_no_needless_points(mask):
    ring = ring_from_mask(mask)
    if ring is None:
        return
    ys, xs = np.nonzero(mask)
    assert (ring.min(axis=0) >= [xs.min(), ys.min()]).all()
    assert (ring.max(axis=0) <= [xs.max(), ys.max()]).all()
    assert len(ring) == 3 or (ring != np.roll(ring, 1, axis=0)).any(axis=1).all()
    vertices, outlines = simple_points(mask)
    assert 3 <= len(ring) <= max(3, vertices + 6 * (outlines - 1))


@unhurried
@given(small_arrays, st.sampled_from([1, 2, 255]), st.sampled_from("CF"))
def test_type_value_and_layout_make_no_difference(mask, value, order):
    ring, other = ring_from_mask(mask), ring_from_mask((mask * np.uint8(value)).copy(order))
    assert np.array_equal(ring, other) if mask.any() else other is None
