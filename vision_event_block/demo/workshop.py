"""Two places with people: a press, and a floor where hard hats are worn."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

import numpy as np

from vision_event_block.demo.canvas import WIDTH_PX, Canvas, Pixels, surface
from vision_event_block.demo.people import Person
from vision_event_block.demo.recordings import Shot

if TYPE_CHECKING:
    from collections.abc import Iterator

    from vision_event_block.demo.canvas import Colour

#: Frames that each visit at the press lasts; between two visits nobody is there for a frame.
VISITS: Final = (4, 3, 5, 2, 4, 3, 3)
_BETWEEN_VISITS_S: Final = 2900.0
#: Who stands on the floor, frame by frame: H with a hard hat, n without.
CREWS: Final = (
    "HH", "HHH", "Hn", "H", "HH", "HnH", "HHH", "HH", "n", "nH", "HH", "HHH", "HHn", "H", "HH",
    "nHn", "HnH", "HH", "HHH", "H", "Hn", "HH", "n", "HHH", "HHn", "Hn", "HH", "H", "nH", "HHn",
)  # fmt: skip
_CREW_EVERY_S: Final = 690.0

_WALL_PX: Final = 330
_YELLOW: Final = (50, 190, 240)
_VESTS: Final = ((40, 140, 250), (60, 215, 200), (170, 110, 60))
_HATS: Final = ((50, 200, 245), (240, 240, 240), (60, 120, 235))


def press_shots() -> Iterator[Shot]:
    """Visits at a press, a few seconds each, with nobody there between them."""
    random = np.random.default_rng(12)
    room = _room(_WALL_PX)
    at_s, ram = 0.0, 0
    for number, frames in enumerate(VISITS):
        yield Shot(_press(room, ram).pixels, at_s)
        at_s += _BETWEEN_VISITS_S * random.uniform(0.7, 1.3)
        vest = _VESTS[number % len(_VESTS)]
        for frame in range(frames):
            ram += 1
            nearness = frame / (frames - 1)
            people = [
                Person(
                    # Comes up to the press, and reaches into it at last.
                    x_px=330 + 155 * nearness + random.uniform(-4, 4),
                    ground_px=500,
                    height_px=330,
                    stride=0.30 * frame if nearness < 1 else 0.5,
                    reach=0.1 + 0.85 * nearness**2,
                    vest=vest,
                    hat=_HATS[number % len(_HATS)],
                )
            ]
            if number % 3 == 2:  # noqa: PLR2004 -- every third time somebody looks on
                people.insert(0, Person(150 + 6 * frame, 478, 300, stride=0.2 * frame, reach=0.05,
                                        vest=_VESTS[0], hat=_HATS[1]))  # fmt: skip
            canvas = _press(room, ram)
            for person in people:
                person.draw(canvas)
            found = [person.pose(round(0.95 - 0.06 * i, 2)) for i, person in enumerate(people)]
            yield Shot(canvas.pixels, at_s, found)
            at_s += 15
    yield Shot(_press(room, ram).pixels, at_s)


def floor_shots() -> Iterator[Shot]:
    """Crews on the floor; not everybody wears a hard hat."""
    random = np.random.default_rng(30)
    room = _floor()
    for index, crew in enumerate(CREWS):
        canvas = Canvas(room.copy())
        found = []
        spacing = WIDTH_PX / (len(crew) + 1)
        for place, worn in enumerate(crew):
            ground = 440 + 70 * float(random.uniform(0, 1))
            person = Person(
                x_px=spacing * (place + 1) + float(random.uniform(-50, 50)),
                ground_px=ground,
                height_px=230 + (ground - 440) * 0.9,
                facing=int(random.choice((-1, 1))),
                stride=float(random.uniform(0, 1)),
                reach=float(random.choice((0.0, 0.0, 0.45))),
                vest=_VESTS[int(random.integers(len(_VESTS)))],
                hat=_HATS[int(random.integers(len(_HATS)))] if worn == "H" else None,
            )
            person.draw(canvas)
            name = "hard-hat" if worn == "H" else "no-hard-hat"
            confidence = round(float(random.uniform(0.74, 0.97)), 2)
            found.append(person.detection(name, int(worn == "H"), confidence))
        yield Shot(canvas.pixels, index * _CREW_EVERY_S + random.uniform(0, 300), found)


def _room(wall_px: int) -> Pixels:
    pixels = surface((150, 152, 150), seed=31, grain=(3, 3), roughness=3)
    pixels[:wall_px] = surface((186, 178, 166), seed=32, size_px=(WIDTH_PX, wall_px), roughness=2)
    canvas = Canvas(pixels)
    for x in range(0, WIDTH_PX, 120):  # panels of the wall
        canvas.line([(x, 0), (x, wall_px)], (168, 160, 148), 2)
    canvas.rectangle((0, wall_px - 60), (WIDTH_PX, wall_px), (150, 128, 96))
    canvas.line([(0, wall_px), (WIDTH_PX, wall_px)], (100, 96, 90), 4)
    return canvas.pixels


def _press(room: Pixels, ram: int) -> Canvas:
    canvas = Canvas(room.copy())
    zone = [(430, 430), (940, 430), (960, 535), (400, 535)]
    canvas.line([*zone, zone[0]], _YELLOW, 9)
    canvas.shadow([(560, 420), (930, 420), (950, 490), (570, 490)], blur_px=14, strength=0.5)
    green, dark = (112, 132, 74), (84, 100, 54)
    canvas.rectangle((590, 40), (910, 130), green)
    for left in (590, 850):
        canvas.rectangle((left, 120), (left + 60, 440), green)
        canvas.rectangle((left + 44, 120), (left + 60, 440), dark)
    canvas.rectangle((570, 390), (930, 470), green)
    canvas.rectangle((570, 452), (930, 470), dark)
    canvas.rectangle((650, 130), (850, 390), (62, 60, 58))
    low_px = 70.0 * (1 + float(np.sin(ram * 1.3))) / 2
    canvas.rectangle((735, 130), (765, 200 + low_px), (200, 196, 190))
    canvas.rectangle((680, 190 + low_px), (820, 240 + low_px), (150, 146, 140))
    canvas.rectangle((680, 232 + low_px), (820, 240 + low_px), (104, 100, 96))
    canvas.rectangle((670, 360), (830, 390), (170, 166, 160))
    canvas.rectangle((590, 112), (910, 130), _YELLOW)
    for x in range(590, 890, 40):  # the stripes that say danger
        canvas.polygon([(x, 112), (x + 20, 112), (x + 34, 130), (x + 14, 130)], (40, 40, 40))
    canvas.text("PRESS 2", (690, 86), (235, 235, 235), 24)
    for x, colour in ((870, (70, 70, 225)), (886, (60, 200, 240)), (902, (90, 200, 90))):
        canvas.circle((x - 6, 160), 6, colour)
    return canvas


def _floor() -> Pixels:
    canvas = Canvas(_room(250))
    beam: Colour = (44, 96, 214)
    for left in (40, 360, 680):  # racks with boxes
        for shelf in (70, 150, 230):
            for place, shade in enumerate((0, 22, -14, 10)):
                colour = (96 + shade, 140 + shade, 176 + shade)
                x = left + 14 + 58 * place
                canvas.rectangle((x, shelf - 48 + shade / 3), (x + 50, shelf), colour)
                canvas.line([(x + 25, shelf - 46 + shade / 3), (x + 25, shelf)], (130, 176, 206), 5)
            canvas.rectangle((left, shelf), (left + 250, shelf + 9), beam)
        for x in (left, left + 242):
            canvas.rectangle((x, 10), (x + 9, 252), (140, 80, 40))
    for y, width_px in ((300, 6), (522, 12)):
        canvas.line([(0, y), (WIDTH_PX, y)], _YELLOW, width_px)
    for x in range(-80, WIDTH_PX, 200):
        canvas.line([(x, 410), (x + 110, 410)], (205, 208, 208), 6)
    return canvas.pixels
