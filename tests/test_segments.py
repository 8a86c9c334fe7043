"""Segments, fetched from a real server on loopback, and how a live playlist is followed."""

import threading
from collections.abc import Iterator
from itertools import count, pairwise

import httpx
import pytest
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES128
from cryptography.hazmat.primitives.ciphers.modes import CBC
from cryptography.hazmat.primitives.padding import PKCS7
from hypothesis import given
from hypothesis import strategies as st
from streaming import Answer, Handler, Site, drip, growing, playlist, site

from service.outgoing import OutgoingRefused
from workflows.stream.ahead import Ahead
from workflows.stream.arrivals import Arrived, Item, Lost, Poller, open_source
from workflows.stream.playlists import (
    Init,
    Key,
    NotAPlaylist,
    Place,
    Segment,
    StreamUnavailable,
    StreamUnsupported,
)
from workflows.stream.segments import SegmentFetcher, SegmentLost, decrypt

KEY, IV = bytes(range(16)), bytes(range(100, 116))


@pytest.fixture
def server() -> Iterator[Site]:
    with site() as here:
        yield here


def encrypt(data: bytes, key: bytes, iv: bytes) -> bytes:
    padder, opened = PKCS7(128).padder(), Cipher(AES128(key), CBC(iv)).encryptor()
    padded = padder.update(data) + padder.finalize()
    return opened.update(padded) + opened.finalize()


def segment(
    server: Site,
    path: str = "/0.ts",
    *,
    number: int = 0,
    part: tuple[int, int] | None = None,
    key: Key | None = None,
    init: Init | None = None,
    missing: bool = False,
) -> Segment:
    return Segment(number, Place(server.url(path), part), 2.0, False, missing, key, init)


def load(server: Site, *wanted: Segment, most_bytes: int = 1000, total_s: float = 5) -> list[bytes]:
    """What each is, with what stands before it."""
    with server.client() as client:
        fetcher = SegmentFetcher(client, most_bytes=most_bytes, total_s=total_s)
        loaded = [fetcher.load(one) for one in wanted]
    return [one.init + one.data for one in loaded]


# Segments


def test_a_segment_is_its_bytes(server: Site) -> None:
    server.answers["/0.ts"] = b"abc"
    assert load(server, segment(server)) == [b"abc"]


def test_a_part_of_a_file(server: Site) -> None:
    server.answers["/all.ts"] = bytes(range(200))
    found = load(server, segment(server, "/all.ts", part=(10, 5)))
    assert found == [bytes(range(10, 15))]


def test_a_fragment_gets_its_beginning_which_is_fetched_once(server: Site) -> None:
    server.answers |= {"/init": b"head,", "/0": b"a", "/1": b"b"}
    init = Init(Place(server.url("/init")), None)
    assert load(server, *(segment(server, f"/{n}", init=init) for n in range(2))) == [
        b"head,a",
        b"head,b",
    ]
    assert server.asked.count("/init") == 1


@given(st.binary(max_size=100), st.binary(min_size=16, max_size=16))
def test_decrypting_undoes_encrypting(data: bytes, iv: bytes) -> None:
    assert decrypt(encrypt(data, KEY, iv), KEY, iv) == data


@pytest.mark.parametrize("data", [b"", b"short", encrypt(b"abc", IV, IV)])
def test_what_was_not_encrypted_with_the_key_is_lost(data: bytes) -> None:
    with pytest.raises(SegmentLost, match="decrypted"):
        decrypt(data, KEY, IV)


def test_encrypted_segments_with_and_without_an_iv(server: Site) -> None:
    number = 2680
    server.answers |= {
        "/key": KEY,
        "/0": encrypt(b"first", KEY, IV),
        "/1": encrypt(b"second", KEY, number.to_bytes(16, "big")),
        "/init": encrypt(b"head,", KEY, IV),
    }
    key = Key(server.url("/key"), IV)
    first = segment(server, "/0", key=key, init=Init(Place(server.url("/init")), key))
    second = segment(server, "/1", number=number, key=Key(server.url("/key"), None))
    assert load(server, first, second) == [b"head,first", b"second"]
    assert server.asked.count("/key") == 1


def refuse_once() -> Answer:
    numbers = count()

    def answer(handler: Handler) -> None:
        handler.reply(b"abc", 200 if next(numbers) else 503)

    return answer


def test_a_server_that_fails_once_is_asked_again(server: Site) -> None:
    server.answers["/0.ts"] = refuse_once()
    assert load(server, segment(server)) == [b"abc"]


@pytest.mark.parametrize(
    ("answer", "reason", "asked"),
    [
        (404, "missing", 1),
        (403, "missing", 1),
        (b"", "missing", 1),
        (503, "failed", 2),
        (bytes(1001), "too_large", 1),
        (drip, "failed", 1),
    ],
)
def test_a_segment_that_cannot_be_had(
    server: Site, answer: Answer, reason: str, asked: int
) -> None:
    server.answers["/0.ts"] = answer
    most = 10_000_000 if answer is drip else 1000
    with pytest.raises(SegmentLost) as lost:
        load(server, segment(server), most_bytes=most, total_s=0.5)
    assert lost.value.reason == reason
    assert len(server.asked) == asked


def test_what_the_playlist_calls_missing_is_not_asked_for(server: Site) -> None:
    with pytest.raises(SegmentLost):
        load(server, segment(server, missing=True))
    assert server.asked == []


@pytest.mark.parametrize("key", [b"too short", 404, bytes(2000)])
def test_without_its_key_a_segment_is_lost(server: Site, key: Answer) -> None:
    server.answers |= {"/key": key, "/0.ts": encrypt(b"x", KEY, IV)}
    with pytest.raises(SegmentLost):
        load(server, segment(server, key=Key(server.url("/key"), IV)))


def redirect(to: str) -> Answer:
    return lambda handler: handler.reply(b"", 302, Location=to)


def test_segments_and_keys_lead_to_no_private_address(server: Site) -> None:
    with site() as secret:
        secret.answers["/0.ts"] = b"secret"
        server.answers |= {"/0.ts": redirect(secret.url("/0.ts")), "/1.ts": b"x"}
        server.answers["/2.ts"] = redirect(server.url("/1.ts"))
        for one in (
            segment(server),
            segment(secret),
            segment(server, "/1.ts", key=Key(secret.url("/0.ts"), IV)),
            segment(server, "/1.ts", init=Init(Place(secret.url("/0.ts")), None)),
        ):
            with pytest.raises(OutgoingRefused):
                load(server, one)
        assert load(server, segment(server, "/2.ts")) == [b"x"]
        assert secret.asked == []


# Playlists


def test_a_master_playlist_leads_to_its_variant(server: Site) -> None:
    lines = ["#EXTM3U", "#EXT-X-STREAM-INF:BANDWIDTH=1,RESOLUTION=1280x720", "sub/720.m3u8"]
    server.answers["/m.m3u8"] = "\n".join(lines).encode()
    server.answers["/sub/720.m3u8"] = playlist(["#EXTINF:2,\na.ts"], ended=True)
    with server.client() as client:
        source = open_source(client, server.url("/m.m3u8"))
    assert source.variant is not None
    assert source.variant.height == 720
    assert source.playlist.segments[0].place.url == server.url("/sub/a.ts")


def test_addresses_are_relative_to_where_a_redirect_led(server: Site) -> None:
    server.answers["/live.m3u8"] = redirect("/deep/er/list.m3u8")
    server.answers["/deep/er/list.m3u8"] = playlist(["#EXTINF:2,\na.ts"], ended=True)
    with server.client() as client:
        source = open_source(client, server.url())
    assert source.playlist.segments[0].place.url == server.url("/deep/er/a.ts")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (404, StreamUnavailable),
        (500, StreamUnavailable),
        (b"<html>", NotAPlaylist),
        (bytes(3_000_000), NotAPlaylist),
    ],
)
def test_what_is_no_stream(server: Site, answer: Answer, error: type[Exception]) -> None:
    server.answers["/live.m3u8"] = answer
    with server.client() as client, pytest.raises(error):
        open_source(client, server.url())


def test_a_list_of_lists_of_variants_is_refused(server: Site) -> None:
    server.answers["/live.m3u8"] = b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1\nlive.m3u8"
    with server.client() as client, pytest.raises(NotAPlaylist):
        open_source(client, server.url())


# Following


def entries(number: int, first: int = 0) -> list[str]:
    return [f"#EXTINF:2,\n/{n}.ts" for n in range(first, first + number)]


def follow(
    server: Site,
    *,
    back_s: float = 4,
    patience_s: float = 5,
    stop: threading.Event | None = None,
) -> list[Item]:
    """Everything that comes, until it is over."""
    stop = stop or threading.Event()
    with server.client() as client:
        fetcher = SegmentFetcher(client, most_bytes=1000, total_s=5)
        source = open_source(client, server.url())
        poller = Poller(source, client, fetcher, back_s=back_s, patience_s=patience_s, stop=stop)
        return list(poller.items())


def names(items: list[Item]) -> list[str]:
    return [
        item.loaded.data.decode() if isinstance(item, Arrived) else item.reason for item in items
    ]


def test_a_recorded_stream_is_taken_from_its_beginning(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(5)}
    server.answers["/live.m3u8"] = playlist(entries(5), ended=True)
    assert names(follow(server)) == ["0", "1", "2", "3", "4", "complete"]


@pytest.mark.slow
def test_a_live_stream_is_taken_from_its_end_and_followed(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(8)}
    server.answers["/live.m3u8"] = growing(entries(8), shown=6, window=4)
    assert names(follow(server)) == ["4", "5", "6", "7", "complete"]


def test_a_segment_that_is_missing_does_not_stop_the_rest(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in (0, 2)}
    listed = entries(3)
    listed[1] = f"#EXT-X-DISCONTINUITY\n{listed[1]}"
    server.answers["/live.m3u8"] = playlist(listed, ended=True)
    found = follow(server)
    assert names(found) == ["0", "missing", "2", "complete"]
    assert isinstance(found[1], Lost)
    assert (found[1].duration_s, found[1].discontinuity) == (2.0, True)


def shown_in_turn(*lists: bytes | int) -> Answer:
    """One answer after the other; the last one again and again."""
    numbers = count()

    def answer(handler: Handler) -> None:
        chosen = lists[min(next(numbers), len(lists) - 1)]
        handler.reply(*((chosen,) if isinstance(chosen, bytes) else (b"", chosen)))

    return answer


def test_segments_that_are_gone_too_early_are_told(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(10)}
    server.answers["/live.m3u8"] = shown_in_turn(
        playlist(entries(2), ended=False, target=1),
        playlist(entries(2, 5), ended=True, first=5, target=1),
    )
    found = follow(server)
    assert names(found) == ["0", "1", "late", "5", "6", "complete"]
    assert isinstance(found[2], Lost)
    assert found[2].duration_s == 3.0
    assert isinstance(found[3], Arrived)
    assert found[3].discontinuity


def test_a_sender_that_starts_anew_is_followed_as_another_recording(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(99)}
    server.answers["/live.m3u8"] = shown_in_turn(
        playlist(entries(2, 90), ended=False, first=90, target=1),
        playlist(entries(2), ended=True, target=1),
    )
    found = follow(server)
    assert names(found) == ["90", "91", "0", "1", "complete"]
    assert [item.discontinuity for item in found if isinstance(item, Arrived)] == [
        *(False, False, True, False)
    ]


@pytest.mark.slow
def test_a_playlist_that_is_away_for_a_moment_is_asked_for_again(server: Site) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(4)}
    server.answers["/live.m3u8"] = shown_in_turn(
        playlist(entries(2), ended=False, target=1),
        503,
        b"half a pl",
        playlist(entries(3), ended=True, target=1),
    )
    assert names(follow(server)) == ["0", "1", "2", "complete"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("then", "reason"), [(playlist(entries(2), ended=False, target=1), "stalled"), (503, "failed")]
)
def test_patience_ends(server: Site, then: bytes | int, reason: str) -> None:
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(2)}
    first = playlist(entries(2), ended=False, target=1)
    server.answers["/live.m3u8"] = shown_in_turn(first, then)
    assert names(follow(server, patience_s=0.5)) == ["0", "1", reason]


def test_a_stream_that_becomes_encrypted_otherwise_ends_with_the_reason(server: Site) -> None:
    server.answers |= {f"/{n}.ts": b"x" for n in range(2)}
    sealed = ['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"\n' + one for one in entries(3)]
    server.answers["/live.m3u8"] = shown_in_turn(
        playlist(entries(2), ended=False, target=1), playlist(sealed, ended=False, target=1)
    )
    with pytest.raises(StreamUnsupported, match="SAMPLE-AES"):
        follow(server)


class Clock(threading.Event):
    """Both what stops and the time that is read: waiting takes none, and the time goes on by it."""

    def __init__(self) -> None:
        super().__init__()
        self.now_s = 1000.0

    def monotonic(self) -> float:
        return self.now_s

    def wait(self, timeout: float | None = None) -> bool:
        self.now_s += timeout or 0.0
        return self.is_set()


def test_the_playlist_is_not_asked_for_more_often_than_allowed(
    server: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    """RFC 8216, 6.3.4: a target duration after it was asked for, half of one where nothing was
    new; loading what is new is no reason to wait longer."""
    clock, asked_s = Clock(), []
    lists = shown_in_turn(
        playlist(entries(2), ended=False, target=4),
        *[playlist(entries(3), ended=False, target=4)] * 3,
        playlist(entries(4), ended=True, target=4),
    )

    def answer(handler: Handler) -> None:
        asked_s.append(clock.now_s)
        assert callable(lists)
        lists(handler)

    def slow(handler: Handler) -> None:
        clock.now_s += 0.5
        handler.reply(b"x")

    server.answers |= {f"/{n}.ts": slow for n in range(4)} | {"/live.m3u8": answer}
    monkeypatch.setattr("workflows.stream.arrivals.time", clock)
    assert names(follow(server, patience_s=60, stop=clock)) == ["x"] * 4 + ["complete"]
    assert [after - before for before, after in pairwise(asked_s)] == [4, 4, 2, 2]


# Ahead


def run_ahead(server: Site, *, live: bool, most_s: float, hold: threading.Event) -> list[Item]:
    """Everything, taken only once `hold` is set."""
    stop = threading.Event()
    with server.client() as client:
        fetcher = SegmentFetcher(client, most_bytes=1000, total_s=5)
        source = open_source(client, server.url())
        poller = Poller(source, client, fetcher, back_s=99, patience_s=5, stop=stop)
        with Ahead(poller, live=live, most_s=most_s, most_bytes=10_000, stop=stop) as ahead:
            assert hold.wait(10)
            return list(ahead)


def test_of_a_live_stream_the_oldest_that_wait_are_dropped(server: Site) -> None:
    hold = threading.Event()
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(6)}

    def last(handler: Handler) -> None:
        hold.set()  # it is asked for when all others wait
        handler.reply(b"", 404)

    server.answers["/6.ts"] = last
    server.answers["/live.m3u8"] = playlist(entries(7), ended=True)
    found = run_ahead(server, live=True, most_s=4, hold=hold)
    assert names(found) == ["late", "4", "5", "missing", "complete"]
    assert isinstance(found[0], Lost)
    assert found[0].duration_s == 8.0


def test_a_recorded_stream_waits_until_there_is_room(server: Site) -> None:
    hold = threading.Event()
    server.answers |= {f"/{n}.ts": str(n).encode() for n in range(6)}
    third = server.answers["/2.ts"]

    def answer(handler: Handler) -> None:
        assert isinstance(third, bytes)
        handler.reply(third)
        hold.set()

    server.answers["/2.ts"] = answer
    server.answers["/live.m3u8"] = playlist(entries(6), ended=True)
    assert names(run_ahead(server, live=False, most_s=4, hold=hold)) == [
        *("0", "1", "2", "3", "4", "5", "complete")
    ]


def test_what_goes_wrong_ahead_is_raised_where_it_is_taken(server: Site) -> None:
    server.answers["/live.m3u8"] = playlist(["#EXTINF:2,\nhttp://10.0.0.1/0.ts"], ended=True)
    hold = threading.Event()
    hold.set()
    with pytest.raises(OutgoingRefused):
        run_ahead(server, live=True, most_s=4, hold=hold)


def test_one_who_waits_is_let_go_when_it_is_stopped(server: Site) -> None:
    server.answers["/0.ts"] = drip
    server.answers["/live.m3u8"] = playlist(entries(1), ended=True)
    stop = threading.Event()
    with server.client() as client:
        fetcher = SegmentFetcher(client, most_bytes=10_000_000, total_s=3)
        source = open_source(client, server.url())
        poller = Poller(source, client, fetcher, back_s=4, patience_s=5, stop=stop)
        with Ahead(poller, live=True, most_s=4, most_bytes=10_000, stop=stop) as ahead:
            threading.Timer(0.2, stop.set).start()
            assert names(list(ahead)) == ["stopped"]


def test_httpx_errors_of_a_closed_server_are_no_errors_of_ours() -> None:
    with site() as gone:
        url, client = gone.url(), gone.client()
    with client, pytest.raises(StreamUnavailable) as error:
        open_source(client, url)
    assert not isinstance(error.value, httpx.HTTPError)
