"""Clips: recordings written, cut out of others, and described, all by exact times."""

from workflows.clip_writer import SUFFIXES, ClipWriter, CodecNames, best_sample_rate
from workflows.cutting import Part, cut, cut_all
from workflows.media_info import MediaInfo, StreamInfo, info

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
