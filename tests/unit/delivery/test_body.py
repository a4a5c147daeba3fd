"""How the body of a request leaves: in few calls, and each of them within its time-out."""

from __future__ import annotations

import socket
import threading

import pytest

from vision_event_block.delivery.body import (
    BLOCK_BYTES,
    blocks_of,
    form_body,
    form_field,
    send_all,
)


def form_with(picture):
    return form_body(
        form_field("file", picture, file_name="image.jpg", media_type="image/jpeg"),
        form_field("metadata", b"{}"),
    )


def test_a_form_leaves_in_one_call():
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    with ours, theirs:
        body = form_with(bytes(range(256)) * 300)
        send_all(ours, [memoryview(b"POST / HTTP/1.1\r\n\r\n"), *body])

        # Such a socket gives what one call sent.
        assert theirs.recv(2**20) == b"POST / HTTP/1.1\r\n\r\n" + b"".join(body)


def test_what_a_call_leaves_over_follows():
    ours, theirs = socket.socketpair()
    with ours, theirs:
        for end in (ours, theirs):
            end.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
        ours.settimeout(30)
        pieces = [bytes([number]) * size for number, size in enumerate((7, 0, 300_000, 1, 50_000))]
        sending = threading.Thread(target=send_all, args=(ours, [*map(memoryview, pieces)]))
        sending.start()
        came = b""
        while len(came) < sum(map(len, pieces)):
            came += theirs.recv(1000)
        sending.join(30)

        assert came == b"".join(pieces)


@pytest.mark.parametrize("size", [0, 1, BLOCK_BYTES - 400, BLOCK_BYTES, 3 * BLOCK_BYTES + 5])
def test_what_is_small_shares_a_block(size):
    pieces = [memoryview(b"head"), *form_with(bytes(size))]
    whole = b"".join(pieces)
    blocks = list(blocks_of(pieces))

    assert b"".join(blocks) == whole
    assert len(blocks) == -(-len(whole) // BLOCK_BYTES)
    assert max(map(len, blocks)) <= BLOCK_BYTES
