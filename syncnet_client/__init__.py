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
    Decision,
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
    Readiness,
    Risk,
    State,
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
    StreamFailed,
    SyncnetError,
    TooManyRequests,
    Unauthorized,
    Unavailable,
    UnexpectedAnswer,
    WaitTimeout,
)
from syncnet_client.recordings import OnServer, Source
from syncnet_client.requests import Filters, StreamWishes, Wishes
from syncnet_client.retries import Retries
from syncnet_client.streams import (
    Alert,
    Discontinuity,
    Ended,
    Failure,
    Gap,
    Opened,
    Stream,
    StreamEvent,
    Window,
)
from syncnet_client.transport import VERSION

__version__ = VERSION

__all__ = [
    "Alert",
    "AnalysisTimedOut",
    "Artifacts",
    "AsyncClient",
    "Calibration",
    "Change",
    "Client",
    "ConnectionFailed",
    "Curve",
    "Debug",
    "Decision",
    "Detector",
    "Discontinuity",
    "Ended",
    "Failure",
    "Figures",
    "Filters",
    "Forbidden",
    "Gap",
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
    "OnServer",
    "Opened",
    "Problem",
    "Progress",
    "Quality",
    "Readiness",
    "RecordingRefused",
    "RequestRefused",
    "Retries",
    "Risk",
    "ServiceError",
    "ServiceFailed",
    "Source",
    "State",
    "Statistics",
    "Stream",
    "StreamEvent",
    "StreamFailed",
    "StreamWishes",
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
    "Window",
    "Wishes",
]
