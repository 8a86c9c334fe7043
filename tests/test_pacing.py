"""Who sends too slowly is cut off; who sends fast enough, or has sent all, never notices."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service import pacing
from service.pacing import Deadlines, PacedInput
from service.request_errors import Malformed, UploadTooSlow


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "WINDOW_S", 0.4)


@contextmanager
def connection(rate: int) -> Iterator[tuple[socket.socket, socket.socket, PacedInput]]:
    """A sender, the other end, and what is read there."""
    sender, receiver = socket.socketpair()
    with sender, receiver, receiver.makefile("rb") as stream:
        environ = {"wsgi.input": stream, "gunicorn.socket": receiver}
        yield sender, receiver, PacedInput(environ, rate)


def everything(stream: PacedInput) -> bytes:
    return b"".join(iter(lambda: stream.read(65536), b""))


@pytest.mark.parametrize("size", [0, 1, 39, 40, 41, 100_000])
def test_what_comes_fast_enough_comes_whole(size: int) -> None:
    with connection(rate=100) as (sender, _, stream):
        content = bytes(range(256)) * (size // 256 + 1)
        sender.sendall(content[:size])
        sender.shutdown(socket.SHUT_WR)
        assert everything(stream) == content[:size]


def test_no_read_asks_for_more_than_a_window_holds() -> None:
    with connection(rate=100) as (sender, _, stream):
        sender.sendall(bytes(1000))
        assert len(stream.read(65536)) == len(stream.read()) == 40


@pytest.mark.parametrize("pause_s", [0.05, 10.0])
def test_who_drips_or_falls_silent_is_cut_off(pause_s: float) -> None:
    ended = threading.Event()

    def drip(sender: socket.socket) -> None:
        while not ended.wait(pause_s):
            try:
                sender.sendall(b"x")
            except OSError:
                return

    with connection(rate=1000) as (sender, receiver, stream):
        sender.sendall(bytes(800))  # two windows' worth at once, and then little
        thread = threading.Thread(target=drip, args=(sender,))
        thread.start()
        try:
            with pytest.raises(UploadTooSlow, match="1000 bytes a second"):
                everything(stream)
            receiver.sendall(b"the answer")  # the other way is still open
            assert sender.recv(100) == b"the answer"
        finally:
            ended.set()
            thread.join()


def test_nobody_holds_a_place_for_hours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each window is fast enough; the whole is not."""
    monkeypatch.setattr(pacing, "WINDOW_S", 0.1)
    monkeypatch.setattr(pacing, "FREE_S", 0.5)
    ended = threading.Event()

    def send(sender: socket.socket) -> None:
        while not ended.wait(0.02):
            try:
                sender.sendall(bytes(100))
            except OSError:
                return

    with connection(rate=1000) as (sender, _, stream):
        thread = threading.Thread(target=send, args=(sender,))
        thread.start()
        try:
            with pytest.raises(UploadTooSlow, match="64000 bytes a second"):
                everything(stream)
        finally:
            ended.set()
            thread.join()


def test_who_is_fast_enough_on_the_whole_has_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "FREE_S", 0.1)
    with connection(rate=1000) as (sender, _, stream):
        sent = threading.Thread(target=sender.sendall, args=(bytes(64_000),))
        sent.start()
        for _ in range(100):
            assert stream.read()
        time.sleep(0.2)
        sent.join()
        sender.shutdown(socket.SHUT_WR)
        everything(stream)


def test_without_a_connection_slowness_is_told_afterwards() -> None:
    class Slow:
        def read(self, size: int) -> bytes:
            time.sleep(0.6)
            return b"x" * size

    with pytest.raises(UploadTooSlow):
        PacedInput({"wsgi.input": Slow()}, 1000).read(10)


def test_a_body_that_breaks_off_is_malformed_and_the_last_of_its_connection() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise EOFError(f"{size} private")

    told: list[str] = []
    one, other = socket.socketpair()
    with one, other:
        environ = {
            "wsgi.input": Broken(),
            "gunicorn.socket": one,
            pacing.CLOSE: lambda: told.append("close"),
        }
        with pytest.raises(Malformed, match="broke off") as caught:
            PacedInput(environ, 1000).read(10)
        one.settimeout(5)
        assert one.recv(1) == b""  # nothing is read any more
    assert told == ["close"]
    assert "private" not in str(caught.value)


def test_an_earlier_deadline_is_noticed_among_later_ones() -> None:
    deadlines = Deadlines()
    (one, other), (third, fourth) = socket.socketpair(), socket.socketpair()
    with one, other, third, fourth:
        with deadlines.within(one, 60.0) as patient, deadlines.within(third, 0.1) as hasty:
            assert third.recv(1) == b""
            assert hasty.is_overdue()
            assert not patient.is_overdue()
        other.sendall(b"x")
        assert one.recv(1) == b"x"


def test_what_was_read_in_time_is_never_shut_afterwards() -> None:
    deadlines = Deadlines()
    one, other = socket.socketpair()
    with one, other:
        for _ in range(3):
            with deadlines.within(one, 0.1):
                pass
        time.sleep(0.3)  # past every deadline that there was
        other.sendall(b"x")
        assert one.recv(1) == b"x"


def test_any_speed_will_do_where_none_is_asked_for() -> None:
    body = object()
    environ = {"wsgi.input": body}
    pacing.pace(environ, 0)
    assert environ["wsgi.input"] is body
