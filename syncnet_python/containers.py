"""Which files are opened at all: the containers, told by their first bytes, and the codecs.

Playlists, concat scripts, session descriptions and pictures, which name other files and addresses
or are no recordings, are refused unread.
"""

from typing import BinaryIO

import av
from av.codec import CodecContext
from av.container import InputContainer

from syncnet_python.errors import NotAVideo

_TS_PACKET = 188  # bytes; each begins with 0x47
HEAD_BYTES = _TS_PACKET + 1

# fmt: off
PICTURE_CODECS = frozenset({
    "av1", "dvvideo", "ffv1", "h263", "h264", "hevc", "libdav1d", "mjpeg", "mpeg1video",
    "mpeg2video", "mpeg4", "mpegvideo", "msmpeg4", "msmpeg4v2", "prores", "rawvideo", "theora",
    "vp8", "vp9",
})
SOUND_CODECS = frozenset({
    "aac", "aac_latm", "ac3", "adpcm_ima_qt", "adpcm_ima_wav", "adpcm_ms", "alac", "amrnb",
    "amrwb", "eac3", "flac", "libopencore_amrnb", "libopencore_amrwb", "libopus", "mp1",
    "mp1float", "mp2", "mp2float", "mp3", "mp3float", "opus", "pcm_alaw", "pcm_bluray", "pcm_dvd",
    "pcm_f32be", "pcm_f32le", "pcm_f64be", "pcm_f64le", "pcm_mulaw", "pcm_s16be", "pcm_s16le",
    "pcm_s24be", "pcm_s24le", "pcm_s32be", "pcm_s32le", "pcm_s8", "pcm_u8", "vorbis",
})
# fmt: on
"""FFmpeg's names of the decoders that may run; of its several hundred others none does."""


def recognised(head: bytes) -> str:
    """FFmpeg's name for the container, told from the file's first `HEAD_BYTES` alone.

    Only these containers are ever opened, and each by its own demuxer. Raises NotAVideo.
    """
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return "matroska"
    if head[:4] == b"RIFF" and head[8:12] == b"AVI ":
        return "avi"
    if head[4:8] in (b"ftyp", b"moov", b"mdat", b"wide", b"free", b"skip"):
        return "mov"
    if head.startswith(b"\x00\x00\x01\xba"):
        return "mpeg"
    if head.startswith(b"\x00\x00\x01\xb3"):
        return "mpegvideo"
    if head[::_TS_PACKET] == b"\x47\x47":
        return "mpegts"
    raise NotAVideo("the file is not a video recording that this service reads")


def opened(file: BinaryIO, frame_pixels: int) -> InputContainer:
    """The container in an open file, at whose start it stands. The file's name is never looked
    at, and nothing that the file names is opened.

    frame_pixels: larger frames than that, and a margin for codecs that pad them, are not decoded
    to find out what the streams are. Raises NotAVideo, av.error.FFmpegError.
    """
    demuxer = recognised(file.read(HEAD_BYTES))
    file.seek(0)
    return av.open(
        file,
        "r",
        format=demuxer,
        options={
            "protocol_whitelist": "file",
            "format_whitelist": demuxer,
            "max_pixels": str(2 * frame_pixels),
            "codec_whitelist": ",".join(sorted(PICTURE_CODECS | SOUND_CODECS)),
        },
        metadata_errors="replace",  # titles in any old encoding are no reason to refuse
    )


def readable(codec: CodecContext | None) -> bool:
    """Whether a stream's codec is known here and on the list."""
    return codec is not None and codec.name in PICTURE_CODECS | SOUND_CODECS
