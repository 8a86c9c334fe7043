"""The process that follows one stream: `python -m service.streams.process`.

It reads its order from standard input, says what it finds on standard output, and ends when
standard input is closed, however that happens. The web process imports nothing of this.
"""

import json
import logging
import os
import signal
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import IO

from service import logs, outgoing
from service.addresses import OutgoingRefused
from service.settings import Settings, from_json
from service.streams.messages import Broken, Order, Wanted
from syncnet_python import profiles
from syncnet_python.assembly import Networks
from syncnet_python.errors import AnalysisFailed, SyncNetError
from syncnet_python.isolation import Decoder
from syncnet_python.tracking import TrackingOptions
from workflows.stream.events import Event
from workflows.stream.following import StreamOptions, as_json, follow
from workflows.stream.scoring import WindowScorer

log = logging.getLogger(__name__)

END_S = 3.0
"""What is in hand when it is told to end may take so long."""


def main(orders: IO[str], out: IO[str]) -> None:
    """Follow the stream that is ordered, until it ends or nobody wants it any more."""
    order = Order.model_validate_json(orders.readline())
    settings = from_json(order.settings)
    logs.setup(settings.log_level, settings.log_format)
    stop = threading.Event()
    threading.Thread(target=_end_with, args=(orders, stop), daemon=True).start()

    def say(event: dict[str, object]) -> None:
        out.write(json.dumps(event) + "\n")
        out.flush()

    try:
        for event in followed(order.wanted, settings, stop):
            say(as_json(event))
    except OutgoingRefused as error:
        say(Broken(code=error.code, message=str(error), advice=error.advice).model_dump())
    except SyncNetError as error:
        say(Broken(code=error.code, message=error.message, advice=error.advice).model_dump())
    except Exception as error:
        # The exception's own text may quote what the stream says: left out of the log.
        where = "".join(traceback.format_tb(error.__traceback__))
        log.error("following a stream broke", extra={"kind": type(error).__name__, "where": where})
        broke = AnalysisFailed("Following the stream broke.")
        say(Broken(code=broke.code, message=broke.message, advice=broke.advice).model_dump())


def followed(wanted: Wanted, settings: Settings, stop: threading.Event) -> Iterator[Event]:
    """What is found out about the stream. Raises as `workflows.stream.following.follow`."""
    networks = Networks(
        settings.model_profile,
        settings.models_dir,
        settings.device,
        settings.precision,
        settings.weights_paths,
    )
    options = StreamOptions(
        **wanted.model_dump(exclude={"url"}),
        kept_pixels=640 * 480 if networks.choice == profiles.BUNDLED else None,
    )
    tracking = TrackingOptions(
        min_track=settings.min_track_frames, min_face_size=settings.min_face_size
    )
    scorer = WindowScorer(networks, tracking, settings.calibration)
    with outgoing.reader(settings.outgoing_allow) as client:
        yield from follow(
            wanted.url, scorer, client=client, read=Decoder().read, options=options, stop=stop
        )


def _end_with(orders: IO[str], stop: threading.Event) -> None:
    """End this process when the other side has closed its end, or died."""
    orders.read()
    stop.set()
    threading.Event().wait(END_S)
    os._exit(0)


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGINT):  # the web process decides when it ends
        signal.signal(number, signal.SIG_IGN)
    said = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # whatever a library prints is no event
    main(sys.stdin, said)
