"""Who sends too slowly is cut off; who sends fast enough, or has sent all, never notices."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from service import pacing
from service.pacing import Deadlines, PacedInput
from service.problems import Malformed, UploadTooSlow


@pytest.fixture(autouse=True)
def short_window(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pacing, "WINDOW_S", 0.4)


@contextmanager
def connection(rate: int) -> Iterator[tuple[socket.socket, socket.socket, PacedInput]]:
    """A sender, the other end, and what is read there."""
    sender, receiver = socket.socketpair()
    with sender, receiver, receiver.makefile("rb") as stream:
        yield sender, receiver, PacedInput(stream, receiver, rate)


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


def test_without_a_connection_slowness_is_told_afterwards() -> None:
    class Slow:
        def read(self, size: int) -> bytes:
            time.sleep(0.6)
            return b"x" * size

    with pytest.raises(UploadTooSlow):
        PacedInput(Slow(), None, 1000).read(10)  # type: ignore[arg-type]


def test_a_body_that_breaks_off_is_malformed() -> None:
    class Broken:
        def read(self, size: int) -> bytes:
            raise EOFError(f"{size} private")

    with pytest.raises(Malformed, match="broke off") as caught:
        PacedInput(Broken(), None, 1000).read(10)  # type: ignore[arg-type]
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
