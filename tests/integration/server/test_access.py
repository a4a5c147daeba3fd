"""Who gets in: keys, scopes, sessions, names, and pages of other sites."""

from __future__ import annotations

import logging
import re
import socket
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
import requests

from tests.integration.server.conftest import bundle, device_event, event, picture
from vision_event_block.server import login_limit
from vision_event_block.server.app import create_app
from vision_event_block.server.http_server import KeyNeeded, serving
from vision_event_block.server.keys import Keys
from vision_event_block.server.login_limit import FREE_TRIES
from vision_event_block.server.storage import Store

ALL = "key-for-everything"
READ, WRITE, MANAGE = "key-for-reading-1", "key-for-writing-1", "key-for-managing-1"
KEYS = (ALL, f"{READ}:read", f"{WRITE}:write", f"{MANAGE}:manage")


@pytest.fixture
def server_of_its_own(start):
    return start()


@pytest.fixture
def locked(start):
    server = start(keys=KEYS)
    server.use_case = server.new_use_case()
    server.picture_id = server.store.pictures.put(picture()).id
    return server


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


def calls(server):
    """Each route with the key that suffices for it, and its success."""
    use_case, base = server.use_case, "/vision-events"
    archive = bundle({"bundleFormatVersion": 1, **event(use_case)})
    files = {"file": ("a.jpg", picture())}
    return {
        "upload": (WRITE, 201, "POST", f"{base}/upload", {"files": files}),
        "create": (WRITE, 201, "POST", base, {"json": event(use_case)}),
        "batch": (WRITE, 201, "POST", f"{base}/batch", {"json": {"events": [event(use_case)]}}),
        "bundle": (WRITE, 201, "POST", f"{base}/bundle", {"data": archive}),
        "device": (WRITE, 201, "POST", "/v2/events", {"json": device_event(use_case)}),
        "query": (READ, 200, "POST", f"{base}/query", {"json": {"useCaseId": use_case}}),
        "delete": (
            WRITE,
            200,
            "POST",
            f"{base}/delete",
            {"json": {"useCaseId": use_case, "eventIds": ["nothing"]}},
        ),
        "pin": (
            WRITE,
            200,
            "POST",
            f"{base}/pin",
            {"json": {"useCaseId": use_case, "eventIds": ["nothing"]}},
        ),
        "list": (READ, 200, "GET", f"{base}/use-cases", {}),
        "schema": (READ, 200, "GET", f"{base}/custom-metadata-schema/{use_case}", {}),
        "of images": (READ, 200, "GET", f"{base}/image-metadata-schema/{use_case}", {}),
        "picture": (READ, 200, "GET", f"{base}/pictures/{server.picture_id}", {}),
        "new": (MANAGE, 201, "POST", f"{base}/use-cases", {"json": {"name": "New"}}),
        "rename": (MANAGE, 200, "PUT", f"{base}/use-cases/{use_case}", {"json": {"name": "Old"}}),
        "archive": (MANAGE, 200, "POST", f"{base}/use-cases/{use_case}/archive", {}),
        "unarchive": (MANAGE, 200, "POST", f"{base}/use-cases/{use_case}/unarchive", {}),
        "workspace": (None, 200, "GET", "/local", {}),
        "key check": (None, 200, "POST", "/", {}),
    }


def test_each_route_wants_a_key_with_its_scope(locked):
    for name, (scope, success, method, path, body) in calls(locked).items():
        if name == "unarchive":
            locked.store.use_cases.archive(locked.use_case)
        replies = {
            key: locked.request(method, path, headers=bearer(key) if key else {}, **body)
            for key in (None, "no-such-key-here", READ, WRITE, MANAGE)
        }
        for key, reply in replies.items():
            known = key in (READ, WRITE, MANAGE)
            expected = (success if scope in (None, key) else 403) if known else 401
            assert reply.status_code == expected, (name, key, reply.text)
            if expected >= 400:
                words = reply.json()["detail" if name == "device" else "error"]
                assert key is None or key not in words
            if expected == 403:
                needed = {READ: "read", WRITE: "write", MANAGE: "manage"}[scope]
                assert words == "Insufficient permissions for this resource."
                assert f'scope="vision-events:{needed}"' in reply.headers["www-authenticate"]


def test_a_missing_key_is_asked_for(locked):
    assert locked.get("/vision-events/use-cases").headers["www-authenticate"] == "Bearer"


def test_a_browser_without_a_key_is_told_to_sign_in_and_then_gets_what_it_opened(locked):
    path = "/vision-events/use-cases"
    reader = {"Accept": "text/html,*/*;q=0.8"}

    asked = locked.get(f"{path}?api_key=unknown", headers=reader)

    assert asked.status_code == 401
    assert asked.headers["WWW-Authenticate"] == "Bearer"
    assert "The API key is missing. Sign in to open this address" in asked.text
    assert f'name="next" value="{path}"' in asked.text
    entered = locked.post("/login", data={"key": READ, "next": path}, headers=reader)
    assert (entered.status_code, entered.url) == (200, locked.url + path)
    assert "useCases" in entered.json()


def test_signing_in_leads_to_the_address_of_a_use_case_with_a_space_in_its_name(locked):
    locked.store.use_cases.create("Dock 1")
    path = "/vision-events/custom-metadata-schema/Dock%201"

    asked = locked.get(path, headers={"Accept": "text/html"})

    assert f'name="next" value="{path}"' in asked.text
    assert login(locked, READ, path).headers["location"] == path
    assert locked.get(path).json()["fields"] == {}


def test_health_needs_no_key(locked):
    assert locked.get("/health").status_code == 200


def test_a_key_in_the_address_counts_for_bundles_and_the_sdk_only(locked):
    archive = bundle({"bundleFormatVersion": 1, **event(locked.use_case)})
    query = f"?api_key={ALL}"

    assert locked.post(f"/vision-events/bundle{query}", data=archive).status_code == 201
    assert locked.post(f"/{query}").json() == {"workspace": "local"}
    assert locked.get(f"/local{query}").status_code == 200
    assert locked.get(f"/vision-events/use-cases{query}").status_code == 401
    created = locked.post(f"/vision-events{query}", json=event(locked.use_case))
    assert created.status_code == 401


def test_a_key_in_its_own_header_counts_for_the_event_store_only(locked):
    headers = {"X-API-Key": WRITE}

    stored = locked.post("/v2/events", json=device_event(locked.use_case), headers=headers)
    created = locked.post("/vision-events", json=event(locked.use_case), headers=headers)

    assert (stored.status_code, created.status_code) == (201, 401)


def test_a_key_is_in_no_log(locked, caplog):
    with caplog.at_level(logging.DEBUG), caplog.at_level(logging.INFO, "uvicorn.access"):
        locked.post(f"/?api_key={ALL}")
        locked.post("/vision-events/bundle?api_key=wrong-key-here", data=b"")
        locked.get("/vision-events/use-cases", headers=bearer(READ))
        locked.post("/login", data={"key": MANAGE, "next": "/"}, allow_redirects=False)

    lines = [each.getMessage() for each in caplog.records if each.name == "uvicorn.access"]
    assert len(lines) == 4
    ours = [vars(each) for each in caplog.records if not each.name.startswith("urllib3")]
    assert not re.search("api_key=|key-for|wrong-key", str(ours))


# Sessions


def login(server, key, wanted="/docs"):
    return server.post("/login", data={"key": key, "next": wanted}, allow_redirects=False)


def test_a_page_leads_to_the_login_and_back(locked):
    page = locked.get("/docs?part=1", allow_redirects=False)
    assert page.status_code == 303
    assert page.headers["location"] == "/login?next=/docs%3Fpart%3D1"

    reply = login(locked, f" {ALL} ", "/docs?part=1")
    assert (reply.status_code, reply.headers["location"]) == (303, "/docs?part=1")
    assert locked.get("/docs").status_code == 200


@pytest.mark.parametrize(
    ("came_from", "leads_to"),
    [
        ("{url}/use-cases/a%20b?page=2", "/use-cases/a%20b?page=2"),
        ("https://evil.invalid//evil.invalid/x", "/"),
        ("http://[", "/"),
        (None, "/"),
    ],
)
def test_a_form_of_a_session_that_has_ended_leads_to_the_login_and_back_to_its_page(
    locked, came_from, leads_to
):
    headers = {} if came_from is None else {"Referer": came_from.format(url=locked.url)}
    page = locked.post("/use-cases", data={"name": "Dock"}, headers=headers)

    assert "/login?unsaved=1&next=/" in page.url
    assert "You were signed out, so nothing was saved. Sign in and try again." in page.text
    wanted = re.search('name="next" value="(.*?)"', page.text)[1]
    assert login(locked, ALL, wanted).headers["location"] == leads_to


def test_the_cookie_is_not_the_key_and_out_of_reach_of_scripts_and_other_sites(locked):
    cookie = login(locked, ALL).headers["set-cookie"]

    assert ALL not in cookie
    for attribute in ("HttpOnly", "SameSite=strict", "Max-Age=43200", "Path=/"):
        assert attribute in cookie


def test_a_session_may_do_what_its_key_may(locked):
    login(locked, READ)

    assert locked.get("/vision-events/use-cases").status_code == 200
    assert locked.get(f"/vision-events/pictures/{locked.picture_id}").status_code == 200
    assert locked.post("/vision-events/use-cases", json={"name": "New"}).status_code == 403


FORMS = {
    "a use case without a name": (MANAGE, "/use-cases", {"name": " "}),
    "a name that is taken": (MANAGE, "/use-cases", {"name": "Secret line"}),
    "a new name that is taken": (MANAGE, "/use-cases/{case}/rename", {"name": "Secret line"}),
    "a verdict that is none": (WRITE, "/events/seen-1/feedback", {"feedback": "perhaps"}),
}


@pytest.mark.parametrize("case", FORMS)
def test_a_refused_form_shows_nothing_to_a_session_that_may_not_read(locked, case):
    locked.store.use_cases.create("Secret line")
    seen = event(locked.use_case, eventId="seen-1", customMetadata={"note": "secret note"})
    assert locked.post("/vision-events", json=seen, headers=bearer(WRITE)).status_code == 201
    key, path, fields = FORMS[case]
    path = path.format(case=locked.use_case)

    login(locked, key)
    refused = locked.post(path, data=fields)
    login(locked, ALL)
    shown = locked.post(path, data=fields)

    assert (refused.status_code, shown.status_code) == (400, 400)
    secrets = ("secret note", "/vision-events/pictures/", f"/use-cases/{locked.use_case}")
    assert any(each in shown.text for each in secrets)
    assert not any(each in refused.text for each in secrets)


def test_a_wrong_key_opens_nothing(locked):
    reply = login(locked, "a-wrong-key-here", "/docs")

    assert reply.headers["location"] == "/login?failed=1&next=/docs"
    assert "set-cookie" not in reply.headers
    assert locked.get("/docs", allow_redirects=False).status_code == 303


def test_logging_out_ends_the_session_also_for_whoever_kept_the_cookie(locked):
    login(locked, ALL)
    kept = dict(locked.cookies)
    assert locked.get("/docs", allow_redirects=False).status_code == 200

    locked.post("/logout", allow_redirects=False)

    assert not locked.cookies
    assert locked.get("/docs", cookies=kept, allow_redirects=False).status_code == 303
    assert locked.get("/vision-events/use-cases", cookies=kept).status_code == 401


def test_guessing_a_key_is_made_to_wait_by_address_and_stands_in_the_log(
    start, caplog, monkeypatch
):
    # On a busy machine the guesses themselves could take as long as one has to wait.
    monkeypatch.setattr(login_limit, "TRY_EVERY_S", 600.0)
    server = start(keys=KEYS, proxies=["127.0.0.1"])

    def guess(key, address):
        headers = {"X-Forwarded-For": address}
        fields = {"key": key, "next": "/docs"}
        return server.post("/login", data=fields, headers=headers, allow_redirects=False)

    with ThreadPoolExecutor(12) as threads:
        replies = list(threads.map(lambda _: guess("a-wrong-key-here", "192.0.2.7"), range(12)))

    statuses = Counter(reply.status_code for reply in replies)
    assert statuses == {303: FREE_TRIES, 429: 12 - FREE_TRIES}
    late = next(reply for reply in replies if reply.status_code == 429)
    assert 1 <= int(late.headers["retry-after"]) <= 600
    assert f"Wait {late.headers['retry-after']} s" in late.text
    assert guess(ALL, "192.0.2.7").status_code == 429
    assert guess(ALL, "192.0.2.8").headers["location"] == "/docs"
    lines = [each.getMessage() for each in caplog.records if "192.0.2.7" in each.getMessage()]
    assert len(lines) == 2
    assert not any("wrong-key" in line for line in lines)


def test_a_program_with_an_unknown_key_stands_in_the_log_once_a_minute(start, caplog):
    server = start(keys=KEYS, proxies=["127.0.0.1"])
    headers = {**bearer("a-wrong-key-here"), "X-Forwarded-For": "192.0.2.77\x1b[2J"}

    for _ in range(3):
        assert server.get("/vision-events/use-cases", headers=headers).status_code == 401

    lines = [each.getMessage() for each in caplog.records if "192.0.2.77" in each.getMessage()]
    [line] = lines
    assert line.startswith("request refused: missing or unknown API key (this API key is not known")
    assert line.endswith("from 192.0.2.77\\x1b[2J")


SCHEMES = {
    "https behind the proxy": (["127.0.0.1"], "https", True),
    "http behind the proxy": (["127.0.0.1"], "http", False),
    "https behind a proxy that is not trusted": (["192.0.2.1"], "https", False),
}


@pytest.mark.parametrize("case", SCHEMES)
def test_behind_a_proxy_with_tls_the_cookie_stays_within_tls(start, case):
    proxies, scheme, is_secure = SCHEMES[case]
    server = start(keys=KEYS, proxies=proxies)
    headers = {"X-Forwarded-Proto": scheme, "X-Forwarded-For": "192.0.2.9"}

    reply = server.post("/login", data={"key": ALL}, headers=headers, allow_redirects=False)
    uploaded = server.post(
        "/vision-events/upload",
        files={"file": ("a.jpg", picture())},
        headers={**headers, **bearer(ALL)},
    )

    assert ("Secure" in reply.headers["set-cookie"]) is is_secure
    assert uploaded.json()["url"].startswith("https:" if is_secure else "http:")


def test_a_key_that_is_made_while_the_server_runs_locks_it_and_opens_it(server_of_its_own):
    server = server_of_its_own
    assert server.get("/vision-events/use-cases").status_code == 200

    key = server.store.keys.new("line 1", ["read"])

    assert server.get("/vision-events/use-cases").status_code == 401
    assert server.get("/vision-events/use-cases", headers=bearer(key)).status_code == 200
    assert server.post("/vision-events", json={}, headers=bearer(key)).status_code == 403
    assert login(server, key, "/docs").headers["location"] == "/docs"
    assert server.get("/docs").status_code == 200
    server.store.keys.revoke("line 1")
    assert server.get("/docs", allow_redirects=False).status_code == 303
    assert server.get("/vision-events/use-cases", headers=bearer(key)).status_code == 401


def test_a_login_leads_to_no_other_site(locked):
    for wanted in ("https://evil.invalid", "//evil.invalid", "/\\evil.invalid", "/\t/e", "/a\r\nb"):
        assert login(locked, ALL, wanted).headers["location"] == "/", wanted


def test_a_login_without_a_key_is_refused(locked):
    reply = locked.post("/login", data={}, allow_redirects=False)

    assert reply.headers["location"].startswith("/login?failed=1")


# Names and sites


NAMES = {
    "127.0.0.1:{port}": 200,
    "localhost:{port}": 200,
    "LOCALHOST": 200,
    "[::1]:{port}": 200,
    "box.lan": 200,
    "Box.Lan:80": 200,
    "evil.invalid": 403,
    "127.0.0.1.evil.invalid": 403,
    "[": 403,
    "": 403,
    "localhost/x": 403,
    "localhost?x": 403,
    "evil.invalid@localhost": 403,
    "localhost#@evil.invalid": 403,
}


def test_a_server_without_keys_answers_to_its_names_only(start):
    server = start(names=["box.lan"])
    for name, status in NAMES.items():
        host = name.format(port=server.url.rpartition(":")[2])

        reply = server.get("/health", headers={"Host": host})

        assert reply.status_code == status, name
        assert status == 200 or "--allowed-host" in reply.json()["error"]


def test_a_server_with_keys_answers_to_any_name_unless_told(start, tmp_path):
    headers = {"Host": "box.lan"}

    assert start(keys=KEYS).get("/health", headers=headers).status_code == 200
    told = start(keys=KEYS, names=["other.lan"])
    assert told.get("/health", headers=headers).status_code == 403


SITES = {
    "a program": ({}, 201),
    "a page of our own": ({"Origin": "{url}", "Sec-Fetch-Site": "same-origin"}, 201),
    "an address typed in": ({"Sec-Fetch-Site": "none"}, 201),
    "a page of another site": (
        {"Origin": "https://evil.invalid", "Sec-Fetch-Site": "cross-site"},
        403,
    ),
    "a page of another site in an old browser": ({"Origin": "https://evil.invalid"}, 403),
    "a page on another port": ({"Origin": "http://127.0.0.1:1"}, 403),
    "a page on another port in a new browser": ({"Sec-Fetch-Site": "same-site"}, 403),
    "a page without origin": ({"Origin": "null"}, 403),
    "an origin that is none": ({"Origin": "http://["}, 403),
}


@pytest.mark.parametrize("case", SITES)
def test_a_page_of_another_site_changes_nothing(server, use_case, case):
    headers, status = SITES[case]
    headers = {name: value.format(url=server.url) for name, value in headers.items()}

    reply = server.post("/vision-events", json=event(use_case), headers=headers)

    assert reply.status_code == status
    assert len(server.events_of(use_case)) == (status == 201)


def test_no_other_site_is_let_read(server):
    reply = server.get("/vision-events/use-cases", headers={"Origin": "https://evil.invalid"})

    assert not [name for name in reply.headers if name.lower().startswith("access-control")]
    assert reply.headers["cross-origin-resource-policy"] == "same-origin"


@pytest.mark.parametrize("path", ["/health", "/docs", "/nowhere", "/vision-events"])
def test_every_answer_keeps_a_browser_from_being_fooled(server, path):
    headers = server.get(path).headers

    policy = headers["content-security-policy"]
    assert "frame-ancestors 'none'" in policy
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "same-origin"


# Listening


def test_a_server_that_others_reach_does_not_start_without_keys(tmp_path):
    with Store.open(tmp_path) as store:
        for options in (
            *({"host": host} for host in ("0.0.0.0", "::", "192.0.2.1", "box.lan")),
            {"proxies": ["127.0.0.1"]},  # through which others reach it
        ):
            with pytest.raises(KeyNeeded, match="API key"), serving(store, **options):
                pass
            short = Keys([ALL, "fifteen-letters"])
            with pytest.raises(KeyNeeded, match="16"), serving(store, short, **options):
                pass


def test_where_only_this_machine_asks_a_short_key_will_do(tmp_path):
    with Store.open(tmp_path) as store, serving(store, Keys(["fifteen-letters"])) as url:
        assert requests.get(f"{url}/local", timeout=60).status_code == 401


def test_a_key_of_the_database_is_enough_to_start_for_others(tmp_path):
    with Store.open(tmp_path) as store:
        store.keys.new("line 1")
        with serving(store, host="0.0.0.0") as url:
            store.keys.forget("line 1")  # which opens it to nobody while it runs
            assert requests.get(f"{url}/local", timeout=60).status_code == 401


@pytest.mark.parametrize("host", ["localhost", "127.0.0.2", "0.0.0.0", "::1"])
def test_the_address_is_one_that_can_be_called(tmp_path, host):
    if host == "::1" and not socket.has_ipv6:
        pytest.skip("no IPv6 here")
    with (
        Store.open(tmp_path) as store,
        serving(store, Keys([ALL]) if host == "0.0.0.0" else None, host=host) as url,
    ):
        assert requests.get(f"{url}/health", timeout=60).status_code == 200


def test_a_port_that_is_taken_is_an_error_and_leaves_no_thread(tmp_path, server):
    port = int(server.url.rpartition(":")[2])

    with Store.open(tmp_path) as store, pytest.raises(OSError, match="in use"):
        serving(store, port=port).__enter__()


def test_an_application_can_be_made_without_a_socket(tmp_path):
    with Store.open(tmp_path) as store:
        assert create_app(store).openapi()["info"]["title"] == "Vision Events"
