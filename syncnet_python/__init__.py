"""Lip-sync analysis of recorded video: the SyncNet pipeline and its bundled relatives.

Conventions that hold in the whole package:

- images are uint8 arrays (height, width, 3) in BGR order, as OpenCV has them;
- boxes are (x1, y1, x2, y2) in pixels, x to the right and y down;
- time is in seconds of presentation time, video is resampled to 25 frames a second and audio to
  16,000 mono int16 samples a second;
- `offset_frames > 0` means that the audio leads the picture (see `results.SyncResult`).
"""
