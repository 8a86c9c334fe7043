"""What playlists say, and which variant is followed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workflows.stream.playlists import (
    Init,
    Key,
    MasterPlaylist,
    MediaPlaylist,
    NotAPlaylist,
    Place,
    Segment,
    StreamUnsupported,
    Variant,
    choose,
    parse,
)

URL = "https://cdn.example/shows/one/list.m3u8?token=1"
BASE = "https://cdn.example/shows/one/"


def media(*lines: str) -> MediaPlaylist:
    found = parse("\n".join(["#EXTM3U", *lines]).encode(), URL)
    assert isinstance(found, MediaPlaylist)
    return found


def master(*lines: str) -> MasterPlaylist:
    found = parse("\n".join(["#EXTM3U", *lines]).encode(), URL)
    assert isinstance(found, MasterPlaylist)
    return found


def test_a_live_playlist() -> None:
    found = media(
        "#EXT-X-TARGETDURATION:6",
        "#EXT-X-MEDIA-SEQUENCE:2680",
        "#EXTINF:5.96,",
        "a.ts?x=1",
        "#EXT-X-DISCONTINUITY",
        "#EXTINF:6,a title",
        "/elsewhere/b.ts",
        "#EXT-X-GAP",
        "#EXTINF:6,",
        "https://other.example/c.ts",
    )
    assert found == MediaPlaylist(
        (
            Segment(2680, Place(f"{BASE}a.ts?x=1"), 5.96, False, False, None, None),
            Segment(
                2681, Place("https://cdn.example/elsewhere/b.ts"), 6.0, True, False, None, None
            ),
            Segment(2682, Place("https://other.example/c.ts"), 6.0, False, True, None, None),
        ),
        target_s=6.0,
        ended=False,
    )


def test_tags_that_say_nothing_here_are_not_read() -> None:
    found = media(
        "#EXT-X-PROGRAM-DATE-TIME:yesterday",
        "#EXT-X-DATERANGE:DURATION=long",
        "#EXT-X-DISCONTINUITY-SEQUENCE:many",
        *("#EXTINF:2,", "a.ts"),
    )
    assert [segment.discontinuity for segment in found.segments] == [False]


def test_a_recorded_playlist_is_over() -> None:
    assert media("#EXTINF:2,", "a.ts", "#EXT-X-ENDLIST").ended
    assert not media("#EXT-X-PLAYLIST-TYPE:EVENT", "#EXTINF:2,", "a.ts").ended
    assert media("#EXT-X-TARGETDURATION:4").segments == ()


def test_without_a_target_the_longest_segment_is_it() -> None:
    assert media("#EXTINF:2,", "a.ts", "#EXTINF:3.5,", "b.ts").target_s == 3.5


def test_parts_follow_each_other_in_their_own_file() -> None:
    found = media(
        *("#EXTINF:2,", "#EXT-X-BYTERANGE:100@50", "a.ts"),
        *("#EXTINF:2,", "#EXT-X-BYTERANGE:70@0", "b.ts"),
        *("#EXTINF:2,", "#EXT-X-BYTERANGE:10", "a.ts"),
    )
    assert [segment.place.part for segment in found.segments] == [(50, 100), (0, 70), (150, 10)]


@pytest.mark.parametrize("part", ["10", "x@1", "0@0", "-5@0", "5@-1", "5@99999999999999999999"])
def test_a_part_that_is_nowhere_is_damage(part: str) -> None:
    with pytest.raises(NotAPlaylist):
        media("#EXTINF:2,", f"#EXT-X-BYTERANGE:{part}", "a.ts")


def test_fragments_have_a_beginning() -> None:
    found = media(
        '#EXT-X-MAP:URI="init.mp4",BYTERANGE="720@0"',
        *("#EXTINF:2,", "a.m4s"),
        '#EXT-X-MAP:URI="init2.mp4"',
        *("#EXTINF:2,", "b.m4s"),
    )
    assert [segment.init for segment in found.segments] == [
        Init(Place(f"{BASE}init.mp4", (0, 720)), None),
        Init(Place(f"{BASE}init2.mp4"), None),
    ]


def test_keys_hold_until_the_next_one() -> None:
    found = media(
        *("#EXTINF:2,", "a.ts"),
        '#EXT-X-KEY:METHOD=AES-128,URI="k?a=1,2",IV=0x0000000000000000000000000000002A',
        *("#EXTINF:2,", "b.ts"),
        *("#EXTINF:2,", "c.ts"),
        '#EXT-X-KEY:METHOD=AES-128,URI="https://keys.example/k",KEYFORMAT="identity"',
        *("#EXTINF:2,", "d.ts"),
        "#EXT-X-KEY:METHOD=NONE",
        *("#EXTINF:2,", "e.ts"),
    )
    first = Key(f"{BASE}k?a=1,2", bytes(15) + b"\x2a")
    assert [segment.key for segment in found.segments] == [
        None,
        first,
        first,
        Key("https://keys.example/k", None),
        None,
    ]


def test_a_beginning_has_the_key_that_stands_before_it() -> None:
    key = '#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0x1'
    clear, sealed = (
        media(*head, "#EXTINF:2,", "a.m4s").segments[0].init
        for head in (['#EXT-X-MAP:URI="i"', key], [key, '#EXT-X-MAP:URI="i"'])
    )
    assert clear is not None
    assert sealed is not None
    assert (clear.key, sealed.key) == (None, Key(f"{BASE}k", bytes(15) + b"\x01"))


@pytest.mark.parametrize(
    ("lines", "named"),
    [
        (['#EXT-X-KEY:METHOD=SAMPLE-AES,URI="k"', "#EXTINF:2,", "a.ts"], "SAMPLE-AES"),
        (['#EXT-X-KEY:METHOD=SAMPLE-AES-CTR,URI="k"', "#EXTINF:2,", "a"], "SAMPLE-AES-CTR"),
        (
            ['#EXT-X-KEY:METHOD=AES-128,URI="k",KEYFORMAT="com.drm"', "#EXTINF:2,", "a"],
            r"com\.drm",
        ),
        (
            ['#EXT-X-KEY:METHOD=AES-128,URI="k"', '#EXT-X-MAP:URI="i"', "#EXTINF:2,", "a"],
            "without an IV",
        ),
        (["#EXT-X-I-FRAMES-ONLY", "#EXTINF:2,", "a.ts"], "single pictures"),
        (['#EXT-X-DEFINE:NAME="x",VALUE="y"', "#EXTINF:2,", "{$x}.ts"], "variables"),
        (["#EXTINF:86400,", "a.ts"], "60 seconds"),
    ],
)
def test_what_cannot_be_followed_is_refused_by_name(lines: list[str], named: str) -> None:
    with pytest.raises(StreamUnsupported, match=named):
        media(*lines)


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"<html>",
        b"\xff\xfe\x00",
        b"#EXTM3U\n#EXTINF:abc,\na.ts",
        b"#EXTM3U\n#EXT-X-TARGETDURATION:x",
        b'#EXTM3U\n#EXT-X-KEY:METHOD=AES-128,URI="k",IV=0xZZ\n#EXTINF:2,\na.ts',
        b"#EXTM3U\n#EXT-X-KEY:METHOD=AES-128\n#EXTINF:2,\na.ts",
        b"#EXTM3U\n#EXT-X-KEY:METHOD\n#EXTINF:2,\na.ts",
        b"#EXTM3U\n#EXT-X-MEDIA-SEQUENCE:-4\n#EXTINF:2,\na.ts",
        b"#EXTM3U\n#EXT-X-STREAM-INF:BANDWIDTH=1",
        b"#EXTM3U\n" + b"#EXTINF:2,\na.ts\n" * 200_000,
    ],
)
def test_what_is_no_playlist_is_refused(body: bytes) -> None:
    with pytest.raises(NotAPlaylist):
        parse(body, URL)


NAMES = """EXTINF EXT-X-KEY EXT-X-MAP EXT-X-BYTERANGE EXT-X-STREAM-INF EXT-X-MEDIA EXT-X-GAP
    EXT-X-MEDIA-SEQUENCE EXT-X-DISCONTINUITY EXT-X-TARGETDURATION EXT-X-ENDLIST EXT-X-SKIP
    EXT-X-DATERANGE EXT-X-CUE-OUT EXT-X-PROGRAM-DATE-TIME EXT-X-I-FRAME-STREAM-INF"""
TAGS = st.sampled_from(NAMES.split())
VALUES = st.text(st.sampled_from("0123456789.,=@:xX-\"'AESURIMTHOD "), max_size=30)


@given(st.lists(st.tuples(st.none() | TAGS, VALUES), max_size=12))
def test_no_text_breaks_the_reader(lines: list[tuple[str | None, str]]) -> None:
    text = "\n".join(f"#{tag}:{value}" if tag else value for tag, value in lines)
    try:
        found = parse(f"#EXTM3U\n{text}".encode(), URL)
    except (NotAPlaylist, StreamUnsupported):
        return
    if isinstance(found, MediaPlaylist):
        assert found.target_s > 0
        assert all(0 <= segment.duration_s <= 60 for segment in found.segments)
    else:
        assert found.variants


def test_a_master_playlist() -> None:
    found = master(
        '#EXT-X-STREAM-INF:BANDWIDTH=1280000,RESOLUTION=640x360,CODECS="avc1.4d401e,mp4a.40.2"',
        "low/index.m3u8",
        '#EXT-X-STREAM-INF:BANDWIDTH=65000,CODECS="mp4a.40.5"',
        "sound.m3u8",
        "#EXT-X-STREAM-INF:BANDWIDTH=2560000",
        "unknown.m3u8",
    )
    assert found.variants == (
        Variant(f"{BASE}low/index.m3u8", 1_280_000, 640, 360, True, True),
        Variant(f"{BASE}sound.m3u8", 65_000, None, None, True, False),
        Variant(f"{BASE}unknown.m3u8", 2_560_000, None, None, True, True),
    )


def test_sound_of_its_own_address_is_not_in_the_segments() -> None:
    apart = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="a",NAME="en",URI="a.m3u8"'
    within = '#EXT-X-MEDIA:TYPE=AUDIO,GROUP-ID="b",NAME="en"'
    words = '#EXT-X-MEDIA:TYPE=SUBTITLES,GROUP-ID="c",NAME="en",URI="c.m3u8"'
    found = master(
        *(apart, within, words),
        *('#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="a"', "1"),
        *('#EXT-X-STREAM-INF:BANDWIDTH=1,AUDIO="b",SUBTITLES="c"', "2"),
    )
    assert [variant.sound for variant in found.variants] == [False, True]
    with pytest.raises(StreamUnsupported, match="apart"):
        choose(found.variants[:1])


def variant(height: int | None, bandwidth: int = 1, *, whole: bool = True) -> Variant:
    return Variant("u", bandwidth, height, height, True, whole)


LADDER = [variant(1080, 9), variant(360, 2), variant(720, 5), variant(480, 4), variant(480, 3)]


@pytest.mark.parametrize(
    ("least", "most", "expected"),
    [
        (480, None, (480, 3)),
        (481, None, (720, 5)),
        (2000, None, (1080, 9)),
        (480, 400, (360, 2)),
        (2000, 720, (720, 5)),
        (1, None, (360, 2)),
        (480, 100, (360, 2)),
    ],
)
def test_the_lowest_variant_that_is_high_enough_is_taken(
    least: int, most: int | None, expected: tuple[int, int]
) -> None:
    chosen = choose(LADDER, least, most)
    assert (chosen.height, chosen.bandwidth) == expected


def test_without_heights_the_first_one_is_taken() -> None:
    first, second = variant(None, 5), variant(None, 1)
    assert choose([variant(720, whole=False), first, second]) is first
    with pytest.raises(StreamUnsupported, match="no picture"):
        choose([variant(None, whole=False)])
