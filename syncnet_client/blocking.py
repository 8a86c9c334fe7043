"""The client that waits."""

import time
from collections.abc import Generator, Iterator
from contextlib import closing
from functools import partial
from types import TracebackType
from typing import Any, Self, TypeVar, Unpack

import httpx

from syncnet_client import plans, requests, transport
from syncnet_client.answers import Health, Job, JobSummary, Progress, Readiness, Token, Verdict
from syncnet_client.plans import (
    OnProgress,
    Pause,
    Read,
    Report,
    Rules,
    Send,
    Step,
    Steps,
    Tell,
    Telling,
)
from syncnet_client.recordings import Source
from syncnet_client.requests import Filters, StreamWishes, Wishes
from syncnet_client.retries import Answer, Broken, Retries
from syncnet_client.streams import Stream, StreamEvent

T = TypeVar("T")


class Client:
    """A service at one address, asked by one sender. Safe to use from any thread.

    A context manager: leaving it closes its connections. What goes wrong is raised as one of
    `syncnet_client.errors`; every method may raise ServiceError, ConnectionFailed and
    UnexpectedAnswer.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        retries: Retries | None = None,
        timeout: float = 60.0,
        http: httpx.Client | None = None,
    ) -> None:
        """base_url: of the service, such as `https://score.example.org`; key: an API key, or
        token: one that was made with `create_token`; retries: how stubbornly a request is sent
        again; timeout: seconds for each step of a request (to connect, to send or receive a
        piece; what is followed is silent for 15 of them); http: a client of your own, with other
        certificates or a proxy, which is not closed.

        Raises ValueError.
        """
        self._to = transport.address(base_url, key, token)
        self._rules = Rules(timeout, retries or Retries())
        self._http = http or httpx.Client()
        self._owned = http is None

    def score(
        self,
        recording: Source,
        *,
        timeout: float | None = 300.0,
        on_progress: OnProgress | None = None,
        **wishes: Unpack[Wishes],
    ) -> Verdict:
        """Send a recording and have its verdict.

        recording: a path, bytes, an open binary file, or `OnServer`; timeout: seconds for all of
        it, but for the step of a request that is under way then, None for any number; on_progress:
        called with the `Job` at each change; wishes: see `Wishes`.

        The recording is sent with an Idempotency-Key and is scored once, however often it had to
        be sent. Raises RecordingRefused where it cannot be scored, WaitTimeout, and OSError where
        a file cannot be read.
        """
        request = requests.score(recording, **wishes)
        return self._run(plans.score(request, self._rules, timeout, on_progress))

    def submit(
        self, recording: Source, *, timeout: float | None = 300.0, **wishes: Unpack[Wishes]
    ) -> Job:
        """Send a recording and have its job at once: `wait` or `events` have the verdict later,
        in another process too. recording, timeout, wishes: as for `score`."""
        return self._run(plans.submit(requests.score(recording, **wishes), self._rules, timeout))

    def job(self, job: Job | str) -> Job:
        """A job, by its id, as it is now. Raises NotFound, JobGone."""
        return self._run(plans.ask(Job, requests.job(job), self._rules))

    def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = 300.0,
        on_progress: OnProgress | None = None,
    ) -> Verdict:
        """The verdict of a job, by looking at it as often as the service asks to.

        timeout: seconds, None for any number; on_progress: called with the `Job` at each change.
        Raises what the job ended in; NotFound, JobGone, WaitTimeout.
        """
        return self._run(plans.wait(job, self._rules, timeout, on_progress))

    def events(
        self, job: Job | str, *, timeout: float | None = None
    ) -> Generator[Progress | Verdict, None, None]:
        """Every change of a job as it happens (server-sent events), then its verdict.

        Where the connection breaks off it is opened again; what is told twice comes once. Who
        leaves before the end closes it: `with contextlib.closing(client.events(job)) as events`.
        timeout: seconds, None for any number. Raises as `wait`.
        """
        return self._iterate(plans.events(job, self._rules, timeout))

    def jobs(
        self, *, page_size: int = 100, **filters: Unpack[Filters]
    ) -> Generator[JobSummary, None, None]:
        """All jobs of this sender, newest first; asked for page by page as they are iterated.

        page_size: 1-100; filters: see `Filters`.
        """
        page = partial(requests.jobs, page_size=page_size, **filters)
        return self._iterate(plans.jobs(page, self._rules))

    def delete(self, job: Job | str) -> None:
        """Cancel the job if it is open, and delete all that is kept of it. May be repeated.
        Raises NotFound."""
        self._run(plans.exchange(requests.delete(job), self._rules))

    def create_token(
        self, *, ttl_seconds: int = 900, uploads: int = 1, session_id: str | None = None
    ) -> Token:
        """A token for somebody who must not have the key, such as a visitor's browser.

        ttl_seconds: 60-86400; uploads: 1-100, how many recordings it is good for; session_id: what
        they are sent under, whatever their sender says. It may score, and ask for what it scored.
        """
        request = requests.create_token(ttl_seconds, uploads, session_id)
        return self._run(plans.ask(Token, request, self._rules))

    def begin_stream(self, url: str, **wishes: Unpack[StreamWishes]) -> Stream:
        """Have an HLS stream followed, live or recorded, by its address, until it ends, until
        `end_stream`, or until nobody has asked for it for five minutes.

        wishes: see `StreamWishes`. Raises RequestRefused for an address that is not called,
        Forbidden where no streams are followed, Unavailable where no more are.
        """
        return self._run(plans.ask(Stream, requests.begin_stream(url, **wishes), self._rules))

    def stream(self, stream: Stream | str) -> Stream:
        """A stream, by its id, as it is now. Raises NotFound."""
        return self._run(plans.ask(Stream, requests.stream(stream), self._rules))

    def stream_events(
        self, stream: Stream | str, *, timeout: float | None = None
    ) -> Generator[StreamEvent, None, None]:
        """All that is found out about a stream, from its beginning and as it happens; the last is
        `Ended`. Connections, leaving and timeout as for `events`; leaving does not end the stream.
        Raises StreamFailed, NotFound, WaitTimeout.
        """
        return self._iterate(plans.stream_events(stream, self._rules, timeout))

    def end_stream(self, stream: Stream | str) -> None:
        """Have a stream followed no further. May be repeated. Raises NotFound."""
        self._run(plans.exchange(requests.end_stream(stream), self._rules))

    def health(self) -> Health:
        """What is there and what is loaded. Needs no key."""
        return self._run(plans.ask(Health, requests.health(), self._rules))

    def ready(self) -> Readiness:
        """Whether a recording sent now would be scored: `if client.ready():`. Needs no key."""
        return self._run(plans.ask(Readiness, requests.ready(), self._rules))

    def close(self) -> None:
        """Close the connections. May be repeated."""
        if self._owned:
            self._http.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _run(self, steps: Steps[T]) -> T:
        reply = None
        with closing(_Line(self._http, self._to)) as line, closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration as done:
                    result: T = done.value
                    return result
                reply = line.perform(step)

    def _iterate(self, steps: Telling[T]) -> Generator[T, None, None]:
        reply = None
        with closing(_Line(self._http, self._to)) as line, closing(steps):
            while True:
                try:
                    step = steps.send(reply)
                except StopIteration:
                    return
                if isinstance(step, Tell):
                    reply = None
                    yield step.item
                else:
                    reply = line.perform(step)


class _Line:
    """Does the steps of one plan, and holds the answer that it has open."""

    def __init__(self, http: httpx.Client, to: transport.Address) -> None:
        self._http = http
        self._to = to
        self._open: httpx.Response | None = None
        self._pieces: Iterator[bytes] = iter(())

    def perform(self, step: Step) -> Any:
        """What came of it, as the step says."""
        match step:
            case Send():
                return self._send(step)
            case Read():
                return self._read()
            case Pause(seconds):
                time.sleep(seconds)
            case Report(to, job):
                to(job)
        return None

    def close(self) -> None:
        if self._open is not None:
            self._open.close()
            self._open = None

    def _send(self, step: Send) -> Answer | Broken:
        self.close()
        try:
            with transport.prepared(step, self._to) as given:
                asked = self._http.build_request(**given)
                response = self._http.send(asked, stream=True, follow_redirects=False)
            if transport.stays_open(step, response):
                self._open, self._pieces = response, response.iter_bytes()
            else:
                with closing(response):
                    response.read()
        except httpx.RequestError as error:
            return transport.broken(error)
        return transport.answer(response)

    def _read(self) -> bytes | Broken:
        try:
            return next(self._pieces, b"")
        except httpx.RequestError as error:
            return transport.broken(error)
