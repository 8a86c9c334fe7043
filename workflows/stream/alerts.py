"""When to tell somebody that a stream's offset has left its band, and telling a webhook."""

import queue
import threading
import time
from collections.abc import Callable, Sequence

from service import webhooks
from service.outgoing import OutgoingRefused
from service.webhooks import DeliveryFailed
from workflows.stream.events import Alert, WindowResult

RETRY_AFTER_S = (2.0, 10.0, 60.0)
"""Seconds between one attempt to deliver an alert and the next."""

_EVENTS = {"out": "stream.out_of_sync", "back": "stream.in_sync"}
_MOST_WAITING = 100  # alerts


class Band:
    """Watches offsets leave a band and come back.

    frames: |offset| up to which all is well; after: windows in a row that it takes. Windows
    without figures or with doubts are no evidence either way.
    """

    def __init__(self, frames: float, after: int) -> None:
        self._frames = frames
        self._after = after
        self._outside = False
        self._contrary: list[WindowResult] = []

    def feed(self, window: WindowResult) -> Alert | None:
        """What has happened with this window, if anything has."""
        if window.offset_frames is None or window.doubts:
            return None
        outside = abs(window.offset_frames) > self._frames
        self._contrary = [*self._contrary, window] if outside != self._outside else []
        if len(self._contrary) < self._after:
            return None
        alert = Alert("out" if outside else "back", tuple(self._contrary))
        self._outside, self._contrary = outside, []
        return alert


def message(stream: str, alert: Alert, begun: float) -> webhooks.Message:
    """What a webhook is told of an alert that has just been raised. stream: the caller's name for
    it; begun: epoch seconds when it was begun to be followed, which tells this time from another.
    """
    event, last = _EVENTS[alert.kind], alert.windows[-1]
    return webhooks.message(
        event,
        time.time(),
        {
            "stream": stream,
            "at_s": last.end_s,
            "offset_frames": last.offset_frames,
            "lag_ms": last.lag_ms,
            "windows": [window.offset_frames for window in alert.windows],
        },
        identity=f"{stream}.{begun}.{event}.{last.number}",
    )


class AlertSender:
    """Tells a webhook of alerts, in order, in a thread of its own: a slow receiver holds up no
    stream.

    stream: as for `message`; on_failure: told why an alert was given up, in that thread.
    At the end of the `with` block one last attempt is made at what waits.
    """

    def __init__(
        self,
        url: str,
        secret: str,
        stream: str,
        allow: Sequence[str] = (),
        *,
        on_failure: Callable[[Exception], None],
        retry_after_s: Sequence[float] = RETRY_AFTER_S,
    ) -> None:
        webhooks.check_url(url, allow)
        webhooks.check_secret(secret)
        self._url, self._secret, self._stream, self._allow = url, secret, stream, tuple(allow)
        self._on_failure = on_failure
        self._retry_after_s = tuple(retry_after_s)
        self._begun = time.time()
        self._waiting: queue.Queue[webhooks.Message | None] = queue.Queue()
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._work, name="alerts", daemon=True)

    def __enter__(self) -> "AlertSender":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self._waiting.put(None)
        self._thread.join(timeout=2 * webhooks.TIMEOUT_S)

    def send(self, alert: Alert) -> None:
        """Returns at once."""
        if self._waiting.qsize() < _MOST_WAITING:
            self._waiting.put(message(self._stream, alert, self._begun))
        else:
            self._on_failure(DeliveryFailed("too many alerts wait for their delivery"))

    def _work(self) -> None:
        while waiting := self._waiting.get():
            self._deliver(waiting)

    def _deliver(self, told: webhooks.Message) -> None:
        for pause_s in (*self._retry_after_s, None):
            last = pause_s is None or self._ending.is_set()
            try:
                webhooks.deliver(self._url, self._secret, told, self._allow)
                return
            except (DeliveryFailed, OutgoingRefused) as error:
                if last or isinstance(error, OutgoingRefused):
                    self._on_failure(error)
                    return
            self._ending.wait(pause_s)
