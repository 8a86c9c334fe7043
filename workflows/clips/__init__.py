"""Clips: recordings written, cut out of others, and described, all by exact times."""

from workflows.clips.cutting import Part, cut, cut_all
from workflows.clips.media_info import MediaInfo, StreamInfo, info
from workflows.clips.writer import SUFFIXES, ClipWriter, CodecNames, best_sample_rate

__all__ = [
    "SUFFIXES",
    "ClipWriter",
    "CodecNames",
    "MediaInfo",
    "Part",
    "StreamInfo",
    "best_sample_rate",
    "cut",
    "cut_all",
    "info",
]
