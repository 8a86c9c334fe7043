"""The client for asyncio."""

import asyncio
import inspect
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, closing
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


class AsyncClient:
    """As `Client`, for asyncio: the same methods, to be awaited, and `async for` over `events`,
    `stream_events` and `jobs`, with `contextlib.aclosing` where that is left early. One event loop
    only. `on_progress` may be a coroutine function, which is awaited.

    A file that is named by its path is read on the event loop, 64 kB at a time, as httpx does.
    """

    def __init__(
        self,
        base_url: str,
        *,
        key: str | None = None,
        token: str | None = None,
        retries: Retries | None = None,
        timeout: float = 60.0,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        """As `Client`. Raises ValueError."""
        self._to = transport.address(base_url, key, token)
        self._rules = Rules(timeout, retries or Retries())
        self._http = http or httpx.AsyncClient()
        self._owned = http is None

    async def score(
        self,
        recording: Source,
        *,
        timeout: float | None = 300.0,
        on_progress: OnProgress | None = None,
        **wishes: Unpack[Wishes],
    ) -> Verdict:
        """Send a recording and have its verdict. As `Client.score`."""
        request = requests.score(recording, **wishes)
        return await self._run(plans.score(request, self._rules, timeout, on_progress))

    async def submit(
        self, recording: Source, *, timeout: float | None = 300.0, **wishes: Unpack[Wishes]
    ) -> Job:
        """Send a recording and have its job at once. As `Client.submit`."""
        request = requests.score(recording, **wishes)
        return await self._run(plans.submit(request, self._rules, timeout))

    async def job(self, job: Job | str) -> Job:
        """A job as it is now. As `Client.job`."""
        return await self._run(plans.ask(Job, requests.job(job), self._rules))

    async def wait(
        self,
        job: Job | str,
        *,
        timeout: float | None = 300.0,
        on_progress: OnProgress | None = None,
    ) -> Verdict:
        """The verdict of a job. As `Client.wait`."""
        return await self._run(plans.wait(job, self._rules, timeout, on_progress))

    def events(
        self, job: Job | str, *, timeout: float | None = None
    ) -> AsyncGenerator[Progress | Verdict, None]:
        """Every change of a job as it happens, then its verdict. As `Client.events`."""
        return self._iterate(plans.events(job, self._rules, timeout))

    def jobs(
        self, *, page_size: int = 100, **filters: Unpack[Filters]
    ) -> AsyncGenerator[JobSummary, None]:
        """All jobs of this sender, newest first. As `Client.jobs`."""
        page = partial(requests.jobs, page_size=page_size, **filters)
        return self._iterate(plans.jobs(page, self._rules))

    async def delete(self, job: Job | str) -> None:
        """Cancel the job if it is open, and delete all that is kept of it. As `Client.delete`."""
        await self._run(plans.exchange(requests.delete(job), self._rules))

    async def create_token(
        self, *, ttl_seconds: int = 900, uploads: int = 1, session_id: str | None = None
    ) -> Token:
        """A token for somebody who must not have the key. As `Client.create_token`."""
        request = requests.create_token(ttl_seconds, uploads, session_id)
        return await self._run(plans.ask(Token, request, self._rules))

    async def begin_stream(self, url: str, **wishes: Unpack[StreamWishes]) -> Stream:
        """Have an HLS stream followed. As `Client.begin_stream`."""
        request = requests.begin_stream(url, **wishes)
        return await self._run(plans.ask(Stream, request, self._rules))

    async def stream(self, stream: Stream | str) -> Stream:
        """A stream as it is now. As `Client.stream`."""
        return await self._run(plans.ask(Stream, requests.stream(stream), self._rules))

    def stream_events(
        self, stream: Stream | str, *, timeout: float | None = None
    ) -> AsyncGenerator[StreamEvent, None]:
        """All that is found out about a stream. As `Client.stream_events`."""
        return self._iterate(plans.stream_events(stream, self._rules, timeout))

    async def end_stream(self, stream: Stream | str) -> None:
        """Have a stream followed no further. As `Client.end_stream`."""
        await self._run(plans.exchange(requests.end_stream(stream), self._rules))

    async def health(self) -> Health:
        """What is there and what is loaded. As `Client.health`."""
        return await self._run(plans.ask(Health, requests.health(), self._rules))

    async def ready(self) -> Readiness:
        """Whether a recording sent now would be scored. As `Client.ready`."""
        return await self._run(plans.ask(Readiness, requests.ready(), self._rules))

    async def aclose(self) -> None:
        """Close the connections. May be repeated."""
        if self._owned:
            await self._http.aclose()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self.aclose()

    async def _run(self, steps: Steps[T]) -> T:
        reply = None
        async with aclosing(_Line(self._http, self._to)) as line:
            with closing(steps):
                while True:
                    try:
                        step = steps.send(reply)
                    except StopIteration as done:
                        result: T = done.value
                        return result
                    reply = await line.perform(step)

    async def _iterate(self, steps: Telling[T]) -> AsyncGenerator[T, None]:
        reply = None
        async with aclosing(_Line(self._http, self._to)) as line:
            with closing(steps):
                while True:
                    try:
                        step = steps.send(reply)
                    except StopIteration:
                        return
                    if isinstance(step, Tell):
                        reply = None
                        yield step.item
                    else:
                        reply = await line.perform(step)


class _Line:
    """Does the steps of one plan, and holds the answer that it has open."""

    def __init__(self, http: httpx.AsyncClient, to: transport.Address) -> None:
        self._http = http
        self._to = to
        self._open: httpx.Response | None = None
        self._pieces: AsyncIterator[bytes] | None = None

    async def perform(self, step: Step) -> Any:
        """What came of it, as the step says."""
        match step:
            case Send():
                return await self._send(step)
            case Read():
                return await self._read()
            case Pause(seconds):
                await asyncio.sleep(seconds)
            case Report(to, job):
                if inspect.isawaitable(told := to(job)):
                    await told
        return None

    async def aclose(self) -> None:
        if self._open is not None:
            await self._open.aclose()
            self._open = self._pieces = None

    async def _send(self, step: Send) -> Answer | Broken:
        await self.aclose()
        try:
            with transport.prepared(step, self._to) as given:
                asked = self._http.build_request(**given)
                response = await self._http.send(asked, stream=True, follow_redirects=False)
            if transport.stays_open(step, response):
                self._open, self._pieces = response, response.aiter_bytes()
            else:
                async with aclosing(response):
                    await response.aread()
        except httpx.RequestError as error:
            return transport.broken(error)
        return transport.answer(response)

    async def _read(self) -> bytes | Broken:
        if self._pieces is None:
            return b""
        try:
            return await anext(self._pieces, b"")
        except httpx.RequestError as error:
            return transport.broken(error)
