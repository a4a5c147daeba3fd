"""What requests of a route share, and what each of them has for itself."""

from __future__ import annotations

import pytest
import requests

from vision_event_block import __version__
from vision_event_block.delivery.body import json_body
from vision_event_block.delivery.post import Post, Template
from vision_event_block.delivery.secret import Credentials, Secret

URL = "http://api.invalid/vision-events?via=gateway"


class Counted(dict):
    """Headers that know how often they were gone through."""

    readings = 0

    def __iter__(self):
        self.readings += 1
        return super().__iter__()


def post(*args, **options):
    return made(*args, **options).prepared()


def made(template, text=b"{}", key="k", url=URL, headers=None):
    credentials = Credentials({"Authorization": Secret(f"Bearer {key}")})
    return Post(template, url, headers or {}, json_body(text), credentials)


def test_address_and_headers_are_prepared_once_for_as_long_as_they_stay_the_same():
    template, headers = Template(), Counted({"X-Site": "plant 3"})

    prepared = [post(template, headers=headers) for _ in range(3)]

    assert headers.readings == 1
    assert [it.headers["X-Site"] for it in prepared] == ["plant 3"] * 3
    assert [it.url for it in prepared] == [URL] * 3


def test_each_request_has_its_own_body_length_and_credentials():
    template = Template()

    one, other = post(template, b"{}", key="a"), post(template, b'{"n": 1}', key="b")

    assert (one.headers["Content-Length"], other.headers["Content-Length"]) == ("2", "8")
    assert (b"".join(one.body), b"".join(other.body)) == (b"{}", b'{"n": 1}')
    assert one.headers["Authorization"] == "Bearer a"
    assert other.headers["Authorization"] == "Bearer b"
    assert "Authorization" not in template.copy(URL, {}).headers


def test_a_change_of_the_address_or_of_a_header_is_in_the_very_next_request():
    template = Template()
    headers = {"X-Token": "old"}
    post(template, headers=headers)
    headers["X-Token"] = "new"

    assert post(template, headers=headers).headers["X-Token"] == "new"
    assert "X-Token" not in post(template).headers
    assert post(template, url="http://other.invalid/").url == "http://other.invalid/"


def test_an_address_that_is_none_is_refused_each_time():
    template = Template()
    for _ in range(2):
        with pytest.raises(requests.RequestException):
            post(template, url="no address")


def test_the_head_of_a_request_has_all_lines_and_those_of_the_route_are_made_once():
    template, headers = Template(), Counted({"X-Site": "plant 3"})

    heads = [made(template, text, headers=headers).head() for text in (b"{}", b"[1]")]

    assert headers.readings == 1
    request, *lines = heads[0].decode().split("\r\n")
    assert request == "POST /vision-events?via=gateway HTTP/1.1"
    assert lines[-2:] == ["", ""]
    assert set(lines[:-2]) == {
        "Host: api.invalid",
        "Accept-Encoding: identity",
        f"User-Agent: vision-event-block/{__version__}",
        "X-Site: plant 3",
        "Content-Type: application/json",
        "Content-Length: 2",
        "Authorization: Bearer k",
    }
    assert heads[1] == heads[0].replace(b"Length: 2", b"Length: 3")


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://api.invalid:80/a", "api.invalid"),
        ("https://api.invalid:443/a", "api.invalid"),
        ("https://user:word@api.invalid:80/a", "api.invalid:80"),
        ("http://[::1]:9001/a", "[::1]:9001"),
        ("http://bücher.invalid/a", "xn--bcher-kva.invalid"),
    ],
)
def test_the_head_names_the_host_and_no_password_of_the_address(url, host):
    lines = made(Template(), url=url).head().decode().split("\r\n")

    assert f"Host: {host}" in lines
    assert "word" not in "".join(lines)
