"""Whom a request comes from: believed of a proxy that is trusted, and of nobody else."""

from __future__ import annotations

import asyncio

import pytest

from vision_event_block.server.middleware.proxy_headers import BadProxy, ProxyHeaders

CASES = {
    "no proxy": ("192.0.2.9", {}, ("192.0.2.9", "http")),
    "a client that makes it up": (
        "192.0.2.9",
        {"x-forwarded-for": "10.9.9.9", "x-forwarded-proto": "https"},
        ("192.0.2.9", "http"),
    ),
    "the proxy": (
        "127.0.0.1",
        {"x-forwarded-for": "192.0.2.9", "x-forwarded-proto": "https"},
        ("192.0.2.9", "https"),
    ),
    "the proxy, mapped into IPv6": (
        "::ffff:127.0.0.1",
        {"x-forwarded-for": "192.0.2.9"},
        ("192.0.2.9", "http"),
    ),
    "a client that begins the list itself": (
        "127.0.0.1",
        {"x-forwarded-for": "10.9.9.9, 192.0.2.9"},
        ("192.0.2.9", "http"),
    ),
    "two proxies": (
        "127.0.0.1",
        {"x-forwarded-for": "10.9.9.9, 192.0.2.9, 10.1.2.3", "x-forwarded-proto": "http, https"},
        ("192.0.2.9", "https"),
    ),
    "only proxies": (
        "127.0.0.1",
        {"x-forwarded-for": "10.1.2.3, 127.0.0.1"},
        ("10.1.2.3", "http"),
    ),
    "IPv6": ("127.0.0.1", {"x-forwarded-for": "2001:db8::1"}, ("2001:db8::1", "http")),
    "an empty list": ("127.0.0.1", {"x-forwarded-for": ""}, ("127.0.0.1", "http")),
    "another scheme": (
        "127.0.0.1",
        {"x-forwarded-proto": "javascript"},
        ("127.0.0.1", "http"),
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_the_client_is_the_last_address_that_no_trusted_proxy_has(case):
    peer, headers, expected = CASES[case]
    seen = []

    async def app(scope, receive, send):
        seen.append((scope["client"][0], scope["scheme"]))

    scope = {
        "type": "http",
        "client": (peer, 5),
        "scheme": "http",
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    asyncio.run(ProxyHeaders(app, ["127.0.0.1", "10.0.0.0/14"])(scope, None, None))

    assert seen == [expected]


@pytest.mark.parametrize("text", ["nginx", "", "10.0.0.0/99", "127.0.0.1:80"])
def test_what_is_no_proxy_is_named(text):
    with pytest.raises(BadProxy, match="10.0.0.0/8"):
        ProxyHeaders(None, [text])
