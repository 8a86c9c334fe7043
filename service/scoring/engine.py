"""The engine of a scoring process: the one verb, set up as the settings say.

The only module of the service that imports the library's networks; scoring processes load it and
the web process never does.
"""

from collections.abc import Callable, Mapping
from pathlib import Path

from pydantic import JsonValue
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource

from service.settings import Settings
from syncnet_python.isolation import Decoder
from syncnet_python.media import Limits
from syncnet_python.profiles import Network
from syncnet_python.results import ModelInfo, Verdict
from syncnet_python.tracking import TrackingOptions
from syncnet_wrapper import SyncNetWrapper


class WrapperEngine:
    """A `service.scoring.process.Engine` over `SyncNetWrapper`. Every file is decoded isolated:
    that takes no longer, as the process for it has been started before.

    network, facedet_scale, crop_scale, vshift: as for `SyncNetWrapper`; a command line may name
    them, the service has no settings for them.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        network: Network | None = None,
        facedet_scale: float | None = None,
        crop_scale: float | None = None,
        vshift: int | None = None,
    ) -> None:
        self._wrapper = SyncNetWrapper(
            profile=settings.model_profile,
            models_dir=settings.models_dir,
            device=settings.device,
            precision=settings.precision,
            weights=settings.part_weights,
            limits=Limits(
                duration_s=settings.max_duration_seconds,
                frame_pixels=settings.max_frame_pixels,
                decode_s=settings.decode_timeout_seconds,
                file_bytes=settings.max_video_bytes,
            ),
            tracking=TrackingOptions(
                min_track=settings.min_track_frames, min_face_size=settings.min_face_size
            ),
            max_frames=settings.max_frames,
            paths=settings.weights_paths,
            calibration=settings.calibration,
            read=Decoder(root=settings.video_root).read,
            network=network,
            facedet_scale=facedet_scale,
            crop_scale=crop_scale,
            vshift=vshift,
        )

    def score(
        self,
        path: Path,
        reference: str,
        *,
        partial: bool,
        heatmap: bool = False,
        on_partial: Callable[[Verdict], None],
        on_stage: Callable[[str], None] | None = None,
    ) -> Verdict:
        return self._wrapper.process_video_ensemble(
            path,
            reference,
            partial=partial,
            heatmap=heatmap,
            on_partial=on_partial,
            on_stage=on_stage,
        )

    def preload(self) -> None:
        self._wrapper.preload()

    def models(self) -> dict[str, ModelInfo]:
        """The weights that are loaded, by registry name."""
        return self._wrapper.networks.info()

    def loaded(self) -> tuple[str, ...]:
        return self._wrapper.loaded()


class _Given(Settings):
    """Settings that read nothing but what they are given: no environment, no `.env`."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        *_: PydanticBaseSettingsSource,
        **__: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (init_settings,)


def build(options: Mapping[str, JsonValue]) -> WrapperEngine:
    """options: settings by name, as `Settings.model_dump(mode="json")` gives them; the others have
    their defaults, whatever the environment says.

    Raises CalibrationError where the calibration's file is no longer what it was at the start.
    """
    return WrapperEngine(_given(options))


def _given(options: Mapping[str, JsonValue]) -> Settings:
    settings = _Given.model_validate({**options, "calibration_file": None})
    # Set afterwards, so that what is wrong with it keeps its own name.
    file = options.get("calibration_file")
    path = None if file is None else Path(str(file))
    return settings.model_copy(update={"calibration_file": path})
