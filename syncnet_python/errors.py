"""Everything that can go wrong on purpose, as one small tree.

    SyncNetError
    ├── RecordingError        the recording itself: the sender can mend it by recording again
    │   ├── NotAVideo         the bytes are no video container we accept
    │   ├── Undecodable       a container, but its streams cannot be decoded
    │   ├── NoVideo           no picture stream
    │   ├── NoAudio           no sound stream
    │   ├── SilentAudio       a sound stream with nothing to hear
    │   ├── NoFace            no face in any frame
    │   ├── TrackTooShort     a face, but not long enough to judge
    │   ├── TooLong           longer than the configured limit
    │   ├── TooLargeFrame     more pixels a frame than the configured limit
    │   ├── TooSmallFrame     so few pixels that no face can be found
    │   ├── TooManyFrames     more frames than any camera takes in the time
    │   ├── TooMuchSound      more sound values than any microphone gives in the time
    │   ├── TooManyStreams    more pictures, sounds and subtitles than a recording has
    │   ├── DecodeTimedOut    decoding took longer than the configured limit
    │   ├── DecoderOverran    decoding needs more memory or processor time than it may have
    │   └── DecoderCrashed    the decoder died of the file, or answered nonsense
    ├── ModelError            ours: the operator can mend it
    │   ├── WeightsMissing    a weights file is not where it should be
    │   │   └── FetchFailed   it could not be downloaded; what has arrived is kept
    │   └── WeightsCorrupt    a weights file does not have the registered hash
    ├── CalibrationError      the operator's calibration: the operator can mend it
    │   ├── CalibrationUnusable   its file cannot be read, or holds what cannot be used
    │   ├── CalibrationMismatch   it was fitted for other networks than those that answer
    │   └── TooFewRecordings  there is too little to learn one from
    ├── DeadlineExceeded      the analysis took longer than it may
    └── AnalysisFailed        the analysis process died or broke; never the sender's fault

`code` is stable and machine-readable. The message says what happened; `advice` says what to do.
Lower libraries' exceptions are translated where those libraries are called (PyAV in `media`,
torch in `weights`), nowhere else.
"""

from typing import ClassVar


class SyncNetError(Exception):
    """Root of the tree.

    code: stable snake_case identifier; advice: one sentence that says what to do about it.
    """

    code: ClassVar[str] = "error"
    advice: ClassVar[str] = ""

    @property
    def message(self) -> str:
        return str(self)


class RecordingError(SyncNetError):
    """The recording cannot be scored as it is."""

    code = "recording"


class NotAVideo(RecordingError):
    code = "unsupported_media"
    advice = "Send a WebM, MP4, MOV, AVI, MKV or MPEG recording."


class Undecodable(RecordingError):
    code = "undecodable"
    advice = "The file is damaged or cut off; record again and wait for the upload to end."


class NoVideo(RecordingError):
    code = "no_video"
    advice = "Record with the camera switched on."


class NoAudio(RecordingError):
    code = "no_audio"
    advice = "Allow the microphone and record again."


class SilentAudio(RecordingError):
    code = "silent_audio"
    advice = "Check that the microphone is not muted, speak aloud and record again."


class NoFace(RecordingError):
    code = "no_face"
    advice = "Face the camera, in good light, with the whole face in view."


class TrackTooShort(RecordingError):
    code = "track_too_short"
    advice = "Keep one face in view for the whole recording, and record a few seconds more."


class TooLong(RecordingError):
    code = "too_long"
    advice = "Send a shorter recording."


class TooLargeFrame(RecordingError):
    code = "too_large_frame"
    advice = "Record at a lower resolution, such as 640x480 or 1280x720."


class TooSmallFrame(RecordingError):
    code = "too_small_frame"
    advice = "Record at a higher resolution, such as 640x480."


class TooManyFrames(RecordingError):
    code = "too_many_frames"
    advice = "Record at 25 or 30 frames a second."


class TooMuchSound(RecordingError):
    code = "too_much_sound"
    advice = "Record the sound in mono or stereo, at 48,000 samples a second."


class TooManyStreams(RecordingError):
    code = "too_many_streams"
    advice = "Send a recording with one picture and one sound."


class DecodeTimedOut(RecordingError):
    code = "decode_timeout"
    advice = "Send a shorter recording, or one of a lower resolution."


class DecoderOverran(RecordingError):
    code = "decoder_overran"
    advice = "Send a shorter recording, or one of a lower resolution."


class DecoderCrashed(RecordingError):
    code = "decoder_crashed"
    advice = "The file is damaged; record again and wait for the upload to end."


class ModelError(SyncNetError):
    """A network cannot be used; nothing is wrong with the recording."""

    code = "model"


class WeightsMissing(ModelError):
    code = "weights_missing"
    advice = "Run `syncnet-service models list`, then `syncnet-service models fetch`."


class FetchFailed(WeightsMissing):
    code = "fetch_failed"
    advice = "Check the connection and run the same command again: it goes on where it stopped."


class WeightsCorrupt(ModelError):
    code = "weights_corrupt"
    advice = "Delete the file and run `syncnet-service models fetch`, then `models verify`."


class CalibrationError(SyncNetError):
    """A calibration cannot be used or made; nothing is wrong with the recording."""

    code = "calibration"


class CalibrationUnusable(CalibrationError):
    code = "calibration_unusable"
    advice = "Point CALIBRATION_FILE at a file that `syncnet-service calibrate` wrote, or unset it."


class CalibrationMismatch(CalibrationError):
    code = "calibration_mismatch"
    advice = "Run `syncnet-service calibrate` again with the present models and settings."


class TooFewRecordings(CalibrationError):
    code = "too_few_recordings"
    advice = "Give more recordings of speaking people, in clear sight and with their sound."


class DeadlineExceeded(SyncNetError):
    code = "timeout"
    advice = "Send a shorter recording, or raise PROCESSING_TIMEOUT_SECONDS."


class AnalysisFailed(SyncNetError):
    code = "analysis_failed"
    advice = "Try again; if it happens again with this file, report it with the request id."
