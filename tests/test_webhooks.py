"""Webhooks, signed and delivered to a real receiver on loopback."""

import base64
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from service.jobs.ended import Ended, message
from service.outgoing import OutgoingRefused
from service.webhooks import (
    DeliveryFailed,
    NotGenuine,
    ReceiverGone,
    check_secret,
    check_url,
    deliver,
    sign,
    verify,
)

# The example that the libraries of Standard Webhooks and Svix are tested with.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
TIMESTAMP = 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {
    "webhook-id": ID,
    "webhook-timestamp": str(TIMESTAMP),
    "webhook-signature": SIGNATURE,
}
OTHER = "whsec_" + base64.b64encode(bytes(range(32))).decode()


JOB = Ended("6f1c2f0e-7c5a-4d6e-9a53-0f6b3b1a2c4d", "succeeded", 1_700_000_000.25, owner="kiosk")
TOLD = message(JOB)


# Signatures


def test_the_published_example_is_signed_and_verified() -> None:
    assert sign(SECRET, ID, TIMESTAMP, BODY) == SIGNATURE
    verify(SECRET, HEADERS, BODY, now=TIMESTAMP)


def test_header_names_have_no_case_and_several_signatures_may_be_given() -> None:
    several = f"v1a,bm90IG91cnM= v1,AAAA nonsense  {SIGNATURE}"
    headers = {name.title(): value for name, value in HEADERS.items()}
    verify(SECRET, headers | {"Webhook-Signature": several}, BODY, now=TIMESTAMP)


@given(place=st.integers(0, len(BODY) - 1), change=st.integers(1, 255))
def test_any_changed_byte_of_the_body_is_noticed(place: int, change: int) -> None:
    changed = bytearray(BODY)
    changed[place] ^= change
    with pytest.raises(NotGenuine):
        verify(SECRET, HEADERS, bytes(changed), now=TIMESTAMP)


@given(st.sampled_from(sorted(HEADERS)), st.text(max_size=60))
def test_any_other_header_is_refused(name: str, value: str) -> None:
    assume(SIGNATURE not in value.split(" ") and value != HEADERS[name])
    with pytest.raises(NotGenuine):
        verify(SECRET, HEADERS | {name: value}, BODY, now=TIMESTAMP)


@given(place=st.integers(0, 10_000), other=st.sampled_from("AZaz09+/=,.-_ "))
@pytest.mark.parametrize("name", sorted(HEADERS))
def test_any_changed_character_of_a_header_is_noticed(name: str, place: int, other: str) -> None:
    value = HEADERS[name]
    place %= len(value)
    changed = value[:place] + other + value[place + 1 :]
    assume(changed != value)
    with pytest.raises(NotGenuine):
        verify(SECRET, HEADERS | {name: changed}, BODY, now=TIMESTAMP)


@pytest.mark.parametrize("missing", sorted(HEADERS))
def test_a_missing_header_is_named(missing: str) -> None:
    headers = {name: value for name, value in HEADERS.items() if name != missing}
    with pytest.raises(NotGenuine, match=missing):
        verify(SECRET, headers, BODY, now=TIMESTAMP)


def test_what_one_secret_signed_another_refuses() -> None:
    with pytest.raises(NotGenuine):
        verify(OTHER, HEADERS, BODY, now=TIMESTAMP)


@pytest.mark.parametrize("shift", [-301, 301, 86_400])
def test_an_old_message_is_refused(shift: int) -> None:
    with pytest.raises(NotGenuine, match="old"):
        verify(SECRET, HEADERS, BODY, now=TIMESTAMP + shift)
    verify(SECRET, HEADERS, BODY, tolerance_s=abs(shift), now=TIMESTAMP + shift)


def test_without_a_time_given_it_is_now() -> None:
    with pytest.raises(NotGenuine, match="old"):
        verify(SECRET, HEADERS, BODY)
    now = int(time.time())
    headers = HEADERS | {
        "webhook-timestamp": str(now),
        "webhook-signature": sign(SECRET, ID, now, BODY),
    }
    verify(SECRET, headers, BODY)


@given(key=st.binary(min_size=24, max_size=64), body=st.binary(), at=st.integers(0, 10**12 - 1))
def test_what_was_signed_is_verified(key: bytes, body: bytes, at: int) -> None:
    secret = "whsec_" + base64.b64encode(key).decode()
    check_secret(secret)
    headers = HEADERS | {
        "webhook-timestamp": str(at),
        "webhook-signature": sign(secret, ID, at, body),
    }
    verify(secret, headers, body, now=at)


@pytest.mark.parametrize(
    "secret",
    [
        "",
        "whsec_",
        SECRET.removeprefix("whsec_"),
        SECRET.upper(),
        f"{SECRET} ",
        f"{SECRET}\n",
        SECRET[:-1],
        "whsec_" + base64.b64encode(bytes(23)).decode(),
        "whsec_" + base64.b64encode(bytes(65)).decode(),
        "whsec_" + base64.urlsafe_b64encode(b"\xff" * 24).decode(),
        "whsec_" + "ü" * 32,
    ],
)
def test_a_secret_of_another_form_is_refused_and_not_repeated(secret: str) -> None:
    with pytest.raises(ValueError, match="24 to 64 bytes") as caught:
        check_secret(secret)
    assert len(secret) < 10 or secret not in str(caught.value)


# What is told


@pytest.mark.parametrize("state", ["succeeded", "failed", "cancelled"])
def test_a_delivery_says_which_job_ended_and_how_and_no_more(state: str) -> None:
    assert json.loads(message(JOB._replace(state=state)).body) == {
        "type": f"job.{state}",
        "timestamp": "2023-11-14T22:13:20.250Z",
        "data": {"job_id": JOB.id},
    }


def test_the_id_belongs_to_the_event() -> None:
    assert message(JOB) == TOLD
    ids = {
        message(JOB._replace(id=job, state=state)).id
        for job in ("a", "b", JOB.id)
        for state in ("succeeded", "failed", "cancelled")
    }
    assert len(ids) == 9
    assert all("." not in message_id for message_id in ids)


@pytest.mark.parametrize("job", [{"state": "running"}, {"state": "expired"}, {"finished_at": None}])
def test_nobody_is_told_of_a_job_that_has_not_ended(job: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="ended"):
        message(JOB._replace(**job))


# Addresses


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/hook",
        "https://user:password@example.org/hook",
        "http://127.0.0.1:8000/hook",
        "https://[::1]/hook",
        "http://2130706433/",
        "https://example.org/" + "x" * 2048,
        "hook",
    ],
)
def test_an_address_that_cannot_be_right_is_refused_at_once(url: str) -> None:
    with pytest.raises(OutgoingRefused):
        check_url(url)


def test_an_address_is_not_looked_up_when_it_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    def getaddrinfo(*_: object, **__: object) -> None:
        pytest.fail("a name was looked up")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    check_url("https://nowhere.example/hook?job=1")
    check_url("http://127.0.0.1:8000/hook", ["127.0.0.1:8000"])


# Deliveries


@dataclass
class Receiver:
    """What it answers, and what it has received: path, headers and body."""

    port: int = 0
    status: int = 204
    location: str | None = None
    stalls: bool = False
    ending: threading.Event = field(default_factory=threading.Event)
    received: list[tuple[str, dict[str, str], bytes]] = field(default_factory=list)

    @property
    def allow(self) -> list[str]:
        return [f"127.0.0.1:{self.port}"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook?tenant=7"


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """The sender leaves before an endless answer ends."""


Start = Callable[..., Receiver]


@pytest.fixture
def start() -> Iterator[Start]:
    """`start(status=…)`: a receiver on loopback until the test ends."""
    running: list[tuple[Receiver, _Server, threading.Thread]] = []

    def make(**behaviour: object) -> Receiver:
        receiver = Receiver(**behaviour)  # type: ignore[arg-type]

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                receiver.received.append((self.path, dict(self.headers), body))
                if receiver.stalls:
                    receiver.ending.wait()
                self.send_response(receiver.status)
                if receiver.location:
                    self.send_header("Location", receiver.location)
                self.end_headers()
                while receiver.status == 200 and not receiver.ending.is_set():
                    self.wfile.write(bytes(65_536))  # nobody asked for it

            def log_message(self, *_: object) -> None:
                pass

        server = _Server(("127.0.0.1", 0), Handler)
        receiver.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        running.append((receiver, server, thread))
        return receiver

    yield make
    for receiver, server, thread in running:
        receiver.ending.set()
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.mark.parametrize("status", [200, 201, 202, 204])
def test_a_receiver_verifies_what_arrives(start: Start, status: int) -> None:
    receiver = start(status=status)
    deliver(receiver.url, OTHER, TOLD, receiver.allow)
    [(path, headers, body)] = receiver.received
    assert path == "/hook?tenant=7"
    assert headers["Content-Type"] == "application/json"
    assert (headers["webhook-id"], body) == (TOLD.id, TOLD.body)
    verify(OTHER, headers, body)
    with pytest.raises(NotGenuine):
        verify(SECRET, headers, body)


def test_another_attempt_is_the_same_message(start: Start) -> None:
    receiver = start(status=503)
    for _ in range(2):
        with pytest.raises(DeliveryFailed):
            deliver(receiver.url, OTHER, TOLD, receiver.allow)
    (_, first, body), (_, second, again) = receiver.received
    assert (first["webhook-id"], body) == (second["webhook-id"], again)


@pytest.mark.parametrize("status", [304, 400, 401, 404, 409, 429, 500, 503])
def test_every_other_status_may_be_tried_again(start: Start, status: int) -> None:
    receiver = start(status=status)
    with pytest.raises(DeliveryFailed, match=str(status)) as caught:
        deliver(receiver.url, OTHER, TOLD, receiver.allow)
    assert "hook" not in str(caught.value)


def test_gone_means_never_again(start: Start) -> None:
    receiver = start(status=410)
    with pytest.raises(ReceiverGone) as caught:
        deliver(receiver.url, OTHER, TOLD, receiver.allow)
    assert isinstance(caught.value, OutgoingRefused)
    assert not isinstance(caught.value, DeliveryFailed)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_a_failure_and_not_followed(start: Start, status: int) -> None:
    other = start()
    receiver = start(status=status, location=other.url)
    with pytest.raises(DeliveryFailed, match=str(status)):
        deliver(receiver.url, OTHER, TOLD, receiver.allow + other.allow)
    assert (len(receiver.received), other.received) == (1, [])


def test_a_receiver_that_does_not_answer_is_left(start: Start) -> None:
    receiver = start(stalls=True)
    with pytest.raises(DeliveryFailed, match="in time"):
        deliver(receiver.url, OTHER, TOLD, receiver.allow, timeout_s=1.0)
    assert len(receiver.received) == 1


def test_a_receiver_that_is_not_there_may_come_back() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))
        entry = f"127.0.0.1:{nobody.getsockname()[1]}"
        with pytest.raises(DeliveryFailed, match="reached") as caught:
            deliver(f"http://{entry}/hook", OTHER, TOLD, [entry])
    assert entry not in str(caught.value)


def test_a_private_receiver_is_refused_unless_allowed(start: Start) -> None:
    receiver = start()
    with pytest.raises(OutgoingRefused):
        deliver(receiver.url, OTHER, TOLD)
    with pytest.raises(OutgoingRefused):
        deliver(
            f"http://good.example:{receiver.port}/hook",
            OTHER,
            TOLD,
            resolve=lambda host, port: ["127.0.0.1"],
        )
    assert receiver.received == []


# The page about it


def test_the_receiver_of_the_page_takes_deliveries_and_nothing_else(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    page = (Path(__file__).resolve().parents[1] / "docs" / "webhooks.md").read_text()
    code = page.split("<!-- receiver -->\n```python\n")[1].split("```")[0]
    monkeypatch.setenv("WEBHOOK_SECRET", OTHER)
    names: dict[str, Any] = {"__name__": "receiver"}
    exec(code, names)
    post = names["app"].test_client().post

    receiver = start()
    deliver(receiver.url, OTHER, TOLD, receiver.allow)
    [(_, headers, body)] = receiver.received
    signed = {name: value for name, value in headers.items() if name != "Host"}
    assert post("/hook", data=body, headers=signed).status_code == 204
    assert post("/hook", data=body + b" ", headers=signed).status_code == 401
    assert post("/hook", data=body).status_code == 401
    old = {"webhook-timestamp": "1", "webhook-signature": sign(OTHER, ID, 1, BODY)}
    assert post("/hook", data=BODY, headers=HEADERS | old).status_code == 400
