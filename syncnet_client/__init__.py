"""A typed client of syncnet-service, blocking and asynchronous.

    from syncnet_client import Client

    with Client("http://127.0.0.1:5000", key="sk_…") as client:
        verdict = client.score("recording.webm", session_id="visit-17")
        print(verdict.decision, verdict.combined_score)

`Client` and `AsyncClient` have the same methods and do the same; what they do is written once, in
`syncnet_client.plans`, and they only send and wait. Needs httpx and nothing else.
`syncnet_client.webhooks` verifies what the service delivers.
"""

from syncnet_client.answers import (
    Artifacts,
    Calibration,
    Change,
    Curve,
    Debug,
    Detector,
    Figures,
    Health,
    HeatMap,
    Job,
    JobSummary,
    Missing,
    Model,
    Moment,
    Problem,
    Progress,
    Quality,
    Statistics,
    Sync,
    Token,
    Track,
    Verdict,
    Video,
)
from syncnet_client.asynchronous import AsyncClient
from syncnet_client.blocking import Client
from syncnet_client.errors import (
    AnalysisTimedOut,
    ConnectionFailed,
    Forbidden,
    JobGone,
    NotFound,
    NotGenuine,
    RecordingRefused,
    RequestRefused,
    ServiceError,
    ServiceFailed,
    SyncnetError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from syncnet_client.recordings import Source
from syncnet_client.requests import Filters, Wishes
from syncnet_client.retries import Retries
from syncnet_client.version import VERSION

__version__ = VERSION

__all__ = [
    "AnalysisTimedOut",
    "Artifacts",
    "AsyncClient",
    "Calibration",
    "Change",
    "Client",
    "ConnectionFailed",
    "Curve",
    "Debug",
    "Detector",
    "Figures",
    "Filters",
    "Forbidden",
    "Health",
    "HeatMap",
    "Job",
    "JobGone",
    "JobSummary",
    "Missing",
    "Model",
    "Moment",
    "NotFound",
    "NotGenuine",
    "Problem",
    "Progress",
    "Quality",
    "RecordingRefused",
    "RequestRefused",
    "Retries",
    "ServiceError",
    "ServiceFailed",
    "Source",
    "Statistics",
    "Sync",
    "SyncnetError",
    "Token",
    "TooManyRequests",
    "Track",
    "Unauthorized",
    "Unavailable",
    "UnexpectedAnswer",
    "Verdict",
    "Video",
    "WaitTimeout",
    "Wishes",
]
