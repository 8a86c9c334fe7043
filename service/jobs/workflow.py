"""How DBOS brings every job to its end: the queue, and what is run for each place in it.

A workflow's id is its job's id, so that a job is queued once. A workflow whose worker dies is begun
anew from its first line; `service.jobs.runner` bears that.
"""

import logging
from collections.abc import Callable

import sqlalchemy as sa
from dbos import DBOS, DBOSClient, DBOSConfig, EnqueueOptions

from service.jobs.ended import Ended
from service.jobs.records import Job, NewJob
from service.outgoing import OutgoingRefused
from service.webhooks import DeliveryFailed

log = logging.getLogger(__name__)


Deliver = Callable[[str, Ended], None]
"""Tells a URL of a job. Raises DeliveryFailed, OutgoingRefused."""

APPLICATION = "syncnet-service"

VERSION = "1"
"""Of the workflows here; a worker takes up what another of the same version left behind."""

SCORING = "scoring"
WEBHOOKS = "webhooks"

POLL_S = 0.05
"""How often a worker with nothing to do looks for a job."""

WEBHOOKS_AT_ONCE = 8
"""Of one worker; a quarter of them for one owner, whose receivers may be slow."""

WEBHOOK_RETRIES_S = (5.0, 60.0, 600.0, 3600.0, 6 * 3600.0, 12 * 3600.0)
"""How long after a call that failed the next one is made."""


class Queue:
    """Puts jobs in the queue, from a process that runs none."""

    def __init__(self, engine: sa.Engine) -> None:
        self._client = DBOSClient(
            system_database_engine=engine, application_name=APPLICATION, lazy=True
        )

    def enqueue(self, connection: sa.Connection, job: NewJob) -> None:
        """In the transaction of that connection. Each owner has a partition of its own: workers
        take turns among them, so that who sends much waits for what he sent, and nobody else."""
        options: EnqueueOptions = {
            "workflow_name": "score_job",
            "queue_name": SCORING,
            "workflow_id": job.id,
            "queue_partition_key": job.owner,
        }
        self._client.enqueue_in_transaction(connection, options, job.id)

    def close(self) -> None:
        self._client.destroy()


def register(run: Callable[[str], Job | None], deliver: Deliver | None) -> None:
    """Define the workflows, before DBOS is launched.

    run: sees a job to its end; deliver: None where nobody is told of it.
    """

    @DBOS.workflow(name="call_webhook", max_recovery_attempts=None)
    def call_webhook(url: str, told: tuple[str, str, float | None, str], attempt: int) -> None:
        job = Ended(*told)
        if deliver is None:
            log.error("the webhook of job %s is not called: WEBHOOK_SECRET is not set", job.id)
            return
        try:
            deliver(url, job)
        except OutgoingRefused as error:
            log.warning("the webhook of job %s is not called: %s", job.id, error.code)
        except DeliveryFailed:
            if attempt < len(WEBHOOK_RETRIES_S):
                enqueue_call(url, job, attempt + 1, WEBHOOK_RETRIES_S[attempt])
            else:
                log.warning("the webhook of job %s is given up", job.id)

    def enqueue_call(url: str, job: Ended, attempt: int, delay_s: float) -> None:
        options: EnqueueOptions = {
            "workflow_name": "call_webhook",
            "queue_name": WEBHOOKS,
            "workflow_id": f"{job.id}-webhook-{attempt}",
            "delay_seconds": delay_s,
            "queue_partition_key": job.owner,
        }
        DBOS.enqueue_workflow_with_options(options, url, tuple(job), attempt)

    @DBOS.workflow(name="score_job", max_recovery_attempts=None)
    def score_job(job_id: str) -> None:
        job = run(job_id)
        if job and job.ended and job.webhook_url:
            ended = Ended(job.id, job.state, job.finished_at, job.owner)
            enqueue_call(job.webhook_url, ended, attempt=0, delay_s=0.0)


def register_queues(places: int) -> None:
    """After the launch. places: jobs that one worker takes at once; of workers that do not agree
    the one that started last decides for all, and `JobRunner` has the others' wait."""
    DBOS.register_queue(
        SCORING,
        worker_concurrency=places,
        partition_worker_concurrency=places,
        polling_interval_sec=POLL_S,
        on_conflict="always_update",
    )
    DBOS.register_queue(
        WEBHOOKS,
        worker_concurrency=WEBHOOKS_AT_ONCE,
        partition_worker_concurrency=WEBHOOKS_AT_ONCE // 4,
        on_conflict="always_update",
    )


def config(engine: sa.Engine, url: str, worker: str) -> DBOSConfig:
    """What DBOS is launched with. worker: its name, by which its jobs are found when it dies."""
    return {
        "name": APPLICATION,
        "application_version": VERSION,
        "executor_id": worker,
        "system_database_url": url,
        "system_database_engine": engine,
        "use_listen_notify": False,
        "log_level": "WARNING",
    }
