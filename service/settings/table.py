"""Every setting of the service in one table: name, type, limits, default and meaning.

`python -m service.settings` prints `.env.example` and docs/settings.md from it.
"""

import contextlib
import ipaddress
import re
from pathlib import Path
from typing import Literal, Self

from pydantic import DirectoryPath, Field, FiniteFloat, SecretStr, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from service.settings.values import (
    ApiKey,
    CalibrationFile,
    DatabaseUrl,
    Hosts,
    LogFormat,
    LogLevel,
    Origins,
    WebhookSecret,
)
from syncnet_python import calibration as calibrations
from syncnet_python import profiles
from syncnet_python.calibration import Calibration
from syncnet_python.errors import CalibrationError


class Settings(BaseSettings):
    """What an operator may choose. Frozen: a running service never changes its mind."""

    model_config = SettingsConfigDict(
        env_file=".env", env_ignore_empty=True, extra="ignore", frozen=True
    )

    host: str = Field(
        default="127.0.0.1", description="Address to listen on; 0.0.0.0 for all of them."
    )
    port: int = Field(default=5000, ge=1, le=65535, description="Port to listen on.")
    web_concurrency: int = Field(
        default=1, ge=1, description="Web processes; they share the local worker."
    )
    web_threads: int = Field(
        default=64,
        ge=8,
        description="Requests a web process holds at once, those that are still being sent or "
        "that wait for their result included.",
    )
    cors_origins: Origins = Field(
        default=(),
        description="Origins whose pages may call the service from a browser, separated by "
        "commas; * for any. None by default.",
    )
    log_level: LogLevel = Field(default="info", description="How much is logged.")
    log_format: LogFormat = Field(
        default="json", description="One JSON object a line, or plain text."
    )

    data_dir: Path = Field(
        default=Path("data"),
        description="Folder for everything that is kept: jobs, uploads, metrics. Made at the "
        "start, readable by its owner only.",
    )
    database_url: DatabaseUrl | None = Field(
        default=None,
        description="Where jobs are kept: postgresql://user:password@host/name, when workers on "
        "several machines share them. A SQLite file in DATA_DIR by default.",
    )
    storage_url: str | None = Field(
        default=None,
        description="Where recordings lie until they are scored: a folder, or any object store "
        "that fsspec knows (s3://bucket/path needs s3fs). A folder in DATA_DIR by default.",
    )
    local_worker: bool = Field(
        default=True,
        description="Score on this machine. Off, recordings wait for a `syncnet-service worker` "
        "elsewhere.",
    )
    max_queue: int = Field(
        default=32, ge=1, description="Jobs that may wait or run at once, of all senders together."
    )
    max_queue_per_key: int = Field(
        default=16, ge=1, description="Jobs that may wait or run at once for one API key."
    )
    rate_limit_per_minute: int = Field(
        default=120,
        ge=0,
        description="Jobs that one API key may start in any 60 seconds; 0 for any number.",
    )
    max_streams: int = Field(
        default=1,
        ge=0,
        description="Streams that are followed at once, of all senders together, each by a process "
        "with networks of its own; 0 for none.",
    )
    retention_seconds: int = Field(
        default=24 * 3600,
        ge=0,
        description="How long a result can be fetched; 0 deletes it within a minute of its "
        "delivery. Recordings are deleted as soon as they are scored, whatever this says.",
    )
    audit_retention_days: int = Field(
        default=90, ge=0, description="How long it is kept who asked and what was answered."
    )

    allow_anonymous: bool | None = Field(
        default=None,
        description="Answer requests without an API key. By default only where HOST is a "
        "loopback address.",
    )
    api_key: ApiKey | None = Field(
        default=None,
        description="A key that is accepted beside those made with `syncnet-service keys create`; "
        "16 characters or more.",
    )
    webhook_secret: WebhookSecret | None = Field(
        default=None,
        description="Signs webhooks (Standard Webhooks): whsec_ and 24 to 64 bytes in base64. "
        "Without it none are sent.",
    )
    outgoing_allow: Hosts = Field(
        default=(),
        description="Hosts (host or host:port, separated by commas) that webhooks may reach "
        "although their address is private.",
    )

    max_video_size_mb: FiniteFloat = Field(
        default=10, gt=0, description="Largest accepted recording in megabytes (1024 x 1024 bytes)."
    )
    max_duration_seconds: FiniteFloat = Field(
        default=30, gt=0, description="Longest accepted recording."
    )
    max_frame_pixels: int = Field(
        default=3840 * 2160, gt=0, description="Largest accepted frame: width times height."
    )
    min_upload_bytes_per_second: int = Field(
        default=1024,
        ge=0,
        description="Slower uploads are broken off after ten seconds, and after a minute those "
        "that have not come 64 times as fast on the whole; 0 waits for any.",
    )
    decode_timeout_seconds: FiniteFloat = Field(
        default=10, gt=0, description="Longest that decoding one recording may take."
    )
    processing_timeout_seconds: FiniteFloat = Field(
        default=30,
        gt=0,
        description="One deadline for the whole analysis, waiting included where the sender "
        "waits for the answer.",
    )
    verdict_ttl_seconds: int = Field(
        default=300, ge=0, description="How long a verdict may be relied on; answered as ttl_ms."
    )
    video_root: DirectoryPath | None = Field(
        default=None,
        description="Folder whose files may be scored by path, without an upload. "
        "Off unless it is set.",
    )

    model_profile: Literal["auto", "bundled", "published"] = Field(
        default="auto",
        description="Which weights answer: only the bundled ones, only the published ones, or the "
        "published ones where they are present (auto).",
    )
    models_dir: Path | None = Field(
        default=None, description="Folder searched for weights before the bundled models/."
    )
    s3fd_model_path: Path | None = Field(
        default=None, description="The published face detector, when it lies elsewhere."
    )
    syncnet_model_path: Path | None = Field(
        default=None, description="The published SyncNet v2 weights, when they lie elsewhere."
    )
    efficientnet_model_path: Path | None = Field(
        default=None,
        description="The published classifier (best_model-v3.pt), when it lies elsewhere.",
    )
    calibration_file: CalibrationFile | None = Field(
        default=None,
        description="What `syncnet-service calibrate` learnt about the recordings that come in; "
        "applied to every score and named in every answer.",
    )
    preload_models: bool = Field(
        default=False, description="Load the networks at start instead of at the first request."
    )
    device: Literal["auto", "cpu", "cuda"] = Field(
        default="auto",
        description="Where the larger networks run (S3FD, SyncNet v2, the classifier); auto takes "
        "a GPU where there is one. The small bundled ones stay on the processor.",
    )
    precision: Literal["auto", "float32"] = Field(
        default="auto",
        description="float32 gives the reference's figures to the last digit; auto may use "
        "bfloat16 where the processor has it, which is faster.",
    )
    syncnet_weight: FiniteFloat = Field(
        default=0.4, ge=0, le=1, description="Share of lip-sync in the combined score."
    )
    efficientnet_weight: FiniteFloat = Field(
        default=0.6,
        ge=0,
        le=1,
        description="Share of the artifact classifier; both shares add up to 1.",
    )
    max_frames: int = Field(
        default=20, ge=1, description="Frames of the face that the artifact classifier looks at."
    )
    min_track_frames: int = Field(
        default=25,
        ge=1,
        description="Frames, at 25 a second, that a face must be in view to be judged.",
    )
    min_face_size: FiniteFloat = Field(
        default=40, ge=0, description="Smaller faces are passed over: larger side in pixels."
    )
    scorer_processes: int = Field(
        default=1,
        ge=1,
        description="Scoring processes of a worker; one recording each at a time.",
    )
    scorer_threads: int = Field(
        default=0,
        ge=0,
        description="Processor threads of one scoring process; 0 uses all there are.",
    )

    @model_validator(mode="after")
    def _shares_add_up(self) -> Self:
        total = self.syncnet_weight + self.efficientnet_weight
        if abs(total - 1) > 1e-6:
            raise ValueError(f"SYNCNET_WEIGHT and EFFICIENTNET_WEIGHT add up to {total:g}, not 1")
        return self

    @model_validator(mode="after")
    def _calibration_fits(self) -> Self:
        if stored := self.calibration:
            choice = profiles.choose(self.model_profile, self.models_dir, self.weights_paths)
            try:
                calibrations.check_registered(stored, choice.names, self.part_weights)
            except CalibrationError as error:
                raise ValueError(f"CALIBRATION_FILE: {error.message}. {error.advice}") from error
        return self

    @property
    def calibration(self) -> Calibration | None:
        """What the file says now. Raises CalibrationUnusable where it has changed since."""
        return calibrations.load(self.calibration_file) if self.calibration_file else None

    @property
    def part_weights(self) -> dict[str, float]:
        """Share of each part in the combined score."""
        return {"syncnet": self.syncnet_weight, "efficientnet": self.efficientnet_weight}

    @property
    def max_video_bytes(self) -> int:
        return int(self.max_video_size_mb * 1024 * 1024)

    @property
    def metrics_dir(self) -> Path:
        """Where the processes of this machine count together."""
        return self.data_dir.resolve() / "metrics"

    def make_data_dir(self) -> None:
        """Make the folder of everything that is kept, for its owner only. Raises OSError."""
        self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        with contextlib.suppress(PermissionError):  # somebody else's folder, lent to this service
            self.data_dir.chmod(0o700)

    def secrets(self) -> dict[str, str]:
        """Those that are set, in clear, by name. The address of a storage may hold one as well."""
        clear = {
            name: value.get_secret_value() if isinstance(value, SecretStr) else value
            for name in Settings.model_fields
            if isinstance(value := getattr(self, name), SecretStr) or name == "storage_url"
        }
        return {name: value for name, value in clear.items() if value is not None}

    @property
    def database(self) -> str:
        """The address of the jobs' database as SQLAlchemy writes it."""
        if self.database_url is None:
            return f"sqlite:///{self.data_dir.resolve() / 'jobs.sqlite'}"
        url = self.database_url.get_secret_value()
        return re.sub(r"^postgres(ql)?://", "postgresql+psycopg://", url)

    @property
    def storage(self) -> str:
        """Where recordings lie until they are scored, as fsspec writes it."""
        return self.storage_url or str(self.data_dir.resolve() / "media")

    @property
    def public(self) -> bool:
        """Whether others than this machine can reach the service."""
        try:
            return not ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return self.host != "localhost"

    @property
    def anonymous_allowed(self) -> bool:
        return not self.public if self.allow_anonymous is None else self.allow_anonymous

    @property
    def weights_paths(self) -> dict[str, Path]:
        """Explicitly placed weights files, by their name in the registry."""
        placed = {
            "s3fd": self.s3fd_model_path,
            "syncnet_v2": self.syncnet_model_path,
            "deepfakedetector_b0_v3": self.efficientnet_model_path,
        }
        return {name: path for name, path in placed.items() if path is not None}

    @property
    def bind(self) -> str:
        """HOST and PORT as servers write them; an IPv6 address goes in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"
