"""What lies between a browser and the service, and may break."""

import contextlib
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self

_CHUNK = 16 * 1024


class Wire:
    """A port of its own that passes everything on, and cuts uploads off when it is told to.

    A context manager: leaving ends every connection.
    """

    def __init__(self, port: int) -> None:
        """port: the service's."""
        self._port = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []
        self._open: list[socket.socket] = []
        self._most: int | None = None
        self.cuts = 0

    def cut_uploads(self, *, after: int) -> None:
        """From now on break connections over which a browser sends more than `after` bytes.

        Everything but an upload is smaller. What breaks on a connection that lay idle before,
        Chromium sends again by itself, and tells nobody."""
        with self._lock:
            self._most = after

    def mend(self) -> None:
        """Break nothing any more."""
        with self._lock:
            self._most = None

    def __enter__(self) -> Self:
        self._start(self._accept)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._threads[0].join()  # nothing new comes
        self._listener.close()
        for end in self._open:
            _end(end)
        for thread in self._threads:
            thread.join()
        for end in self._open:
            end.close()

    def _start(self, work: Callable[..., None], *arguments: object) -> None:
        thread = threading.Thread(target=work, args=arguments)
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        while True:
            try:
                browser, _ = self._listener.accept()
            except OSError:  # the listener was shut down
                return
            try:
                service = socket.create_connection(("127.0.0.1", self._port))
            except OSError:  # the service is away
                browser.close()
                continue
            self._open += [browser, service]
            self._start(self._pass_on, browser, service, True)
            self._start(self._pass_on, service, browser, False)

    def _pass_on(self, source: socket.socket, sink: socket.socket, uploading: bool) -> None:
        passed = 0
        with contextlib.suppress(OSError):
            while data := source.recv(_CHUNK):
                passed += len(data)
                if uploading and self._breaks(passed):
                    break
                sink.sendall(data)
        _end(source)
        _end(sink)

    def _breaks(self, passed: int) -> bool:
        with self._lock:
            if self._most is None or passed <= self._most:
                return False
            self.cuts += 1
            return True


def _end(connection: socket.socket) -> None:
    """Whoever waits for something on it is told that nothing comes any more."""
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)
