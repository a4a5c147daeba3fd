"""Which error an answer becomes, and what its text says and does not say."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from vision_event_block.delivery.errors import (
    AuthError,
    Fault,
    InternalError,
    NoAnswer,
    NotNow,
    RejectedError,
    TransientError,
    UnknownReply,
    Unreachable,
    VisionEventsError,
)
from vision_event_block.delivery.replies import (
    MAX_EXCERPT_CHARS,
    MAX_RETRY_AFTER_S,
    Answer,
    ApiDeprecation,
    ApiWarning,
    BatchReply,
    CreateReply,
    UploadReply,
    error_for,
    parse_retry_after,
    read_success,
)

ROUTE = "POST /vision-events"


def error_of(status, body=b'{"error": "the API\'s own words"}', **answer):
    return error_for(Answer(status, body, **answer), ROUTE, lambda text: text.replace("s3", "***"))


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TransientError, VisionEventsError),
        (Unreachable, TransientError),
        (NoAnswer, TransientError),
        (NotNow, TransientError),
        (AuthError, VisionEventsError),
        (RejectedError, VisionEventsError),
    ],
)
def test_errors_can_be_caught_at_the_height_one_cares_about(error, kind):
    caught = error("no luck", route=ROUTE)
    assert isinstance(caught, kind)
    assert (str(caught), caught.message) == (f"{ROUTE}: no luck", "no luck")
    assert (caught.route, caught.status) == (ROUTE, None)


def test_every_error_says_whose_fault_it_is_and_whether_to_try_again():
    for kind, fault in (
        (TransientError, Fault.LINK),
        (AuthError, Fault.KEY),
        (RejectedError, Fault.EVENT),
        (InternalError, Fault.INTERNAL),
    ):
        assert kind.fault is fault
        assert kind.may_retry is (fault is not Fault.EVENT)
    caught = InternalError.of(OSError(5, "Input/output error"), "reading an event")
    assert str(caught) == "reading an event: internal error, OSError (Input/output error)"


def test_no_error_means_both_to_try_again_and_not_to():
    kinds = (TransientError, AuthError, RejectedError)
    for error in (Unreachable, NoAnswer, NotNow, AuthError, RejectedError):
        assert sum(issubclass(error, kind) for kind in kinds) == 1


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (NotNow, (407, 408, 425, 429, 500, 502, 503, 504, 507, 511, 529, 599)),
        (AuthError, (401, 403)),
        (RejectedError, (400, 404, 405, 409, 410, 411, 413, 415, 422, 431, 451)),
        (UnknownReply, (300, 301, 302, 303, 304, 307, 308)),
    ],
)
def test_every_status_has_its_error_which_repeats_the_words_of_the_api(kind, statuses):
    for status in statuses:
        error = error_of(status)
        assert type(error) is kind
        assert error.status == status
        assert str(status) in str(error)
        assert "the API's own words" in str(error)


@pytest.mark.parametrize("status", [404, 405])
@pytest.mark.parametrize(
    "body", [b"<html>nginx</html>", b"", b'"Not Found"', b"404 page not found"]
)
def test_a_missing_page_without_the_json_of_the_api_does_not_condemn_the_event(status, body):
    assert type(error_of(status, body)) is UnknownReply


@pytest.mark.parametrize(
    "status", [400, 401, 402, 403, 404, 406, 409, 410, 413, 414, 415, 422, 428, 431, 451]
)
@pytest.mark.parametrize(
    "body",
    [
        b"<html>Blocked by the firewall</html>",
        b"",
        b'{"message": "Forbidden"}',
        b'{"error": {"code": 7}}',
        b'["error"]',
    ],
)
def test_a_verdict_counts_in_the_words_of_the_api_alone(status, body):
    error = error_of(status, body)
    assert type(error) is UnknownReply
    assert error.fault is Fault.LINK
    assert error.status == status


@pytest.mark.parametrize(
    "body", [b'{"detail": "no"}', b'{"detail": [{"loc": ["a"], "msg": "no"}]}']
)
def test_the_words_of_the_event_store_are_its_detail(body):
    def error_of_the_store(status):
        return error_for(Answer(status, body), ROUTE, str, word="detail")

    assert type(error_of_the_store(422)) is RejectedError
    assert type(error_of_the_store(401)) is AuthError
    # Any web framework says so about an address that it does not know.
    assert type(error_of_the_store(404)) is UnknownReply
    assert type(error_of(422, body)) is UnknownReply


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (b"", "no reason given"),
        (b'{"error": ""}', '{"error": ""}'),
        (b'{"error": {"code": 7}}', '{"error": {"code": 7}}'),
        (b"<html>\n\n  <p>down</p>", "<html> <p>down</p>"),
        (b"\xff\xfe", "\ufffd\ufffd"),
        (b"[" * 100_000, "[[["),
        (b'{"error": "line\\nbreak"}', "line break"),
    ],
    ids=["empty", "empty error", "object", "html", "no text", "deep", "line break"],
)
def test_whatever_the_body_is_its_beginning_is_told_on_one_line(body, words):
    assert str(error_of(500, body)).partition("(500): ")[2].startswith(words)


def test_long_words_are_cut():
    words = str(error_of(400, json.dumps({"error": "w" * 9000}).encode())).partition("(400): ")[2]
    assert len(words) == MAX_EXCERPT_CHARS
    assert words.endswith("w…")


@pytest.mark.parametrize(
    "echo",
    [
        b'{"error": "unknown key s3"}',
        b"<p>Authorization: Bearer s3</p>",
        b'{"error": "https://api.invalid/x?api_key=s3-and-more&y=1"}',
        b"w" * (MAX_EXCERPT_CHARS - 1) + b"s3",
        b"http://somebody:s3@proxy.invalid/",
    ],
)
def test_a_body_that_echoes_a_secret_is_repeated_without_it(echo):
    for status in (302, 401, 422, 503):
        assert "s3" not in str(error_of(status, echo))
        assert "s" + "…" not in str(error_of(status, echo))


@pytest.mark.parametrize(
    ("text", "masked"),
    [
        ("see /x?API_KEY=abc&y=1", "see /x?API_KEY=***&y=1"),
        ('"service_secret=abc"', '"service_secret=***"'),
        ("http://somebody:pass@proxy.invalid/", "http://***@proxy.invalid/"),
        ("mail to a@b.invalid", "mail to a@b.invalid"),
    ],
)
def test_secrets_that_nobody_named_are_masked_where_addresses_hold_them(text, masked):
    assert masked in str(error_of(500, text.encode()))


@pytest.mark.parametrize(
    ("header", "wait_s"),
    [
        (None, None),
        ("", None),
        ("soon", None),
        ("1.5", None),
        ("-3", None),
        ("9" * 5000, None),
        ("Sat, 99 Jan 99999 00:00:00 GMT", None),
        ("0", 0.0),
        ("7", 7.0),
        (" 7 ", 7.0),
        ("86400", MAX_RETRY_AFTER_S),
        ("Thu, 01 Jan 2015 00:00:00 GMT", 0.0),
        ("Thu, 01 Jan 2099 00:00:00 GMT", MAX_RETRY_AFTER_S),
    ],
)
def test_retry_after_is_read_in_both_forms_bounded_and_never_trusted(header, wait_s):
    assert parse_retry_after(header) == wait_s


def test_retry_after_as_a_date_counts_from_now():
    in_a_minute = datetime.now(timezone.utc) + timedelta(seconds=60)
    assert 55 < parse_retry_after(format_datetime(in_a_minute, usegmt=True)) <= 60


def test_the_wish_of_the_api_is_in_the_error():
    assert error_of(429, retry_after="7").retry_after_s == 7.0
    assert error_of(302, retry_after="7").retry_after_s == 7.0
    assert error_of(503).retry_after_s is None


@pytest.mark.parametrize("status", [200, 201, 202, 299])
def test_any_success_with_a_json_object_is_one(status):
    assert read_success(Answer(status, b'{"a": 1}')) == {"a": 1}


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"null", b'"ok"', b"{", b"\xff"])
def test_a_success_that_is_no_json_object_is_none(body):
    with pytest.raises(ValueError, match="not the API's JSON"):
        read_success(Answer(200, body))


@pytest.mark.parametrize("reply", [{}, {"sourceId": ""}, {"sourceId": 3}, {"success": False}])
def test_an_upload_without_a_source_id_did_not_succeed(reply):
    with pytest.raises(ValueError, match="sourceId"):
        UploadReply.from_json(reply)


def test_an_upload_needs_no_url():
    assert UploadReply.from_json({"sourceId": "s"}) == UploadReply("s", None)
    assert UploadReply.from_json({"sourceId": "s", "url": "u"}) == UploadReply("s", "u")


@pytest.mark.parametrize(
    "reply",
    [
        {"eventId": "e"},
        {"eventId": "e", "created": True},
        {"created": True},
        {"eventId": "e", "created": True, "warnings": None, "deprecations": {}, "more": [1]},
        {"eventId": "e", "created": 1},
    ],
)
def test_an_event_is_created_if_the_reply_names_it_or_says_so(reply):
    found = CreateReply.from_json(reply, sent="e")
    assert (found.created, found.event_id) == (True, reply.get("eventId"))


@pytest.mark.parametrize(
    ("reply", "why"),
    [
        ({}, "does not say that the event was created"),
        ({"status": "error"}, "does not say that the event was created"),
        ({"success": True}, "does not say that the event was created"),
        ({"warnings": []}, "does not say that the event was created"),
        ({"created": "yes"}, "does not say that the event was created"),
        ({"eventId": "another"}, "about another event"),
        ({"eventId": "another", "created": True}, "about another event"),
        ({"eventId": 7, "created": True}, "about another event"),
        ({"eventId": "e", "created": False}, "nothing was created"),
        ({"created": True, "error": "disk full"}, "reports an error"),
        ({"eventId": "e", "success": False}, "reports an error"),
    ],
)
def test_a_reply_that_does_not_say_that_the_event_was_created_delivers_nothing(reply, why):
    with pytest.raises(ValueError, match=why):
        CreateReply.from_json(reply, sent="e")


def test_what_a_reply_calls_deprecated_is_kept():
    found = CreateReply.from_json({"created": True, "deprecations": ["solution"]}, sent="e")
    assert found.deprecations == (ApiDeprecation("solution is deprecated"),)


@pytest.mark.parametrize(
    ("told", "words"),
    [
        ("solution", "solution is deprecated"),
        ({"path": "solution"}, "solution is deprecated"),
        (
            {"path": ["images", 0, "id"], "message": "use sourceId"},
            "images.0.id is deprecated: use sourceId",
        ),
        ({"message": "use useCaseId"}, "deprecated: use useCaseId"),
        ({"odd": 1}, 'deprecated: {"odd": 1}'),
        (7, "7 is deprecated"),
    ],
)
def test_a_deprecation_of_any_shape_can_be_read(told, words):
    assert str(ApiDeprecation.from_json(told)) == words


@pytest.mark.parametrize(
    ("reply", "created"),
    [
        ({"created": 3}, "abc"),
        ({"created": 3, "eventIds": ["a", "b", "c"]}, "abc"),
        ({"eventIds": ["c", "b", "a"]}, "abc"),
        ({"eventIds": [{"eventId": "a"}, {"eventId": "b"}, {"eventId": "c"}]}, "abc"),
        ({"created": True, "eventIds": ["a", "b"]}, "ab"),
        ({"created": 2, "eventIds": ["a", "b"]}, "ab"),
        ({"created": 3, "eventIds": ["a", "b"]}, "ab"),
        ({"eventIds": ["a", "somebody else's"]}, "a"),
    ],
)
def test_of_a_batch_those_are_created_that_the_reply_names_or_all_if_it_counts_all(reply, created):
    assert BatchReply.from_json(reply, sent=list("abc")).event_ids == tuple(created)


@pytest.mark.parametrize(
    "reply",
    [
        {},
        {"status": "ok"},
        {"created": True},
        {"created": 2},
        {"created": 4},
        {"created": 0, "eventIds": []},
        {"created": 2, "eventIds": ["a", "b", "c"]},
        {"created": False, "eventIds": ["a", "b", "c"]},
        {"created": False},
        {"eventIds": ["x", "y", "z"]},
        {"eventIds": [1, None, {}]},
        {"created": 3, "error": "upstream is down"},
    ],
)
def test_a_batch_reply_that_names_no_event_of_ours_delivers_none(reply):
    with pytest.raises(ValueError, match="it "):
        BatchReply.from_json(reply, sent=list("abc"))


def test_a_success_that_reports_an_error_is_none():
    for parse in (CreateReply.from_json, lambda reply: BatchReply.from_json(reply, sent=["e"])):
        with pytest.raises(ValueError, match="error"):
            parse({"error": "upstream is down"})


@pytest.mark.parametrize(
    ("warning", "sentence"),
    [
        (
            {"type": "any.required", "path": "eventData.feedback", "valueType": "object"},
            "eventData.feedback is missing (any.required)",
        ),
        (
            {"type": "any.only", "path": "eventData.result", "value": "?"},
            "eventData.result is not one of the accepted values (any.only)",
        ),
        (
            {"type": "object.unknown", "path": "eventData.score"},
            "eventData.score is not a known key (object.unknown)",
        ),
        (
            {"type": "string.max", "path": ["images", 0, "label"]},
            "images.0.label was not accepted (string.max)",
        ),
        ({}, "the event was not accepted (warning)"),
        ("label too long", "label too long was not accepted (warning)"),
        (None, "None was not accepted (warning)"),
    ],
)
def test_a_warning_reads_as_a_sentence_whatever_its_shape(warning, sentence):
    assert str(ApiWarning.from_json(warning)) == sentence


def test_a_warning_keeps_the_value_that_was_sent():
    warning = ApiWarning.from_json({"path": "p", "value": [1], "valueType": "object"})
    assert (warning.value, warning.value_type) == ([1], "object")
