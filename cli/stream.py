"""`syncnet-service stream`: the offset of a live or recorded HLS stream, as it goes on."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.live import Live
from rich.markup import escape

from cli.console import (
    FAILED,
    STOPPED,
    Calibration,
    Device,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    chosen_settings,
    describe,
    err,
    out,
    refuse,
)
from service.settings import Settings
from syncnet_python.errors import SyncNetError

if TYPE_CHECKING:
    from workflows.stream.following import Alert, Event, WindowResult


def stream(
    url: Annotated[str, typer.Argument(help="Address of an HLS playlist (.m3u8).")],
    window: Annotated[
        float, typer.Option(help="Seconds that one answer looks at, 2 to 30.")
    ] = 10.0,
    stride: Annotated[float, typer.Option(help="Seconds from one answer to the next.")] = 2.0,
    buffer: Annotated[
        float,
        typer.Option(
            help="Seconds of segments that may wait to be scored. Of a live stream the oldest are "
            "dropped where there are more."
        ),
    ] = 30.0,
    band: Annotated[
        float, typer.Option(help="Frames, either way, that the offset may be off.")
    ] = 3.0,
    alert_after: Annotated[
        int,
        typer.Option(help="Windows in a row outside the band, or inside again, for an alert."),
    ] = 3,
    webhook: Annotated[
        str | None,
        typer.Option(help="Address that is told of alerts; signed with WEBHOOK_SECRET."),
    ] = None,
    min_height: Annotated[
        int,
        typer.Option(
            min=1, help="Of the stream's variants, take the lowest with at least so many lines."
        ),
    ] = 480,
    max_height: Annotated[
        int | None, typer.Option(min=1, help="Take no variant with more lines than that.")
    ] = None,
    patience: Annotated[
        float,
        typer.Option(help="Seconds that a live playlist may stay the same, or away."),
    ] = 60.0,
    allow: Annotated[
        list[str] | None,
        typer.Option(
            help="Host or host:port that may be reached although its address is private, beside "
            "those of OUTGOING_ALLOW. May be given several times."
        ),
    ] = None,
    as_json: Annotated[
        bool,
        typer.Option("--json", help="Print one JSON object a line for everything that happens."),
    ] = False,
    network: Network = None,
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    calibration: Calibration = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
) -> None:
    """Follow an HLS stream and print its lip-sync offset, window by window.

    Private addresses are refused unless they are allowed. Ends with the stream, or with Ctrl-C.
    """
    allow = allow or []
    settings = _settings(
        allow,
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        calibration_file=calibration,
        min_track_frames=min_track,
        min_face_size=min_face_size,
    )
    from service.outgoing import OutgoingRefused, reader
    from syncnet_python.assembly import Networks
    from syncnet_python.isolation import Decoder
    from syncnet_python.tracking import TrackingOptions
    from workflows.stream.following import Alert, Ended, StreamOptions, WindowResult, follow
    from workflows.stream.scoring import WindowScorer

    networks = Networks(
        settings.model_profile,
        settings.models_dir,
        settings.device,
        settings.precision,
        settings.weights_paths,
        network=network,
    )
    try:
        options = StreamOptions(
            window_s=window,
            stride_s=stride,
            buffer_s=max(buffer, window),
            min_height=min_height,
            max_height=max_height,
            band_frames=band,
            alert_after=alert_after,
            patience_s=patience,
            kept_pixels=kept_pixels(networks),
        )
    except ValueError as error:
        refuse(f"{error}.")
    tracking = TrackingOptions(
        min_track=settings.min_track_frames, min_face_size=settings.min_face_size
    )
    score = WindowScorer(networks, tracking, settings.calibration)
    with err.status("Loading the networks"):
        score.preload()
    answered = 0
    ended: Ended | None = None
    with contextlib.ExitStack() as stack:
        show = stack.enter_context(_json() if as_json else _lines())
        try:
            tell = stack.enter_context(_webhook(webhook, url, settings))
            client = stack.enter_context(reader(settings.outgoing_allow))
            decoder = stack.enter_context(Decoder())
            events = follow(url, score, client=client, read=decoder.read, options=options)
            for event in stack.enter_context(contextlib.closing(events)):
                show(event)
                answered += isinstance(event, WindowResult) and event.error is None
                if isinstance(event, Alert):
                    tell(event)
                ended = event if isinstance(event, Ended) else ended
        except OutgoingRefused as refused:
            said = {"code": refused.code, "message": str(refused), "advice": refused.advice}
            if as_json:
                print(json.dumps({"url": url, "error": said}))
            advice = f"{refused.advice.removesuffix('.')}, or you with --allow."
            err.print(f"[bold red]error:[/] {escape(str(refused))} {advice}", soft_wrap=True)
            raise typer.Exit(FAILED) from refused
        except SyncNetError as error:
            if as_json:
                print(json.dumps({"url": url, "error": describe(error)}))
            raise
        except KeyboardInterrupt as stopped:
            err.print(f"Stopped after {answered} answers. Nothing is kept.")
            raise typer.Exit(STOPPED) from stopped
    if not answered or ended is None or ended.reason == "failed":
        raise typer.Exit(FAILED)


def kept_pixels(networks: Any) -> int | None:
    """The published networks' figures are those of whole frames."""
    from syncnet_python.profiles import PUBLISHED
    from workflows.stream.following import StreamOptions

    return None if networks.choice.sync == PUBLISHED.sync else StreamOptions().kept_pixels


def _settings(allow: list[str], **given: Any) -> Settings:
    """With what may be reached beside OUTGOING_ALLOW."""
    from service.outgoing import check_allow

    settings = chosen_settings(**given)
    try:
        check_allow(allow)
    except ValueError as error:
        refuse(f"--allow: {error}.")
    return settings.model_copy(update={"outgoing_allow": (*settings.outgoing_allow, *allow)})


@contextlib.contextmanager
def _webhook(
    url: str | None, stream: str, settings: Settings
) -> Iterator[Callable[["Alert"], None]]:
    """Tells the receiver of alerts, where there is one. Raises OutgoingRefused."""
    from workflows.stream.alerts import AlertSender

    if url is None:
        yield lambda alert: None
        return
    if settings.webhook_secret is None:
        refuse("--webhook needs a WEBHOOK_SECRET to sign with: set one in the environment.")
    sender = AlertSender(
        url,
        settings.webhook_secret.get_secret_value(),
        stream.partition("?")[0],
        settings.outgoing_allow,
        on_failure=lambda error: err.print(f"webhook: {escape(str(error))}", soft_wrap=True),
    )
    with sender:
        yield sender.send


@contextlib.contextmanager
def _json() -> Iterator[Callable[["Event"], None]]:
    from workflows.stream.following import as_json

    yield lambda event: print(
        json.dumps({"at": round(time.time(), 3), **as_json(event)}), flush=True
    )


@contextlib.contextmanager
def _lines() -> Iterator[Callable[["Event"], None]]:
    """For people: the newest answer in a line that changes, everything else above it. Where nobody
    watches, every answer has a line."""
    from workflows.stream.following import WindowResult

    with Live(console=out, auto_refresh=False) as live:

        def show(event: "Event") -> None:
            text = line(event)
            if isinstance(event, WindowResult) and out.is_terminal:
                live.update(text, refresh=True)
            elif text:
                live.console.print(text, soft_wrap=True)

        yield show


def line(event: "Event") -> str:
    """What people are told, in rich's markup."""
    from workflows.stream.following import Alert, Discontinuity, Ended, Gap, Opened, WindowResult

    match event:
        case Opened():
            size = f", {event.width}x{event.height}" if event.height else ""
            return f"{'live' if event.live else 'recorded'}{size}"
        case WindowResult():
            return f"{event.start_s:8.1f} - {event.end_s:.1f} s   {_figures(event)}"
        case Gap():
            what = f"{event.start_s:.1f} - {event.end_s:.1f} s {event.reason}"
            return f"[yellow]gap[/] {what}: {escape(event.message)}"
        case Discontinuity():
            return f"another recording begins at {event.at_s:.1f} s"
        case Alert():
            offsets = ", ".join(f"{window.offset_frames:+d}" for window in event.windows)
            said = "[bold red]out of sync[/]" if event.kind == "out" else "[green]in sync again[/]"
            return f"{said} since {event.windows[0].end_s:.1f} s: offsets {offsets} frames"
        case Ended():
            why = f": {escape(event.message)}" if event.message else ""
            return f"{event.reason} at {event.end_s:.1f} s, {event.windows} answers{why}"


def _figures(window: "WindowResult") -> str:
    took = f"answered in {window.latency_ms / 1000:.2f} s"
    if window.error:
        return f"{escape(window.error.message)}, {took}"
    doubts = f", {', '.join(window.doubts)}" if window.doubts else ""
    return (
        f"offset {window.offset_frames:+d} frames ({window.lag_ms:+d} ms), confidence "
        f"{window.confidence:.2f}, score {window.score:.2f}{doubts}, {took}"
    )
