"""One verdict or one pin for many events, over a socket."""

from __future__ import annotations

import pytest

from tests.integration.server.test_delete import put
from tests.waiting import eventually

WRITE, READ = "key-for-writing-1", "key-for-reading-1"


def verdict(server, event_id):
    return server.store.get(event_id).feedback


BAD_SELECTIONS = {
    "nothing": ("", {}, "Select the events first"),
    "too much": ("", {"event": [str(number) for number in range(1001)]}, "At most 1,000"),
    "a verdict that is none": ("", {"event": "{sent}", "feedback": "perhaps"}, "Feedback is one"),
    "all of no moment": ("", {"all": "yes", "size": "1"}, "Select the events again"),
    "all of a moment that is none": ("", {"all": "yes", "size": "1", "until": "x-1"}, "again"),
    "all of an odd size": ("", {"all": "yes", "size": "-1", "until": "9-9"}, "again"),
    "all before there were any": ("", {"all": "yes", "size": "1", "until": "0-0"}, "None of these"),
    "all of a filter that is none": (
        "?range=9y",
        {"all": "yes", "size": "1", "until": "9-9"},
        "no time range",
    ),
}


@pytest.mark.parametrize("case", BAD_SELECTIONS)
def test_a_selection_that_cannot_be_read_is_refused_with_a_way_back(server, use_case, case):
    query, fields, words = BAD_SELECTIONS[case]
    sent = put(server, use_case)
    fields = {"feedback": "correct", **fields}
    fields |= {"event": sent} if fields.get("event") == "{sent}" else {}

    reply = server.post(f"/use-cases/{use_case}/feedback{query}", data=fields)

    assert (reply.status_code, words in reply.text) == (400, True), reply.text
    assert f'href="/use-cases/{use_case}' in reply.text
    assert verdict(server, sent) is None


def test_what_came_or_changed_after_the_count_is_not_judged(server, use_case):
    first, second, changed = (put(server, use_case, deviceId="cam-1") for _ in range(3))
    put(server, use_case)
    path = f"/use-cases/{use_case}"
    told = server.get(f"{path}/matching?device=cam-1").json()
    assert (told["size"], told["judgeable"], told["isAll"]) == (3, 3, True)

    late = put(server, use_case, deviceId="cam-1")
    put(server, use_case, eventId=changed, deviceId="cam-1")
    fields = {"all": "yes", "until": told["until"], "size": told["size"], "feedback": "correct"}
    reply = server.post(f"{path}/feedback?device=cam-1", data=fields)

    assert "2 events judged correct. 1 left out" in reply.text
    judged = [verdict(server, each) for each in (first, second, changed, late)]
    assert judged == ["correct", "correct", None, None]


def test_nobody_learns_what_matches_without_reading_nor_judges_an_archived_use_case(start):
    server = start(keys=[f"{WRITE}:write", f"{READ}:read"])
    use_case = server.new_use_case()
    server.headers["Authorization"] = f"Bearer {WRITE}"
    sent = put(server, use_case)
    del server.headers["Authorization"]
    path = f"/use-cases/{use_case}"
    fields = {"all": "yes", "until": "9-9999999999999999", "size": "1", "feedback": "correct"}

    server.post("/login", data={"key": WRITE}, allow_redirects=False)
    assert server.get(f"{path}/matching").status_code == 403
    for form in ("feedback", "pin", "delete"):
        reply = server.post(f"{path}/{form}", data=fields)
        assert (reply.status_code, "does not allow" in reply.text) == (400, True)
        assert path not in reply.text or form == "delete"
    server.post("/login", data={"key": READ}, allow_redirects=False)
    for form in ("feedback", "feedback/undo", "pin"):
        assert server.post(f"{path}/{form}", data={"event": sent}).status_code == 403
    server.store.use_cases.archive(use_case)
    server.post("/login", data={"key": WRITE}, allow_redirects=False)
    reply = server.post(f"{path}/feedback", data={"event": sent, "feedback": "correct"})

    assert "takes no feedback" in reply.text
    assert verdict(server, sent) is None
    assert not server.store.get(sent).is_pinned


def test_a_name_is_one_line_of_text_whatever_was_typed(server, use_case):
    sent = put(server, use_case)
    typed = "  Åsa\r\nSet-Cookie: x=1;\0 <b>" + "a" * 200
    fields = {"event": sent, "feedback": "correct", "reviewer": typed}

    reply = server.post(f"/use-cases/{use_case}/feedback", data=fields, allow_redirects=False)

    assert "x" not in server.cookies
    name = server.store.get(sent).feedback_by
    assert name.startswith("Åsa Set-Cookie: x=1; <b>aaa")
    assert len(name) == 100
    page = server.get(f"/events/{sent}").text
    assert reply.status_code == 303
    assert "&lt;b&gt;aaa" in page
    assert "<b>aaa" not in page
    server.cookies.clear()


def test_an_undo_says_what_stays_where_it_was_forwarded(relay):
    server, cloud = relay
    use_case = server.new_use_case()
    sent = [put(server, use_case) for _ in range(3)]
    path = f"/use-cases/{use_case}/feedback"
    said = server.post(path, data={"event": sent, "feedback": "incorrect"}, allow_redirects=False)
    told = dict(pair.split("=") for pair in said.headers["location"].partition("?")[2].split("&"))
    cloud.wait_for_events(6)
    eventually(lambda: "All forwarded" in server.get("/forwarding").text)

    undone = server.post(f"{path}/undo", data=told).text

    assert "3 verdicts undone. 3 already forwarded" in undone
    assert [verdict(server, each) for each in sent] == [None] * 3
    again = server.post(f"{path}/undo", data=told).text
    assert "0 verdicts undone." in again
    for fields in ({}, {"batch": "x", "events": "1"}, {"batch": told["batch"]}):
        assert server.post(f"{path}/undo", data=fields).status_code == 400
