"""Which error an answer becomes, and what its text says and does not say."""

from __future__ import annotations

import json
from datetime import datetime, timedelta, timezone
from email.utils import format_datetime

import pytest

from vision_event_block.delivery.errors import (
    EventTrouble,
    KeyTrouble,
    LinkTrouble,
    NoAnswer,
    NotNow,
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
        (LinkTrouble, VisionEventsError),
        (Unreachable, LinkTrouble),
        (NoAnswer, LinkTrouble),
        (NotNow, LinkTrouble),
        (KeyTrouble, VisionEventsError),
        (EventTrouble, VisionEventsError),
    ],
)
def test_errors_can_be_caught_at_the_height_one_cares_about(error, kind):
    caught = error("no luck", route=ROUTE)
    assert isinstance(caught, kind)
    assert (str(caught), caught.message) == (f"{ROUTE}: no luck", "no luck")
    assert (caught.route, caught.status) == (ROUTE, None)


def test_no_error_means_both_to_try_again_and_not_to():
    kinds = (LinkTrouble, KeyTrouble, EventTrouble)
    for error in (Unreachable, NoAnswer, NotNow, KeyTrouble, EventTrouble):
        assert sum(issubclass(error, kind) for kind in kinds) == 1


@pytest.mark.parametrize(
    ("kind", "statuses"),
    [
        (NotNow, (407, 408, 425, 429, 500, 502, 503, 504, 507, 511, 529, 599)),
        (KeyTrouble, (401, 403)),
        (EventTrouble, (400, 404, 405, 409, 410, 411, 413, 415, 422, 431, 451)),
        (NoAnswer, (300, 301, 302, 303, 304, 307, 308)),
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
    assert type(error_of(status, body)) is NoAnswer


@pytest.mark.parametrize("status", [400, 413, 422])
def test_other_refusals_count_however_they_are_written(status):
    assert type(error_of(status, b"<html>Request Entity Too Large</html>")) is EventTrouble


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
    ("reply", "expected"),
    [
        ({}, CreateReply(None, created=True)),
        ({"eventId": "e"}, CreateReply("e", created=True)),
        ({"eventId": "e", "created": False}, CreateReply("e", created=False)),
        ({"eventId": "e", "warnings": None, "deprecations": {}}, CreateReply("e", created=True)),
        (
            {"deprecations": ["solution"]},
            CreateReply(
                None, created=True, deprecations=(ApiDeprecation("solution is deprecated"),)
            ),
        ),
    ],
)
def test_a_created_event_may_be_answered_in_few_words(reply, expected):
    assert CreateReply.from_json(reply) == expected


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
    ("reply", "created", "event_ids"),
    [
        ({}, 3, ()),
        ({"created": 2}, 2, ()),
        ({"created": True, "eventIds": ["a", "b"]}, 2, ("a", "b")),
        ({"created": 0, "eventIds": []}, 0, ()),
    ],
)
def test_a_batch_counts_what_it_says_or_names_or_else_all(reply, created, event_ids):
    assert BatchReply.from_json(reply, sent=3) == BatchReply(created, event_ids)


def test_a_success_that_reports_an_error_is_none():
    for parse in (CreateReply.from_json, lambda reply: BatchReply.from_json(reply, sent=1)):
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
