"""The example of docs/security.md, run: nginx with TLS in front of a server with keys."""

from __future__ import annotations

import os
import re
import shutil
import socket
import subprocess
import time
from pathlib import Path

import pytest
import requests

from tests.integration.server.conftest import event, picture
from tests.ports import free_port
from tests.tools import missing
from vision_event_block.server import login_limit
from vision_event_block.server.login_limit import FREE_TRIES

DOCS = Path(__file__).parents[3] / "docs/security.md"
KEY = "a-key-behind-the-proxy"
NAME = "events.example"
MIB = 2**20


def example():
    """The nginx configuration that the page shows."""
    return re.search(r"```nginx\n(.*?)```", DOCS.read_text(encoding="utf-8"), re.DOTALL)[1]


def certificate(folder):
    pem, key = folder / "cert.pem", folder / "cert.key"
    options = ["-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", f"/CN={NAME}"]
    names = ["-addext", f"subjectAltName=DNS:{NAME},IP:127.0.0.1"]
    done = subprocess.run(
        ["openssl", "req", *options, *names, "-out", pem, "-keyout", key],
        capture_output=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return pem, key


def configuration(folder, port, upstream, pem, key):
    """The example with the places of this test, and what Debian says around it."""
    shown = example()
    for there, here in {
        "listen 443 ssl": f"listen 127.0.0.1:{port} ssl",
        "/etc/ssl/events.example.pem": str(pem),
        "/etc/ssl/private/events.example.key": str(key),
        "http://127.0.0.1:9100": upstream,
    }.items():
        assert shown.count(there) == 1, there
        shown = shown.replace(there, here)
    kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    paths = "".join(f"{kind}_temp_path {folder / kind};\n" for kind in kinds)
    user = "user root;\n" if os.geteuid() == 0 else ""  # who may look into pytest's folder
    return (
        f"{user}daemon off;\nworker_processes 1;\npid {folder / 'pid'};\n"
        f"error_log stderr;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{shown}}}\n"
    )


@pytest.fixture
def behind_nginx(start, tmp_path):
    """A server with a key behind nginx, and a client that comes over TLS."""
    nginx = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if nginx is None or shutil.which("openssl") is None:
        missing("nginx or openssl")
    server = start(keys=[KEY], proxies=["127.0.0.1"])
    folder = tmp_path / "nginx"
    folder.mkdir()
    pem, key = certificate(folder)
    port = free_port()
    file = folder / "nginx.conf"
    file.write_text(configuration(folder, port, server.url, pem, key))
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen([nginx, "-c", file, "-p", folder, "-e", "stderr"], stderr=log)
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        server.url = f"https://127.0.0.1:{port}"
        server.verify = str(pem)
        yield server
    finally:
        process.terminate()
        process.wait(60)


def test_pages_and_clients_come_over_tls_and_are_known_by_their_address(
    behind_nginx, caplog, monkeypatch
):
    # On a busy machine the guesses themselves could take as long as one has to wait.
    monkeypatch.setattr(login_limit, "TRY_EVERY_S", 600.0)
    server = behind_nginx
    use_case = server.new_use_case()
    headers = {"Authorization": f"Bearer {KEY}"}
    large = picture("BMP", (2400, 2400))  # 17 MB, beyond what nginx takes by itself

    uploaded = server.post(
        "/vision-events/upload", files={"file": ("a.bmp", large)}, headers=headers
    )
    assert uploaded.status_code == 201
    assert uploaded.json()["url"].startswith(server.url)
    shown = server.get(uploaded.json()["url"].removeprefix(server.url), headers=headers)
    assert shown.content == large
    created = server.post("/vision-events", json=event(use_case), headers=headers)
    assert created.status_code == 201

    # As a browser sends a form.
    form = {"Origin": server.url, "Sec-Fetch-Site": "same-origin"}
    login = server.post("/login", data={"key": KEY}, headers=form, allow_redirects=False)
    assert login.status_code == 303
    assert "Secure" in login.headers["set-cookie"]
    assert server.get(f"/use-cases/{use_case}").status_code == 200
    assert server.post("/logout", headers=form, allow_redirects=False).status_code == 303

    # Whatever a client says of itself: nginx says who it is.
    spoofed = [
        server.post(
            "/login",
            data={"key": "not-the-key-at-all"},
            headers={**form, "X-Forwarded-For": f"192.0.2.{n}", "X-Forwarded-Proto": "http"},
            allow_redirects=False,
        ).status_code
        for n in range(FREE_TRIES + 1)
    ]
    assert spoofed == [303] * FREE_TRIES + [429]
    assert "192.0.2." not in caplog.text


def test_a_page_of_another_site_is_refused_through_the_proxy_too(behind_nginx):
    headers = {"Origin": "https://evil.invalid", "Sec-Fetch-Site": "cross-site"}

    reply = behind_nginx.post("/login", data={"key": KEY}, headers=headers, allow_redirects=False)

    assert reply.status_code == 403
    with pytest.raises(requests.exceptions.SSLError):
        requests.get(f"{behind_nginx.url}/health", timeout=60)  # of no authority that we know
