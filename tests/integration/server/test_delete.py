"""Deletion over a socket: what goes, what is refused, and who may."""

from __future__ import annotations

from contextlib import ExitStack

import pytest

from tests.integration.server.conftest import Running, error_of, event, picture
from tests.waiting import eventually
from vision_event_block.server.http_server import serving
from vision_event_block.server.relay.opening import relaying
from vision_event_block.server.storage import Store

WRITE, READ = "key-for-writing-1", "key-for-reading-1"


def delete(server, use_case, *event_ids, **more):
    body = {"useCaseId": use_case, "eventIds": list(event_ids), **more}
    return server.post("/vision-events/delete", json=body)


def put(server, use_case, **fields):
    sent = event(use_case, **fields)
    assert server.post("/vision-events", json=sent).status_code == 201
    return sent["eventId"]


def ids_of(server, use_case):
    return {each["eventId"] for each in server.events_of(use_case)}


def test_deleted_events_are_gone_and_unknown_ones_are_named(server, use_case):
    first, second, kept = (put(server, use_case) for _ in range(3))

    reply = delete(server, use_case, first, "nowhere", second, first)

    assert reply.status_code == 200
    assert reply.json() == {"deleted": 2, "notFound": ["nowhere"]}
    assert ids_of(server, use_case) == {kept}
    assert server.get(f"/events/{first}").status_code == 404
    again = delete(server, use_case, first, second)
    assert again.json() == {"deleted": 0, "notFound": [first, second]}


def test_feedback_goes_with_its_event_and_totals_follow_at_once(server, use_case):
    judged, kept = put(server, use_case), put(server, use_case)
    data = {"relatedEventId": judged, "feedback": "incorrect"}
    put(server, use_case, eventType="operator_feedback", eventData=data)

    assert delete(server, use_case, judged).json() == {"deleted": 1, "notFound": []}

    assert ids_of(server, use_case) == {kept}
    listed = server.get("/vision-events/use-cases").json()["useCases"]
    assert {each["eventCount"] for each in listed if each["id"] == use_case} == {1}
    assert "1 event<" in server.get(f"/use-cases/{use_case}/charts").text


def test_pictures_go_at_once_if_asked(server, use_case):
    gone, shared = (server.upload(picture()).json()["sourceId"] for _ in range(2))
    first = put(server, use_case, images=[{"sourceId": gone, "inputSourceId": shared}])
    put(server, use_case, images=[{"sourceId": shared}])

    assert delete(server, use_case, first, withPictures=True).json()["deleted"] == 1

    status = {
        each: server.get(f"/vision-events/pictures/{each}").status_code for each in (gone, shared)
    }
    assert status == {gone: 404, shared: 200}


def test_a_thousand_of_the_longest_ids_fit_and_one_more_is_refused(server, use_case):
    ids = [f"{number:04}" + "\N{SNOWMAN}" * 252 for number in range(1000)]

    assert delete(server, use_case, *ids).json() == {"deleted": 0, "notFound": ids}
    words = error_of(delete(server, use_case, *ids, "one more"))
    assert words == "eventIds must be a list of 1 to 1000 event ids"


BAD_DELETIONS = {
    "no use case": ({"useCaseId": None}, "useCaseId"),
    "a use case that is a number": ({"useCaseId": 5}, "useCaseId"),
    "no ids": ({"eventIds": None}, "eventIds"),
    "an empty list": ({"eventIds": []}, "1 to 1000"),
    "an id as text": ({"eventIds": "a"}, "eventIds"),
    "an id that is a number": ({"eventIds": ["a", 5]}, "eventIds"),
    "an unknown field": ({"filters": {}}, "useCaseId, eventIds, withPictures"),
    "pictures as text": ({"withPictures": "yes"}, "withPictures"),
}


@pytest.mark.parametrize("case", BAD_DELETIONS)
def test_a_deletion_that_cannot_be_read_is_refused_and_nothing_goes(server, use_case, case):
    changes, words = BAD_DELETIONS[case]
    sent = put(server, use_case)
    body = {"useCaseId": use_case, "eventIds": [sent], **changes}

    assert words in error_of(server.post("/vision-events/delete", json=body))
    assert ids_of(server, use_case) == {sent}


def test_an_unknown_use_case_is_not_found(server):
    assert error_of(delete(server, "nowhere", "a"), 404)


# On the page


def test_the_page_asks_first_and_then_deletes_and_says_so(server, use_case):
    first, second, kept = (put(server, use_case, eventData={"value": name}) for name in "abc")
    path = f"/use-cases/{use_case}/delete?type=custom"

    question = server.post(path, data={"event": [first, second]})
    assert "Delete 2 events?" in question.text
    assert len(ids_of(server, use_case)) == 3
    done = server.post(path, data={"event": [first, second], "sure": "yes"})

    assert "2 events deleted." in done.text
    assert done.url.endswith(f"/use-cases/{use_case}?type=custom&deleted=2")
    assert ids_of(server, use_case) == {kept}


def test_the_page_deletes_pictures_at_once_where_that_is_checked(server, use_case):
    sources = [server.upload(picture()).json()["sourceId"] for _ in range(2)]
    events = [put(server, use_case, images=[{"sourceId": each}]) for each in sources]
    path = f"/use-cases/{use_case}/delete"

    server.post(path, data={"event": events[0], "sure": "yes", "pictures": "yes"})
    server.post(path, data={"event": events[1], "sure": "yes"})

    assert [server.store.pictures.exists(each) for each in sources] == [False, True]
    assert ids_of(server, use_case) == set()


@pytest.mark.parametrize("chosen", [[], [""], [str(number) for number in range(1001)]], ids=len)
def test_the_page_refuses_to_delete_nothing_or_too_much(server, use_case, chosen):
    sent = put(server, use_case)

    reply = server.post(f"/use-cases/{use_case}/delete", data={"event": chosen, "sure": "yes"})

    assert reply.status_code == 400
    assert "Nothing was deleted" in reply.text
    assert ids_of(server, use_case) == {sent}


def test_a_thousand_events_can_be_selected(server, use_case):
    sent = [event(use_case) for _ in range(1000)]
    for start in range(0, 1000, 100):
        server.post("/vision-events/batch", json={"events": sent[start : start + 100]})
    path = f"/use-cases/{use_case}/delete"
    chosen = [each["eventId"] for each in sent]

    question = server.post(path, data={"event": chosen})
    assert "Delete 1,000 events?" in question.text
    assert "and 976 more events" in question.text
    assert "1,000 events deleted." in server.post(path, data={"event": chosen, "sure": "yes"}).text


def test_an_event_of_another_use_case_is_not_shown_and_stays(server, use_case):
    other = server.new_use_case()
    sent = put(server, other, eventData={"value": "secret words"})
    path = f"/use-cases/{use_case}/delete"

    assert "secret words" not in server.post(path, data={"event": sent}).text
    assert "0 events deleted." in server.post(path, data={"event": sent, "sure": "yes"}).text
    assert ids_of(server, other) == {sent}


def test_the_page_deletes_nothing_by_a_get_from_another_site_or_without_the_scope(start):
    server = start(keys=[f"{WRITE}:write", f"{READ}:read", "key-for-everything"])
    use_case = server.new_use_case()
    server.headers["Authorization"] = f"Bearer {WRITE}"
    sent = put(server, use_case, eventData={"value": "secret words"})
    del server.headers["Authorization"]
    path, sure = f"/use-cases/{use_case}/delete", {"event": sent, "sure": "yes"}

    def as_holder_of(key):
        server.cookies.clear()
        assert server.post("/login", data={"key": key}, allow_redirects=False).status_code == 303

    as_holder_of(READ)
    assert server.post(path, data=sure).status_code == 403
    assert f"{path}?" not in server.get(f"/use-cases/{use_case}").text
    as_holder_of(WRITE)
    assert "secret words" not in server.post(path, data={"event": sent}).text
    as_holder_of("key-for-everything")
    assert f"{path}?" in server.get(f"/use-cases/{use_case}").text
    assert server.get(path, params=sure).status_code in (404, 405)
    for headers in ({"Origin": "https://elsewhere.example"}, {"Sec-Fetch-Site": "cross-site"}):
        assert server.post(path, data=sure, headers=headers).status_code == 403
    server.cookies.clear()
    assert "Sign in" in server.post(path, data=sure).text

    assert server.store.get(sent) is not None


# On a relay


def test_a_relay_does_not_send_what_waits_and_says_what_stays_in_the_cloud(relay):
    server, cloud = relay
    use_case = server.new_use_case()
    sent = put(server, use_case)
    cloud.wait_for_events(1)
    eventually(lambda: "All forwarded" in server.get("/forwarding").text)
    with cloud.refusing():
        first, second, kept = (put(server, use_case) for _ in range(3))
        eventually(lambda: "Last try" in server.get("/forwarding").text)
        reply = delete(server, use_case, sent, first, second).json()
        withdrawn, remote = reply["forwarding"]["withdrawn"], reply["forwarding"]["remote"]
    eventually(lambda: kept in cloud.events)
    eventually(lambda: "All forwarded" in server.get("/forwarding").text)

    assert (reply["deleted"], reply["notFound"]) == (3, [])
    assert withdrawn + remote == 3
    # What was being tried at that very moment counts as sent, and is.
    assert len(cloud.events) == 1 + remote
    path = f"/use-cases/{use_case}/delete"
    words = server.post(path, data={"event": kept, "sure": "yes"}).text
    assert "1 event deleted. 1 already forwarded" in words


def test_a_relay_may_delete_there_as_well(tmp_path):
    with (
        Store.open(tmp_path / "there") as there,
        ExitStack() as cloud,
        Store.open(tmp_path / "here") as here,
        relaying(
            cloud.enter_context(serving(there)),
            here,
            tmp_path / "outbox",
            host="127.0.0.1",
            port=0,
            deletes=True,
        ) as relay,
        serving(here, forwarding=relay) as url,
        Running(url, here) as server,
    ):
        use_case = server.new_use_case()
        there.use_cases.create("the same", id=use_case)
        one, two, kept = (put(server, use_case) for _ in range(3))
        eventually(lambda: all(there.get(each) for each in (one, two, kept)))

        reply = delete(server, use_case, one).json()
        assert reply["forwarding"] == {"withdrawn": 0, "remote": 0, "deleted": 1}
        assert there.get(one) is None

        path = f"/use-cases/{use_case}/delete"
        words = server.post(path, data={"event": two, "sure": "yes"}).text
        assert "1 event deleted. 1 also deleted at the destination." in words
        assert there.get(two) is None

        cloud.close()
        reply = delete(server, use_case, kept).json()
        assert reply["forwarding"] == {"withdrawn": 0, "remote": 1, "deleted": 0}
        assert here.get(kept) is None
