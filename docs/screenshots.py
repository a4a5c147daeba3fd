"""Makes the pictures of the web page that the docs show: `python docs/screenshots.py`.

Fills a server with drawn scenes of a made-up factory, opens it in Chromium and takes screenshots.
With a folder (`python docs/screenshots.py /tmp/pages`) it saves every state of the page there
instead, wide and on a phone, light and dark, for review.
"""

# ruff: noqa: INP001, PLR2004, FBT003 -- a script that draws: its numbers are what is drawn

from __future__ import annotations

import math
import random
import shutil
import sys
from datetime import datetime, timedelta, timezone
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any
from uuid import UUID

import cv2
import numpy as np
from PIL import Image
from playwright.sync_api import sync_playwright

from vision_event_block.server.api.ingest import ingest
from vision_event_block.server.http_server import serving
from vision_event_block.server.page.shifts import shifts_of
from vision_event_block.server.storage import Store
from vision_event_block.server.store.filters import Filters

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from playwright.sync_api import Browser

IMAGES = Path(__file__).parent / "images"
WIDTH_PX, HEIGHT_PX = 960, 720
COLOURS = 256
SHIFTS = shifts_of("early 6:00-14:00, late 14:00-22:00, night 22:00-6:00")
#: One of the hall's cameras has sent none of this many newest events.
_SILENT_SINCE = 26
_rng = random.Random(7)  # noqa: S311 -- the same scenes each time


def main() -> int:
    """Writes all screenshots."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        sys.stderr.write("Chromium is missing; on Debian: apt-get install chromium\n")
        return 1
    folder = Path(sys.argv[1]) if sys.argv[1:] else None
    (folder or IMAGES).mkdir(exist_ok=True)
    with TemporaryDirectory() as data, Store.open(Path(data)) as store:
        scenes = _scenes(*fill(store), store)
        with serving(store, shifts=SHIFTS) as address, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=chromium)
            for path, scene, options in _every_look(folder, scenes) if folder else _DOCS:
                where, click = scenes[scene]
                _shoot(browser, address + where, path, click, **options)
            browser.close()
    return 0


def _scenes(caps: str, floor: str, store: Store) -> dict[str, tuple[str, str]]:
    """Each state of the page: its address, and what is clicked there."""
    scratched = next(
        event.event_id
        for event in store.walk(Filters(use_case_id=caps))
        if event.body["eventData"].get("result") == "fail" and event.warnings == ()
    )
    judged = next(
        event.event_id for event in store.walk(Filters(use_case_id=caps, feedback=("incorrect",)))
    )
    grid, hall, charts = f"/use-cases/{caps}", f"/use-cases/{floor}", f"/use-cases/{caps}/charts"
    return {
        "use-cases": ("/", ""),
        "devices": ("/devices", ""),
        "grid": (grid, ""),
        "hall": (hall, ""),
        "selection": (grid, ".pick input >> nth=1"),
        "keys": (grid, "[data-keys-button]"),
        "filters": (
            f"{grid}?device=cam-1&result=fail&meta_key=shift&meta_is=eq&meta_value=day",
            "[data-filters] summary",
        ),
        "zones": (grid, "[data-zones] summary"),
        "export": (grid, "[data-export] summary"),
        "nothing-found": (f"{grid}?device=cam-9", ""),
        "event": (f"/events/{scratched}", ""),
        "around": (f"/events/{scratched}?as=around", ""),
        "judged": (f"/events/{judged}?judged=incorrect", ""),
        "deletion": (f"/events/{scratched}", ".button.danger"),
        "charts": (f"{charts}?range=24h", ""),
        "charts-split": (f"{charts}?range=8h&split=device&beside=1", ""),
        "charts-shifts": (f"{charts}?split=shift", ""),
        "charts-metadata": (f"{charts}?split=meta:batch", ""),
        "mistake": (f"{grid}?part=grid&shown=abc", ""),
        "missing": ("/nowhere", ""),
    }


_WIDE: Any = {"viewport": {"width": 1360, "height": 900}}
_DOCS: Any = (
    (IMAGES / "grid.png", "grid", _WIDE),
    (IMAGES / "event.png", "event", _WIDE),
    (IMAGES / "charts.png", "charts", {"viewport": {"width": 1360, "height": 700}}),
)


def _every_look(folder: Path, scenes: Iterable[str]) -> Iterator[tuple[Path, str, dict[str, Any]]]:
    for scene in scenes:
        for width, height in ((1440, 900), (390, 844)):
            for scheme in ("light", "dark"):
                options: Any = {"viewport": {"width": width, "height": height}}
                options |= {"color_scheme": scheme, "device_scale_factor": 1}
                yield folder / f"{scene}-{width}-{scheme}.png", scene, options


def _shoot(browser: Browser, address: str, path: Path, click: str, **options: Any) -> None:
    options = {"color_scheme": "light", "device_scale_factor": 1.5, **options}
    context = browser.new_context(locale="en-GB", timezone_id="Europe/Berlin", **options)
    page = context.new_page()
    page.goto(address, wait_until="networkidle")
    if click:
        page.locator(click).click(force=True)  # some show only under the pointer
        page.wait_for_load_state("networkidle")
    page.screenshot(path=path)
    context.close()
    # A palette makes the file a third of its size, with no visible difference.
    quantized = (
        Image.open(path).convert("RGB").quantize(COLOURS, Image.Quantize.MAXCOVERAGE, kmeans=3)
    )
    quantized.save(path, optimize=True)


def fill(store: Store) -> tuple[str, str]:
    """Puts two use cases with a day of events into a store; their ids."""
    caps = store.use_cases.create("Bottle caps, line 3", id="caps-line-3").id
    floor = store.use_cases.create("Hard hats, hall B", id="hats-hall-b").id
    now = datetime.now(timezone.utc)
    events = [
        *(_cap_event(store, caps, now - _gone(number, 360), number) for number in range(230)),
        *(_floor_event(store, floor, now - _gone(number, 900), number) for number in range(90)),
    ]
    events += _feedback(events, caps)
    store.put([ingest(event, now=now).event for event in events])
    store.pin(caps, [events[1]["eventId"]])
    return caps, floor


def _gone(number: int, mean_s: float) -> timedelta:
    """More by day than by night."""
    seconds = 20 + number * mean_s
    return timedelta(seconds=seconds + 900 * math.sin(seconds / 14_000))


def _event(**values: Any) -> dict[str, Any]:
    return {"eventId": str(UUID(int=_rng.getrandbits(128), version=4)), **values}


def _cap_event(store: Store, case: str, moment: datetime, number: int) -> dict[str, Any]:
    body = _event(
        useCaseId=case,
        timestamp=moment.isoformat(),
        deviceId=f"cam-{1 + number % 3}",
        streamId="line-3/top",
        workflowId="cap-check",
        workflowVersion="12",
        customMetadata={
            "shift": "night" if moment.hour < 6 else "day",
            "batch": 4100 + number // 40,
            "torque_nm": round(1.8 + _rng.random() / 3, 3),
        },
    )
    if number % 9 == 4:
        image = _view(store, "tray", number % 54)
        count = len(image["objectDetections"])
        body |= {
            "eventType": "inventory_count",
            "eventData": {"itemCount": count, "itemType": "cap", "location": "tray 7"},
        }
    else:
        is_bad = number % 7 in (1, 5)
        image = _view(store, "bad" if is_bad else "good", number % 63)
        body |= {
            "eventType": "quality_check",
            "eventData": {
                "result": "fail" if is_bad else "pass",
                "externalId": f"cap-{88_000 - number}",
            },
        }
    if number % 31 == 12:
        body["eventData"]["colour"] = "red"
    body["images"] = [image]
    return body


def _floor_event(store: Store, case: str, moment: datetime, number: int) -> dict[str, Any]:
    image = _view(store, "hall", number % 30)
    missing = sum(one["class"] == "no-hard-hat" for one in image["objectDetections"])
    data = {
        "alertType": "no-hard-hat",
        "severity": ("medium", "high")[missing > 1],
        "description": f"{missing} without a hard hat near press 4",
    }
    if not missing:
        data = {"alertType": "zone-entered", "severity": "low"}
    # One of two cameras fell silent some hours ago.
    side = "south" if number >= _SILENT_SINCE and number % 2 else "north"
    return _event(
        useCaseId=case,
        timestamp=moment.isoformat(),
        eventType="safety_alert",
        eventData=data,
        deviceId=f"hall-b-{side}",
        streamId=f"hall-b/{side}",
        images=[image],
    )


def _later(event: dict[str, Any], minutes: int) -> datetime:
    return datetime.fromisoformat(event["timestamp"]) + timedelta(minutes=minutes)


def _feedback(events: list[dict[str, Any]], case: str) -> list[dict[str, Any]]:
    judged = [event for event in events if event["useCaseId"] == case and "images" in event][
        10:200:11
    ]
    verdicts = ("correct", "correct", "incorrect", "correct", "inconclusive")
    return [
        _event(
            eventType="operator_feedback",
            useCaseId=case,
            timestamp=_later(event, minutes=7).isoformat(),
            eventData={"relatedEventId": event["eventId"], "feedback": verdicts[number % 5]},
            comment=(
                "Dust on the lens, not a scratch." if number % 5 == 2 else "Seen at the bench, too."
            ),
        )
        for number, event in enumerate(judged)
    ]


@cache
def _view(store: Store, scene: str, number: int) -> dict[str, Any]:
    """An event's image with its pictures uploaded; the same ones come back now and then."""
    if scene == "hall":
        picture, image = _hall(number)
    elif scene == "tray":
        picture, image = _tray(number)
    else:
        picture, image = _cap(number, is_bad=scene == "bad")
    ids = {"inputSourceId": store.pictures.put(_jpeg(picture)).id}
    if scene != "hall":
        drawn = picture.copy()  # as a workflow does that draws boxes
        for entry in [*image["objectDetections"], *image.get("instanceSegmentations", ())]:
            x, y, w, h = (entry[key] for key in ("x", "y", "width", "height"))
            corners = (int(x - w / 2), int(y - h / 2)), (int(x + w / 2), int(y + h / 2))
            cv2.rectangle(drawn, *corners, (120, 80, 255), 4, cv2.LINE_AA)
        ids["sourceId"] = store.pictures.put(_jpeg(drawn)).id
    return {"label": "workflow", **ids, **image}


def _jpeg(picture: np.ndarray) -> bytes:
    return cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, 88])[1].tobytes()


def _surface(top: tuple[int, int, int], lower: tuple[int, int, int]) -> np.ndarray:
    """A plane that falls off into shadow, with the grain of a camera."""
    rows = np.linspace(0, 1, HEIGHT_PX)[:, None, None]
    picture = np.array(top) * (1 - rows) + np.array(lower) * rows
    picture = np.repeat(picture, WIDTH_PX, axis=1)
    columns = np.abs(np.linspace(-1, 1, WIDTH_PX))[None, :, None]
    grain = np.random.default_rng(3).normal(0, 2.5, (HEIGHT_PX, WIDTH_PX, 1))
    return np.clip(picture * (1 - 0.28 * columns**2) + grain, 0, 255).astype(np.uint8)


def _disc(
    picture: np.ndarray, centre: tuple[int, int], radius: int, colour: tuple[int, int, int]
) -> None:
    """A ribbed cap, lit from the upper left."""
    x, y = centre
    shadow = picture.copy()
    cv2.circle(
        shadow, (x + radius // 9, y + radius // 7), radius + 3, (20, 20, 22), -1, cv2.LINE_AA
    )
    cv2.addWeighted(cv2.GaussianBlur(shadow, (0, 0), radius / 9 + 1), 0.6, picture, 0.4, 0, picture)
    dark = tuple(int(part * 0.55) for part in colour)
    light = tuple(min(255, int(part * 1.25 + 25)) for part in colour)
    cv2.circle(picture, centre, radius, dark, -1, cv2.LINE_AA)
    for step in range(60):
        angle = step * math.tau / 60
        inner = (int(x + 0.88 * radius * math.cos(angle)), int(y + 0.88 * radius * math.sin(angle)))
        outer = (int(x + 0.99 * radius * math.cos(angle)), int(y + 0.99 * radius * math.sin(angle)))
        cv2.line(picture, inner, outer, light, max(1, radius // 60), cv2.LINE_AA)
    cv2.circle(picture, centre, int(radius * 0.86), colour, -1, cv2.LINE_AA)
    glow = picture.copy()
    cv2.ellipse(
        glow,
        (x - radius // 4, y - radius // 3),
        (radius // 2, radius // 4),
        -35,
        0,
        360,
        light,
        -1,
        cv2.LINE_AA,
    )
    mask = np.zeros(picture.shape[:2], np.uint8)
    cv2.circle(mask, centre, int(radius * 0.84), 255, -1)
    glow = cv2.GaussianBlur(glow, (0, 0), radius / 6 + 1)
    picture[mask > 0] = glow[mask > 0]
    cv2.circle(picture, centre, int(radius * 0.62), light, max(1, radius // 40), cv2.LINE_AA)


def _cap(number: int, *, is_bad: bool) -> tuple[np.ndarray, dict[str, Any]]:
    rng = random.Random(number)  # noqa: S311 -- see above
    picture = _surface((196, 192, 186), (120, 116, 110))
    x, y, radius = 480 + rng.randint(-60, 60), 365 + rng.randint(-30, 30), 225
    _disc(picture, (x, y), radius, [(64, 62, 196), (180, 110, 40), (70, 140, 60)][number // 40 % 3])
    box = {
        "class": "cap",
        "x": x,
        "y": y,
        "width": 2 * radius,
        "height": 2 * radius,
        "confidence": round(0.97 - rng.random() / 20, 3),
    }
    image: dict[str, Any] = {"objectDetections": [box]}
    if not is_bad:
        return picture, image
    angle, length = rng.random() * math.pi, 150 + rng.randint(0, 70)
    middle = np.array([x + rng.randint(-60, 60), y + rng.randint(-60, 60)])
    along = np.array([math.cos(angle), math.sin(angle)]) * length / 2
    across = np.array([-math.sin(angle), math.cos(angle)])
    bend = across * rng.randint(-26, 26)
    path = np.array(
        [
            middle - along,
            middle - along / 2 + bend * 0.7,
            middle + bend,
            middle + along / 2 + bend * 0.7,
            middle + along,
        ]
    )
    cv2.polylines(picture, [path.astype(int)], False, (225, 225, 232), 9, cv2.LINE_AA)
    cv2.polylines(picture, [(path + across * 3).astype(int)], False, (30, 28, 60), 3, cv2.LINE_AA)
    ring = np.concatenate([path + across * 13, (path - across * 13)[::-1]])
    low, high = ring.min(axis=0), ring.max(axis=0)
    name = "scratch" if number % 2 else "dent"
    image["instanceSegmentations"] = [
        {
            "class": name,
            "x": float((low + high)[0] / 2),
            "y": float((low + high)[1] / 2),
            "width": float((high - low)[0]),
            "height": float((high - low)[1]),
            "confidence": round(0.62 + rng.random() / 3, 3),
            "points": np.round(ring, 1).tolist(),
        }
    ]
    return picture, image


def _tray(number: int) -> tuple[np.ndarray, dict[str, Any]]:
    rng = random.Random(number)  # noqa: S311 -- see above
    picture = _surface((88, 80, 72), (52, 47, 42))
    boxes = []
    for place in rng.sample(range(20), 20 - rng.randint(1, 5)):
        x, y = 120 + 180 * (place % 5), 100 + 172 * (place // 5)
        _disc(picture, (x, y), 66, (64, 62, 196))
        boxes.append(
            {
                "class": "cap",
                "x": x,
                "y": y,
                "width": 136,
                "height": 136,
                "confidence": round(0.99 - rng.random() / 9, 3),
            }
        )
    return picture, {"objectDetections": boxes}


#: The joints of a standing person in COCO's order, for a height of 1 around the hips.
_PERSON = (
    (0, -0.42), (0.02, -0.44), (-0.02, -0.44), (0.045, -0.425), (-0.045, -0.425),
    (0.1, -0.3), (-0.1, -0.3), (0.15, -0.15), (-0.15, -0.15), (0.14, 0.0), (-0.14, 0.0),
    (0.07, 0.03), (-0.07, 0.03), (0.08, 0.25), (-0.08, 0.25), (0.08, 0.47), (-0.08, 0.47),
)  # fmt: skip


def _hall(number: int) -> tuple[np.ndarray, dict[str, Any]]:
    rng = random.Random(1000 + number)  # noqa: S311 -- see above
    picture = _surface((168, 160, 150), (96, 92, 90))
    cv2.fillPoly(
        picture,
        [np.array([[0, 720], [960, 720], [700, 330], [260, 330]])],
        (128, 124, 120),
        cv2.LINE_AA,
    )
    for side in (-1, 1):
        cv2.line(
            picture,
            (480 + side * 200, 335),
            (480 + side * 430, 720),
            (60, 190, 230),
            8,
            cv2.LINE_AA,
        )
    cv2.rectangle(picture, (60, 60), (230, 330), (112, 96, 70), -1)
    cv2.rectangle(picture, (80, 90), (210, 190), (150, 136, 110), -1)
    cv2.rectangle(picture, (720, 40), (920, 330), (96, 104, 112), -1)
    people, hats = [], []
    for row in range(rng.randint(1, 3)):
        height = rng.randint(330, 430)
        x, y = 240 + 240 * row + rng.randint(-30, 30), 440 + rng.randint(-20, 30)
        joints = [(x + dx * height, y + dy * height + rng.uniform(-3, 3)) for dx, dy in _PERSON]
        has_hat = rng.random() < 0.55
        _draw_person(picture, joints, height, has_hat=has_hat)
        people.append(
            {
                "class": "person",
                "x": x,
                "y": y,
                "width": 0.38 * height,
                "height": 1.06 * height,
                "confidence": round(0.96 - rng.random() / 12, 3),
                "keypoints": [
                    {"id": key, "x": round(jx, 1), "y": round(jy, 1), "occluded": key == 4}
                    for key, (jx, jy) in enumerate(joints)
                ],
            }
        )
        hats.append(
            {
                "class": "hard-hat" if has_hat else "no-hard-hat",
                "x": x,
                "y": y - 0.45 * height,
                "width": 0.17 * height,
                "height": 0.16 * height,
                "confidence": round(0.93 - rng.random() / 8, 3),
            }
        )
    return picture, {"keypoints": people, "objectDetections": hats}


def _draw_person(
    picture: np.ndarray, joints: list[tuple[float, float]], height: int, *, has_hat: bool
) -> None:
    at = [(int(x), int(y)) for x, y in joints]
    limb = max(8, height // 16)
    for a, b, colour in (
        (11, 13, (92, 70, 52)),
        (13, 15, (92, 70, 52)),
        (12, 14, (92, 70, 52)),
        (14, 16, (92, 70, 52)),
        (5, 7, (40, 130, 235)),
        (7, 9, (40, 130, 235)),
        (6, 8, (40, 130, 235)),
        (8, 10, (40, 130, 235)),
    ):
        cv2.line(picture, at[a], at[b], colour, limb, cv2.LINE_AA)
    cv2.fillConvexPoly(
        picture,
        cv2.convexHull(np.array([at[key] for key in (5, 6, 11, 12)])),
        (30, 120, 240),
        cv2.LINE_AA,
    )
    cv2.line(picture, at[5], at[12], (150, 235, 250), limb // 3, cv2.LINE_AA)
    cv2.line(picture, at[6], at[11], (150, 235, 250), limb // 3, cv2.LINE_AA)
    head = (at[0][0], at[0][1] - height // 40)
    cv2.circle(picture, head, height // 17, (150, 178, 214), -1, cv2.LINE_AA)
    if has_hat:
        cv2.ellipse(
            picture,
            (head[0], head[1] - height // 60),
            (height // 14, height // 15),
            0,
            180,
            360,
            (50, 205, 250),
            -1,
            cv2.LINE_AA,
        )
        cv2.line(
            picture,
            (head[0] - height // 12, head[1] - height // 60),
            (head[0] + height // 12, head[1] - height // 60),
            (40, 180, 230),
            5,
            cv2.LINE_AA,
        )


if __name__ == "__main__":
    sys.exit(main())
