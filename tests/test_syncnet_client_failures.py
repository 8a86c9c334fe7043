"""The Python client, blocking and asynchronous by the same tests, against servers that fail."""

import asyncio
import io
import json
import re
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpx
import pytest
import stream_doubles
from client_doubles import (
    AT_ONCE,
    KINDS,
    RETRY,
    UNKNOWN,
    Opener,
    Rude,
    Script,
    cut,
    event,
    failing,
    hang,
    job_told,
    opening,
    page,
    progress,
    refused,
    said,
    streamed,
    torn,
    verdict_told,
)
from serving import free_port

import syncnet_client
from syncnet_client import (
    AsyncClient,
    Client,
    ConnectionFailed,
    Ended,
    Job,
    NotFound,
    Progress,
    RecordingRefused,
    RequestRefused,
    Retries,
    ServiceError,
    TooManyRequests,
    Unavailable,
    UnexpectedAnswer,
    Verdict,
    WaitTimeout,
    Window,
    plans,
)
from syncnet_client.requests import jobs as jobs_request


@pytest.fixture(params=KINDS)
def opened(request: pytest.FixtureRequest) -> Iterator[Opener]:
    """`opened(url, …)`: a client of either kind, closed after the test."""
    with opening(request.param) as opener:
        yield opener


@pytest.fixture(scope="module")
def told() -> dict[str, Any]:
    return verdict_told()


@pytest.fixture
def rude() -> Iterator[Script]:
    with failing() as script:
        yield script


@pytest.mark.parametrize("failure", ["cut", "torn", "hang"])
def test_a_broken_connection_is_tried_again_with_the_same_key(
    rude: Script, opened: Opener, told: dict[str, Any], tmp_path: Path, failure: str
) -> None:
    fails = {"cut": cut, "torn": torn(told), "hang": hang}[failure]
    rude.replies = [fails, fails, said(told)]
    path = tmp_path / "recording"
    path.write_bytes(b"as it was recorded")
    client = opened(rude.url, retries=AT_ONCE, timeout=0.3 if failure == "hang" else 60)
    assert client.score(path, session_id="visit").raw == told
    assert [(one.method, one.path) for one in rude.seen] == [("POST", "/score")] * 3
    assert len({one.headers["idempotency-key"] for one in rude.seen}) == 1
    assert all(b"as it was recorded" in one.body and b"visit" in one.body for one in rude.seen)
    # Only the first waits on the line: what cut it off would do so again.
    assert [one.headers.get("prefer") for one in rude.seen] == [None, *["respond-async"] * 2]


def test_a_connection_that_stays_broken_is_given_up(rude: Script, opened: Opener) -> None:
    rude.replies = [cut]
    client = opened(rude.url, retries=AT_ONCE)
    for asked in (lambda: client.score(b"x"), client.health, lambda: client.delete(UNKNOWN)):
        rude.seen.clear()
        with pytest.raises(ConnectionFailed) as caught:
            asked()
        assert isinstance(caught.value.__cause__, httpx.RequestError)
        assert len(rude.seen) == 1 + AT_ONCE.times


def test_where_nobody_listens_that_is_said(opened: Opener) -> None:
    with pytest.raises(ConnectionFailed, match="cannot be reached") as caught:
        opened(f"http://127.0.0.1:{free_port()}", retries=AT_ONCE).create_token()
    assert isinstance(caught.value.__cause__, httpx.ConnectError)


def test_what_may_have_been_made_is_not_asked_for_twice(rude: Script, opened: Opener) -> None:
    """A refusal says that it was not."""
    client = opened(rude.url, retries=AT_ONCE)
    rude.replies = [cut]
    for asked in (client.create_token, lambda: client.begin_stream("http://streams.example/x")):
        rude.seen.clear()
        with pytest.raises(ConnectionFailed):
            asked()
        assert len(rude.seen) == 1
    token = {"token": "ut_x", "expires_at": "2026-11-21T10:00:00Z", "uploads": 2}
    rude.replies = [refused(503, "busy", "0"), said(token | {"session_id": None}, 201)]
    assert opened(rude.url, retries=AT_ONCE).create_token(uploads=2).token == "ut_x"
    assert json.loads(rude.seen[-1].body) == {"ttl_seconds": 900, "uploads": 2}


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (429, "rate_limited", TooManyRequests),
        (503, "queue_full", Unavailable),
        (507, "storage_full", Unavailable),
    ],
)
def test_a_refusal_that_goes_by_itself_is_waited_for(
    rude: Script,
    opened: Opener,
    told: dict[str, Any],
    status: int,
    code: str,
    kind: type[ServiceError],
) -> None:
    client = opened(rude.url, retries=Retries(times=2))
    rude.replies = [refused(status, code, "0"), refused(status, code, "0"), said(told)]
    assert client.score(b"x").decision == "ALLOW"
    rude.replies = [refused(status, code, "0")]
    rude.seen.clear()
    with pytest.raises(kind) as caught:
        client.score(b"x")
    assert (caught.value.code, caught.value.status) == (code, status)
    assert caught.value.retry_after == 0
    assert len(rude.seen) == 3


def test_as_long_as_was_asked(rude: Script, opened: Opener, told: dict[str, Any]) -> None:
    rude.replies = [refused(429, "rate_limited", "1"), said(told)]
    begun = time.monotonic()
    assert opened(rude.url).score(b"x").decision == "ALLOW"
    assert time.monotonic() - begun >= 1


@pytest.mark.parametrize("wait", ["61", "100000", "Fri, 21 Nov 2126 10:00:00 GMT"])
def test_nobody_waits_longer_than_was_agreed(rude: Script, opened: Opener, wait: str) -> None:
    rude.replies = [refused(429, "rate_limited", wait)]
    with pytest.raises(TooManyRequests) as caught:
        opened(rude.url).score(b"x")
    assert caught.value.retry_after is not None
    assert caught.value.retry_after > 60
    with pytest.raises(TooManyRequests):
        opened(rude.url, retries=Retries(longest_s=10**10)).score(b"x", timeout=10)
    assert len(rude.seen) == 2


def test_what_does_not_go_by_itself_is_not_asked_again(rude: Script, opened: Opener) -> None:
    rude.replies = [refused(503, "weights_missing")]
    with pytest.raises(Unavailable) as caught:
        opened(rude.url).score(b"x")
    assert (caught.value.code, caught.value.retry_after) == ("weights_missing", None)
    assert len(rude.seen) == 1


def test_a_proxy_before_a_service_that_restarts_is_borne(
    rude: Script, opened: Opener, told: dict[str, Any]
) -> None:
    client = opened(rude.url, retries=AT_ONCE)
    rude.replies = [page(502), page(503), page(504), said(told)]
    assert client.score(b"x").decision == "ALLOW"
    rude.replies = [page(502)]
    with pytest.raises(Unavailable) as caught:
        client.health()
    assert (caught.value.code, caught.value.title) == ("http_502", "Bad Gateway")
    rude.replies = [page(418)]
    with pytest.raises(RequestRefused, match="http_418"):
        client.health()


def test_a_job_in_place_of_a_verdict_is_looked_at_until_it_has_ended(
    rude: Script, opened: Opener, told: dict[str, Any]
) -> None:
    rude.replies = [
        said(job_told("queued"), 202, Retry_After="0"),
        said(job_told("running", stage="decode"), ETag='"1"', Retry_After="0"),
        lambda handler: handler.answer(304, b"", ETag='"1"', Retry_After="0"),
        cut,
        page(502),
        said(job_told("succeeded", result=told, progress=1), ETag='"2"'),
    ]
    assert opened(rude.url, retries=AT_ONCE).score(b"x").raw == told
    first, *looks = rude.seen
    assert "prefer" not in first.headers
    assert {(one.method, one.path) for one in looks} == {("GET", f"/jobs/{UNKNOWN}")}
    assert [one.headers.get("if-none-match") for one in looks] == [None, *['"1"'] * 4]


def test_patience_has_an_end(rude: Script, opened: Opener) -> None:
    client = opened(rude.url, retries=AT_ONCE)
    rude.replies = [hang]
    with pytest.raises(WaitTimeout):
        opened(rude.url, retries=Retries(times=0)).wait(UNKNOWN, timeout=0.1)
    with pytest.raises(WaitTimeout) as caught:
        client.score(b"x", timeout=0.2, idempotency_key="mine")
    assert (caught.value.job_id, caught.value.idempotency_key) == (None, "mine")
    assert isinstance(caught.value, TimeoutError)
    rude.replies = [said(job_told("queued"), 202, Retry_After="1")]
    with pytest.raises(WaitTimeout) as caught:
        client.score(b"x", timeout=0.2, idempotency_key="mine")
    assert (caught.value.job_id, caught.value.idempotency_key) == (UNKNOWN, "mine")
    rude.replies = [said(job_told("running"), Retry_After="1")]
    with pytest.raises(WaitTimeout, match=UNKNOWN) as caught:
        client.wait(UNKNOWN, timeout=0.1)
    assert (caught.value.job_id, caught.value.idempotency_key) == (UNKNOWN, None)
    rude.replies = [streamed(RETRY, event("progress", progress("running")))]
    with pytest.raises(WaitTimeout, match=UNKNOWN):
        list(client.events(UNKNOWN, timeout=0.1))
    with pytest.raises(WaitTimeout):
        client.wait(UNKNOWN, timeout=0)


@pytest.mark.parametrize("asked", ["100000", "9" * 400])
def test_a_service_that_wants_to_be_left_alone_is_looked_at_now_and_then(
    rude: Script,
    opened: Opener,
    told: dict[str, Any],
    asked: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(plans, "LONGEST_S", 0.01)
    done = said(job_told("succeeded", result=told))
    rude.replies = [said(job_told("running"), Retry_After=asked), done]
    assert opened(rude.url).wait(UNKNOWN, timeout=None).raw == told
    later = streamed(f"retry: {asked}000\n\n".encode(), event("progress", progress("running")))
    rude.replies = [later, streamed(event("result", told))]
    assert [type(one) for one in opened(rude.url).events(UNKNOWN)] == [Progress, Verdict]


def test_an_upload_over_a_slow_line_does_not_outlast_patience(
    rude: Script, opened: Opener, tmp_path: Path
) -> None:
    """Each piece arrives in time, and all of them would not."""

    def slow(handler: Rude) -> None:
        while not handler.script.ending.wait(0.02) and handler.rfile.read(65536):
            pass
        handler.close_connection = True

    rude.replies = [slow]
    rude.unread = True
    path = tmp_path / "recording"
    path.write_bytes(bytes(40_000_000))
    client = opened(rude.url, retries=AT_ONCE)
    for method in (client.score, client.submit):
        for source in (path, path.read_bytes()):
            with pytest.raises(WaitTimeout) as caught:
                method(source, timeout=0.3, idempotency_key="mine")
            assert caught.value.idempotency_key == "mine"
    assert len(rude.seen) == 4


def test_progress_is_told_where_it_changes(
    rude: Script, opened: Opener, told: dict[str, Any]
) -> None:
    running = said(job_told("running", stage="decode"), Retry_After="0")
    rude.replies = [running, running, said(job_told("succeeded", result=told))]
    seen: list[Job] = []
    opened(rude.url).wait(UNKNOWN, on_progress=seen.append)
    assert [one.state for one in seen] == ["running", "succeeded"]


def test_progress_may_be_awaited(rude: Script, told: dict[str, Any]) -> None:
    rude.replies = [said(job_told("succeeded", result=told))]
    seen: list[Job] = []

    async def on_progress(job: Job) -> None:
        await asyncio.sleep(0)
        seen.append(job)

    async def main() -> None:
        async with AsyncClient(rude.url) as client:
            await client.wait(UNKNOWN, on_progress=on_progress)

    asyncio.run(main())
    assert [one.state for one in seen] == ["succeeded"]


@pytest.mark.parametrize("code", [200, 503])
def test_readiness_is_an_answer_whatever_its_status(
    rude: Script, opened: Opener, code: int
) -> None:
    client = opened(rude.url, retries=AT_ONCE)
    word = "ready" if code == 200 else "not_ready"
    rude.replies = [page(503), said({"status": word, "reasons": []}, code, Retry_After="9")]
    assert bool(client.ready()) is (code == 200)
    assert [one.path for one in rude.seen] == ["/health/ready"] * 2
    rude.replies = [page(503)]
    with pytest.raises(Unavailable):
        client.ready()
    rude.replies = [said({"status": "not_ready", "reasons": []}, 503)]
    with pytest.raises(Unavailable):
        client.health()


# Events


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_events_that_break_off_go_on(
    rude: Script, opened: Opener, told: dict[str, Any], end: str
) -> None:
    begun, half = progress("running", "decode", 0.1), progress("running", "syncnet", 0.5)
    whole = event("progress", half, end)
    result = event("result", told, end)
    rude.replies = [
        refused(503, "busy", "0"),
        streamed(RETRY, event("progress", begun, end), whole[:30], broken=True),
        cut,
        streamed(RETRY, whole[:20], whole[20:], b": keep-alive\n\n"),  # the service restarts
        streamed(RETRY, whole, event("news", {"of": "a newer service"}, end), result[:2000]),
        streamed(RETRY, result[:1000], result[1000:], event("progress", begun, end)),
    ]
    found = list(opened(rude.url, retries=AT_ONCE).events(UNKNOWN))
    assert found[:2] == [Progress("running", "decode", 0.1), Progress("running", "syncnet", 0.5)]
    (verdict,) = found[2:]
    assert verdict.raw == told
    assert {one.path for one in rude.seen} == {f"/jobs/{UNKNOWN}/events"}
    assert {one.headers["accept"] for one in rude.seen} == {"text/event-stream"}


def test_a_stream_that_is_kept_open_does_not_outlast_patience(rude: Script, opened: Opener) -> None:
    def keep_open(handler: Rude) -> None:
        handler.send_response(200)
        handler.send_header("Content-Type", "text/event-stream")
        handler.send_header("Connection", "close")
        handler.end_headers()
        while not handler.script.ending.wait(0.02):
            handler.wfile.write(b": keep-alive\n\n")

    rude.replies = [keep_open]
    with pytest.raises(WaitTimeout):
        list(opened(rude.url).events(UNKNOWN, timeout=0.2))
    assert len(rude.seen) == 1


def test_events_that_never_come_are_given_up(rude: Script, opened: Opener) -> None:
    rude.replies = [streamed(RETRY, broken=True)]
    client = opened(rude.url, retries=AT_ONCE)
    for follow in (client.events, client.stream_events):
        rude.seen.clear()
        with pytest.raises(ConnectionFailed, match="again and again"):
            list(follow(UNKNOWN))
        assert len(rude.seen) == 1 + AT_ONCE.times


def test_events_that_fall_silent_are_asked_for_again(
    rude: Script, opened: Opener, told: dict[str, Any]
) -> None:
    def silent(handler: Rude) -> None:
        streamed(RETRY, event("progress", progress("running")), broken=True)(handler)
        hang(handler)

    rude.replies = [silent, streamed(RETRY, event("result", told))]
    found = list(opened(rude.url, retries=AT_ONCE, timeout=0.3).events(UNKNOWN))
    assert [type(one) for one in found] == [Progress, Verdict]


def test_a_stream_goes_on_after_the_last_event_that_came(rude: Script, opened: Opener) -> None:
    windows = [stream_doubles.WINDOW | {"number": number} for number in range(2)]
    ended = {"reason": "complete", "message": "", "windows": 2, "end_s": 12}
    second = event("window", windows[1], number=8)
    quiet = streamed(RETRY, b": keep-alive\n\n", broken=True)
    rude.replies = [
        streamed(RETRY, event("window", windows[0], number=7), second[:30], broken=True),
        *[quiet] * (2 * AT_ONCE.times),  # as behind a proxy that ends what lasts
        streamed(RETRY, second, event("news", {"of": "a newer service"}, number=9)),
        streamed(RETRY, event("ended", ended, number=10)),
    ]
    found = list(opened(rude.url, retries=AT_ONCE).stream_events(UNKNOWN))
    assert [type(one) for one in found] == [Window, Window, Ended]
    assert [one.number for one in found[:2]] == [0, 1]
    assert {one.path for one in rude.seen} == {f"/streams/{UNKNOWN}/events"}
    after = [one.headers.get("last-event-id") for one in rude.seen]
    assert after == [None, *["7"] * (2 * AT_ONCE.times + 1), "9"]


def test_patience_with_a_stream_has_an_end(rude: Script, opened: Opener) -> None:
    rude.replies = [streamed(RETRY, event("window", stream_doubles.WINDOW))]
    with pytest.raises(WaitTimeout):
        list(opened(rude.url, retries=AT_ONCE).stream_events(UNKNOWN, timeout=0.1))


# What is sent, and what is no service


def test_who_asks_is_said_and_never_shown(rude: Script, opened: Opener) -> None:
    rude.replies = [page(404)]
    for secret in ({"key": "sk_secret"}, {"token": "ut_secret"}):
        client = opened(f"{rude.url}/under/", **secret)
        with pytest.raises(NotFound) as caught:
            client.job("../../a b")
        (text,) = secret.values()
        assert rude.seen[-1].headers["authorization"] == f"Bearer {text}"
        assert rude.seen[-1].path == "/under/jobs/..%2F..%2Fa%20b"
        shown = repr(client) + repr(vars(client)) + repr(caught.value) + str(caught.value)
        assert text not in shown
    with pytest.raises(NotFound):
        opened(rude.url).health()
    assert "authorization" not in rude.seen[-1].headers
    agent = f"syncnet-client/{syncnet_client.__version__}"
    assert rude.seen[-1].headers["user-agent"] == agent


def test_a_file_name_is_not_told(rude: Script, opened: Opener, tmp_path: Path) -> None:
    path = tmp_path / "somebody's name.webm"
    path.write_bytes(b"x")
    rude.replies = [refused(422, "no_face")]
    with path.open("rb") as file:
        for source in (path, file):
            with pytest.raises(RecordingRefused):
                opened(rude.url).score(source)
    assert not any(b"somebody" in one.body for one in rude.seen)


def test_a_file_is_read_from_where_it_stands(rude: Script, opened: Opener) -> None:
    rude.replies = [refused(429, "rate_limited", "0"), refused(422, "no_face")]
    file = io.BytesIO(b"not this|but this")
    file.seek(len(b"not this|"))
    with pytest.raises(RecordingRefused):
        opened(rude.url).score(file)
    assert all(b"\r\n\r\nbut this\r\n" in one.body for one in rude.seen)
    assert len(rude.seen) == 2


def test_a_file_that_cannot_be_read_is_the_callers_error(opened: Opener, tmp_path: Path) -> None:
    client = opened(f"http://127.0.0.1:{free_port()}")
    with pytest.raises(FileNotFoundError):
        client.score(tmp_path / "none")
    with pytest.raises(TypeError, match="binary"):
        client.score(io.StringIO("text"))


def test_what_is_no_service_is_noticed(rude: Script, opened: Opener, told: dict[str, Any]) -> None:
    client = opened(rude.url)
    without = {name: value for name, value in told.items() if name != "decision"}
    for reply, message in (
        (page(200), "no JSON"),
        (said([]), "no dict"),
        (said(without), "Verdict.decision is missing"),
        (said(told | {"ttl_ms": "soon"}), "Verdict.ttl_ms of the answer is no int"),
        (page(302, Location="/elsewhere"), "redirects"),
    ):
        rude.replies = [reply]
        with pytest.raises(UnexpectedAnswer, match=re.escape(message)):
            client.score(b"x")
    assert {one.path for one in rude.seen} == {"/score"}
    for reply, message in (
        (streamed(event("result", without)), "Verdict.decision is missing"),
        (page(200), "No events"),
    ):
        rude.replies = [reply]
        with pytest.raises(UnexpectedAnswer, match=re.escape(message)):
            list(client.events(UNKNOWN))


def test_a_certificate_that_is_not_trusted_is_not_tried_again(
    opened: Opener, tmp_path: Path
) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(_self_signed())
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    connections = 0

    class Counting(ThreadingHTTPServer):
        daemon_threads = True

        def finish_request(self, request: Any, address: Any) -> None:
            nonlocal connections
            connections += 1
            with pytest.raises(OSError):  # noqa: PT011 - an alert, or a closed connection
                context.wrap_socket(request, server_side=True)

    with Counting(("127.0.0.1", 0), BaseHTTPRequestHandler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            with pytest.raises(ConnectionFailed) as caught:
                opened(f"https://127.0.0.1:{server.server_port}", retries=AT_ONCE).health()
        finally:
            server.shutdown()
            thread.join()
    assert "CERTIFICATE_VERIFY_FAILED" in str(caught.value.__cause__)
    assert connections == 1


def _self_signed() -> bytes:
    """A key and a certificate that nobody trusts."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    return certificate.public_bytes(pem) + key.private_bytes(
        pem, pkcs8, serialization.NoEncryption()
    )


def test_what_cannot_be_asked_is_refused_before_it_is(opened: Opener) -> None:
    client = opened(f"http://127.0.0.1:{free_port()}")
    for no_id in ("", ".", ".."):
        for method in (client.job, client.delete, client.stream, client.end_stream):
            with pytest.raises(ValueError, match="id"):
                method(no_id)
    for key in ("", "ü", "a\nb"):
        with pytest.raises(ValueError, match="printable"):
            client.score(b"x", idempotency_key=key)
    with pytest.raises(ValueError, match="zone"):
        list(client.jobs(since=datetime(2026, 11, 21)))
    with pytest.raises(ValueError, match="negative"):
        Retries(times=-1)
    zoned = datetime.fromisoformat("2026-11-21T12:00:00+02:00")
    assert jobs_request(None, 7, until=zoned).query == {
        "until": "2026-11-21T10:00:00Z",
        "limit": "7",
    }


def test_a_client_of_ones_own_is_used_and_left_open(rude: Script) -> None:
    rude.replies = [page(404)]
    with httpx.Client(headers={"X-Of-Mine": "yes"}) as own:
        with pytest.raises(NotFound), Client(rude.url, http=own) as client:
            client.health()
        assert not own.is_closed

    async def main() -> None:
        async with httpx.AsyncClient(headers={"X-Of-Mine": "yes"}) as own:
            with pytest.raises(NotFound):
                async with AsyncClient(rude.url, http=own) as client:
                    await client.health()
            assert not own.is_closed

    asyncio.run(main())
    assert [one.headers["x-of-mine"] for one in rude.seen] == ["yes", "yes"]


def test_awaiting_can_be_cancelled(rude: Script) -> None:
    rude.replies = [hang]

    async def main() -> None:
        async with AsyncClient(rude.url) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.1):
                    await client.score(b"x")

    asyncio.run(main())
