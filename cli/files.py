"""`syncnet-service pipeline` and `visualise`: what was found in a recording, as files."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.markup import escape

from cli.console import (
    STOPPED,
    CropScale,
    Device,
    FacedetScale,
    MinFaceSize,
    MinTrack,
    ModelsDir,
    Network,
    Profile,
    Vshift,
    check_folder,
    chosen_settings,
    describe,
    err,
    out,
)
from service.settings import Settings
from syncnet_python import profiles
from syncnet_python.errors import SyncNetError
from syncnet_python.tracking import TrackingOptions

if TYPE_CHECKING:
    from syncnet_python.assembly import Networks

File = Annotated[Path, typer.Argument(help="The recording.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON object, for programs.")]


def pipeline(
    file: File,
    reference: Annotated[
        str, typer.Option(help="Name of the folders that are written: a plain name.")
    ],
    data_dir: Annotated[
        Path, typer.Option(help="Folder in which pycrop/, pywork/ and pyavi/ are.", file_okay=False)
    ],
    offsets_format: Annotated[
        Literal["reference", "plain"],
        typer.Option(
            help="Lines of offsets.txt: `TRACK 0: OFFSET 2, CONF 8.147`, or `offset conf min_dist`."
        ),
    ] = "reference",
    network: Network = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    facedet_scale: FacedetScale = None,
    crop_scale: CropScale = None,
    vshift: Vshift = None,
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    as_json: AsJson = False,
) -> None:
    """Write what SyncNet's original scripts write, in their places: face tracks with their sound,
    offsets, boxes, distances, and the recording with its faces marked.

    Earlier files of the same reference are replaced when the new ones are whole.
    """
    from workflows.inspection import reference_files

    try:
        reference_files.check_name(reference)
    except ValueError as error:
        raise typer.BadParameter(str(error), param_hint="--reference") from error
    check_folder(data_dir)
    settings = _settings(profile, device, models_dir, min_track, min_face_size)
    options = profiles.Options(facedet_scale, crop_scale, vshift)
    networks, tracking = _networks(settings, network, options), _tracking(settings)
    with _working(f"Measuring {file.name}", file, as_json=as_json):
        written = reference_files.write(
            file, reference, data_dir, networks, tracking, offsets_format
        )
    tracks = written.sync.tracks
    if not as_json:
        print(reference_files.offsets_text(tracks, "reference"), end="")
        for folder in (written.crops, written.work, written.video):
            err.print(f"Written: {escape(str(folder))}", soft_wrap=True)
        return
    said = {
        "file": str(file),
        "reference": reference,
        "network": written.sync.network,
        "protocol": written.sync.protocol,
        "pycrop": str(written.crops),
        "pywork": str(written.work),
        "pyavi": str(written.video),
        "tracks": [
            {"crop": str(written.crop(number))} | asdict(track)
            for number, track in enumerate(tracks)
        ],
    }
    print(json.dumps(said))


def visualise(
    file: File,
    output_dir: Annotated[
        Path,
        typer.Option(
            "--output-dir",
            "-o",
            help="Folder for NAME.annotated.mp4 and NAME.sheet.png.",
            file_okay=False,
        ),
    ],
    network: Network = None,
    min_track: MinTrack = None,
    min_face_size: MinFaceSize = None,
    profile: Profile = None,
    device: Device = None,
    models_dir: ModelsDir = None,
    as_json: AsJson = False,
) -> None:
    """Draw what was measured: a video with faces, lips, confidence and running offset, and one
    picture with the offset curve, the confidence of every frame and the face's own scores."""
    from workflows.inspection.visualise import visualise as draw

    check_folder(output_dir)
    settings = _settings(profile, device, models_dir, min_track, min_face_size)
    with _working(f"Measuring and drawing {file.name}", file, as_json=as_json):
        networks, tracking = _networks(settings, network), _tracking(settings)
        drawn = draw(file, output_dir, networks, tracking, settings.max_frames)
    if as_json:
        print(
            json.dumps(
                {
                    "file": str(file),
                    "video": str(drawn.video),
                    "sheet": str(drawn.sheet),
                    "syncnet": asdict(drawn.sync),
                    "efficientnet": asdict(drawn.artifact) if drawn.artifact else None,
                }
            )
        )
        return
    for path in (drawn.video, drawn.sheet):
        out.print(escape(str(path)), soft_wrap=True)
    if drawn.no_artifact:
        err.print(f"The face was not classified: {escape(drawn.no_artifact)}", soft_wrap=True)


@contextmanager
def _working(doing: str, file: Path, *, as_json: bool) -> Iterator[None]:
    """Says what is being done, and what is left where it fails or is stopped."""
    try:
        with err.status(escape(doing)):
            yield
    except (SyncNetError, OSError) as error:
        if as_json:
            print(json.dumps({"file": str(file), "error": describe(error)}))
        raise
    except KeyboardInterrupt as stopped:
        err.print("Stopped. No file is left half written; the same command begins anew.")
        raise typer.Exit(STOPPED) from stopped


def _settings(
    profile: Profile,
    device: Device,
    models_dir: ModelsDir,
    min_track: MinTrack,
    min_face_size: MinFaceSize,
) -> Settings:
    """Uncalibrated: what is drawn and written are measurements, not scores."""
    return chosen_settings(
        model_profile=profile,
        device=device,
        models_dir=models_dir,
        min_track_frames=min_track,
        min_face_size=min_face_size,
        calibrated=False,
    )


def _networks(
    settings: Settings,
    network: profiles.Network | None,
    options: profiles.Options | None = None,
) -> "Networks":
    from syncnet_python.assembly import Networks

    return Networks(
        settings.model_profile,
        settings.models_dir,
        settings.device,
        settings.precision,
        settings.weights_paths,
        network=network,
        **asdict(options or profiles.Options()),
    )


def _tracking(settings: Settings) -> TrackingOptions:
    return TrackingOptions(
        min_track=settings.min_track_frames, min_face_size=settings.min_face_size
    )
