"""What a receiver is told of a job that has ended: which it was and how, no more. The receiver
fetches the result with its own key.
"""

from typing import NamedTuple

from service import webhooks

_STATES = frozenset({"succeeded", "failed", "cancelled"})


class Ended(NamedTuple):
    """A job that has ended. finished_at: epoch seconds."""

    id: str
    state: str
    finished_at: float | None
    owner: str


def message(job: Ended) -> webhooks.Message:
    """The same at every attempt. Raises ValueError for a job that has not ended."""
    if job.state not in _STATES or job.finished_at is None:
        raise ValueError("only of jobs that have ended is anybody told")
    event = f"job.{job.state}"
    return webhooks.message(
        event, job.finished_at, {"job_id": job.id}, identity=f"{job.id}.{event}"
    )
