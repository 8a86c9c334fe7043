"""What the clients do, written once, without doing any of it.

A plan is a generator. It says what is to happen next (send a request, wait, tell the caller
something) and is told what came of it; `Client` and `AsyncClient` do that, each in its own way, and
know nothing else. A plan returns its result, or raises an error of `syncnet_client.errors`.
"""

import time
from collections.abc import Callable, Generator
from dataclasses import dataclass, field
from functools import partial
from http import HTTPStatus
from http.client import responses
from typing import Any, Generic, TypeAlias, TypeVar

from syncnet_client import requests, streams
from syncnet_client.answers import Job, JobPage, JobSummary, Problem, Progress, Verdict
from syncnet_client.errors import (
    ConnectionFailed,
    StreamFailed,
    UnexpectedAnswer,
    WaitTimeout,
    service_error,
)
from syncnet_client.parsing import parse
from syncnet_client.requests import EVENT_STREAM, Request
from syncnet_client.retries import Answer, Broken, Retries, pause, retry_after
from syncnet_client.sse import Parser, ServerEvent
from syncnet_client.streams import Stream, StreamEvent

T = TypeVar("T")

POLL_S = 1.0
"""Seconds from one look at a job to the next, where the service does not say."""

RECONNECT_S = 2.0
"""Seconds before events that broke off are asked for again, where the service does not say."""

LONGEST_S = 60.0
"""And at most, whatever the service says."""


@dataclass(frozen=True, slots=True)
class Send:
    """Send the request; told an Answer, without its body where the request is streamed and all is
    well, or Broken. timeout_s: of each of its steps: to connect, to send or receive a piece;
    left_s: of sending a recording as a whole."""

    request: Request
    timeout_s: float
    left_s: float


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the answer that is streamed; told bytes, none at the end, or Broken."""


@dataclass(frozen=True, slots=True)
class Pause:
    """Let so many seconds pass."""

    seconds: float


OnProgress: TypeAlias = Callable[[Job], object]
"""Told the job at each change; what it returns is not looked at."""


@dataclass(frozen=True, slots=True)
class Report:
    """Call a function of the caller's."""

    to: OnProgress
    job: Job


@dataclass(frozen=True, slots=True)
class Tell(Generic[T]):
    """Give this to whoever iterates."""

    item: T


Step: TypeAlias = Send | Read | Pause | Report
Steps: TypeAlias = Generator[Step, Any, T]
"""A plan whose result is a T."""

Telling: TypeAlias = Generator[Step | Tell[T], Any, None]
"""A plan that tells any number of T."""


@dataclass(frozen=True, slots=True)
class Rules:
    """How a client behaves. timeout_s: of each step of a request, as in `Send`."""

    timeout_s: float = 60.0
    retries: Retries = field(default_factory=Retries)


class Deadline:
    """When the caller's patience ends, and what to say then. seconds: None for never."""

    def __init__(
        self, seconds: float | None, *, key: str | None = None, job_id: str | None = None
    ) -> None:
        self._seconds = seconds
        self._end = None if seconds is None else time.monotonic() + seconds
        self._key = key
        self.job_id = job_id

    def left(self) -> float:
        """Seconds, infinitely many where it never ends."""
        return float("inf") if self._end is None else self._end - time.monotonic()

    def passed(self) -> WaitTimeout:
        """The error that says so."""
        of = f" of the job {self.job_id}" if self.job_id else ""
        return WaitTimeout(f"No answer{of} in {self._seconds:g} s.", self.job_id, self._key)


def score(
    request: Request, rules: Rules, timeout_s: float | None, on_progress: OnProgress | None
) -> Steps[Verdict]:
    """Send a recording and have its verdict.

    The first request waits for it. Where that one breaks, or the service cannot answer just then,
    the further ones ask for a job and no more, which is looked at until it has ended: what is in
    the way of a long wait, such as a proxy, is so only once.
    """
    deadline = Deadline(timeout_s, key=requests.key_of(request))
    leaving = requests.leaving(request)
    first = request if on_progress is None else leaving
    answer = yield from exchange(first, rules, deadline, again=leaving)
    if answer.status != HTTPStatus.ACCEPTED:
        return parse(Verdict, answer.body)
    deadline.job_id = parse(Job, answer.body).job_id
    yield from _wait_a_moment(answer, deadline)
    return (yield from _ended(deadline.job_id, rules, deadline, on_progress))


def submit(request: Request, rules: Rules, timeout_s: float | None) -> Steps[Job]:
    """Send a recording and have its job."""
    deadline = Deadline(timeout_s, key=requests.key_of(request))
    return ask(Job, requests.leaving(request), rules, deadline)


def wait(
    job: Job | str, rules: Rules, timeout_s: float | None, on_progress: OnProgress | None
) -> Steps[Verdict]:
    """Look at a job until it has ended, and have its verdict."""
    job_id = requests.id_of(job)
    return _ended(job_id, rules, Deadline(timeout_s, job_id=job_id), on_progress)


def ask(
    kind: type[T], request: Request, rules: Rules, deadline: Deadline | None = None
) -> Steps[T]:
    """Send a request and have what it answers."""
    answer = yield from exchange(request, rules, deadline)
    return parse(kind, answer.body)


def jobs(page: Callable[[str | None], Request], rules: Rules) -> Telling[JobSummary]:
    """Tell all jobs, newest first, a page at a time. page: the request for the one at a cursor."""
    cursor = None
    while True:
        here = yield from ask(JobPage, page(cursor), rules)
        for one in here.jobs:
            yield Tell(one)
        if here.next is None:
            return
        cursor = here.next


def events(job: Job | str, rules: Rules, timeout_s: float | None) -> Telling[Progress | Verdict]:
    """Tell each change of a job, then its verdict."""
    deadline = Deadline(timeout_s, job_id=requests.id_of(job))
    return _follow(lambda _: requests.events(job), _of_a_job, Verdict, rules, deadline)


def stream_events(
    stream: Stream | str, rules: Rules, timeout_s: float | None
) -> Telling[StreamEvent]:
    """Tell all that is found out about a stream, until it ends."""
    request = partial(requests.stream_events, stream)
    return _follow(request, _of_a_stream, streams.Ended, rules, Deadline(timeout_s))


def exchange(
    request: Request,
    rules: Rules,
    deadline: Deadline | None = None,
    again: Request | None = None,
) -> Steps[Answer]:
    """Send a request, again where that helps, and have an answer that is no refusal.

    again: what is sent at further attempts, the same where it is None. Raises ServiceError,
    ConnectionFailed, WaitTimeout, UnexpectedAnswer.
    """
    deadline = deadline or Deadline(None)
    attempt = 0
    while (left := deadline.left()) > 0:
        reply: Answer | Broken = yield Send(request, min(rules.timeout_s, left), left)
        seconds = pause(reply, request, attempt, rules.retries)
        too_late = (seconds or 0.0) >= deadline.left()
        if too_late and isinstance(reply, Broken):
            raise deadline.passed() from reply.cause
        if too_late or seconds is None:
            return _answered(reply, request)
        yield Pause(seconds)
        request = again or request
        attempt += 1
    raise deadline.passed()


def _follow(
    request: Callable[[str], Request],
    read: Callable[[ServerEvent], T | None],
    last: type,
    rules: Rules,
    deadline: Deadline,
) -> Telling[T]:
    """Tell what comes as server-sent events, up to the `last` of them. What breaks off is asked for
    again, and what is told twice comes once.

    request: for what comes after the event of an id; read: what an event says, None for kinds that
    are not known here.
    """
    told: T | None = None
    last_id = ""
    in_vain = 0  # connections in a row over which nothing came
    while True:
        answer = yield from exchange(request(last_id), rules, deadline)
        if not answer.is_a(EVENT_STREAM):
            raise UnexpectedAnswer("No events were answered.")
        parser = Parser(last_id)
        while isinstance(chunk := (yield Read()), bytes) and chunk:
            for event in parser.feed(chunk):
                news = read(event)
                if news is None or news == told:
                    continue
                yield Tell(news)
                if isinstance(news, last):
                    return
                told = news
            if deadline.left() <= 0:
                raise deadline.passed()
        last_id = parser.last_id
        in_vain = 0 if parser.heard else in_vain + 1
        if in_vain > rules.retries.times:
            raise ConnectionFailed("The events break off again and again.")
        yield from _wait(RECONNECT_S if parser.retry_s is None else parser.retry_s, deadline)


def _ended(
    job_id: str, rules: Rules, deadline: Deadline, on_progress: OnProgress | None
) -> Steps[Verdict]:
    etag: str | None = None
    told: Job | None = None
    while True:
        answer = yield from exchange(requests.job(job_id, etag), rules, deadline)
        if answer.status != HTTPStatus.NOT_MODIFIED:
            etag = answer.headers.get("etag")
            job = parse(Job, answer.body)
            if on_progress is not None and job != told:
                yield Report(on_progress, job)
                told = job
            if job.error is not None:
                raise service_error(job.error)
            if job.result is not None:
                return job.result
        yield from _wait_a_moment(answer, deadline)


def _wait_a_moment(answer: Answer, deadline: Deadline) -> Steps[None]:
    """As long as the answer asks for, before the job is looked at again."""
    asked = retry_after(answer.headers)
    yield from _wait(POLL_S if asked is None else asked, deadline)


def _wait(seconds: float, deadline: Deadline) -> Steps[None]:
    """LONGEST_S at most. Raises WaitTimeout where there is not as much time, once it is over."""
    seconds, left = min(seconds, LONGEST_S), deadline.left()
    yield Pause(max(0.0, min(seconds, left)))
    if seconds >= left:
        raise deadline.passed()


def _of_a_job(event: ServerEvent) -> Progress | Verdict | None:
    """What an event of a job says. Raises ServiceError where the job came to nothing."""
    match event.kind:
        case "progress":
            return parse(Progress, event.data)
        case "result":
            return parse(Verdict, event.data)
        case "error":
            raise service_error(parse(Problem, event.data))
        case "cancelled":
            raise service_error(
                Problem(
                    code="cancelled",
                    status=HTTPStatus.CONFLICT,
                    title="The job was cancelled",
                    advice="Send the recording again, with another idempotency key.",
                )
            )
    return None


def _of_a_stream(event: ServerEvent) -> StreamEvent | None:
    """What an event of a stream says. Raises StreamFailed where it cannot be followed."""
    if event.kind == "error":
        raise StreamFailed(parse(streams.Failure, event.data))
    kind = streams.EVENTS.get(event.kind)
    return None if kind is None else parse(kind, event.data)


def _answered(reply: Answer | Broken, request: Request) -> Answer:
    """The answer, where it is no refusal. Raises ServiceError, ConnectionFailed,
    UnexpectedAnswer."""
    if isinstance(reply, Broken):
        raise ConnectionFailed(reply.reason) from reply.cause
    if reply.refuses(request):
        raise service_error(_problem(reply), retry_after(reply.headers))
    if 300 <= reply.status < 400 and reply.status != HTTPStatus.NOT_MODIFIED:
        raise UnexpectedAnswer(f"The address redirects elsewhere ({reply.status}).")
    return reply


def _problem(answer: Answer) -> Problem:
    """What a refusal says; its status alone where something else refused than the service."""
    try:
        return parse(Problem, answer.body)
    except UnexpectedAnswer:
        title = responses.get(answer.status, "")
        return Problem(code=f"http_{answer.status}", status=answer.status, title=title)
