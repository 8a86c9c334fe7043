"""Requests to addresses of strangers, against real servers on loopback. Nothing leaves it."""

import ipaddress
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import httpcore
import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from service.addresses import is_public
from service.outgoing import (
    OutgoingRefused,
    TooLarge,
    check_allow,
    check_url,
    client,
    fetch,
    reader,
)

Answer = Callable[["_Handler"], None]


@dataclass
class Site:
    """A server: what it answers, and the paths and headers it was asked with."""

    port: int
    answer: Answer
    ending: threading.Event
    asked: list[str] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)

    @property
    def entry(self) -> str:
        return f"127.0.0.1:{self.port}"

    @property
    def url(self) -> str:
        return f"http://{self.entry}/"


class _Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        self.site.asked.append(self.path)
        self.site.headers.append({k.lower(): v for k, v in self.headers.items()})
        self.site.answer(self)

    def reply(self, body: bytes = b"", status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


class _Server(ThreadingHTTPServer):
    def handle_error(self, *_: object) -> None:
        """A client that hangs up is what half of these tests are about."""


class _Server6(_Server):
    address_family = socket.AF_INET6


Serve = Callable[..., Site]


@pytest.fixture
def serve() -> Iterator[Serve]:
    """`serve(answer)`: a server on loopback until the test ends."""
    with ExitStack() as stack:

        def start(
            answer: Answer = lambda handler: handler.reply(b"hello"),
            context: ssl.SSLContext | None = None,
            host: str = "127.0.0.1",
        ) -> Site:
            handler = type("Handler", (_Handler,), {})
            server = (_Server6 if ":" in host else _Server)((host, 0), handler)
            if context:
                server.socket = context.wrap_socket(server.socket, server_side=True)
            site = Site(server.server_address[1], answer, threading.Event())
            handler.site = site  # type: ignore[attr-defined]
            thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            thread.start()
            stack.callback(server.server_close)
            stack.callback(thread.join)
            stack.callback(server.shutdown)
            stack.callback(site.ending.set)
            return site

        yield start


def names(**known: Sequence[str]) -> Callable[[str, int], Sequence[str]]:
    """A resolver that knows these names, with _ for dots."""

    def look_up(host: str, port: int) -> Sequence[str]:
        try:
            return known[host.replace(".", "_")]
        except KeyError:
            raise socket.gaierror(socket.EAI_NONAME, "no such name") from None

    return look_up


@pytest.fixture
def connections(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """Addresses that would be connected to; none is."""
    tried: list[tuple[str, int]] = []

    def connect(_self: object, host: str, port: int, *_: object) -> httpcore.NetworkStream:
        tried.append((host, port))
        raise httpcore.ConnectError("not in a test")

    monkeypatch.setattr(httpcore.SyncBackend, "connect_tcp", connect)
    return tried


# Where it goes


def test_an_allowed_private_address_is_reached(serve: Serve) -> None:
    site = serve()
    for allow in ([site.entry], ["127.0.0.1"]):
        with client(allow) as http:
            assert http.get(f"{site.url}a?b=c").status_code == 200
    assert site.asked == ["/a?b=c"] * 2
    assert site.headers[0]["user-agent"] == "syncnet-service"
    assert site.headers[0]["accept-encoding"] == "identity"


def test_a_private_address_is_refused_before_it_is_connected_to(serve: Serve) -> None:
    site = serve()
    for allow in ([], ["localhost"], [f"127.0.0.1:{site.port + 1}"], ["127.0.0.2"]):
        with client(allow) as http, pytest.raises(OutgoingRefused):
            http.get(site.url)
    assert site.asked == []


FORMS = [
    "127.0.0.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7f.1",
    "0177.0.0.1",
    "017700000001",
    "127.1",
    "127.0.1",
    "0",
    "0.0.0.0",
    "127。0。0。1",
    "①②⑦.⓪.⓪.①",
    "%31%32%37.0.0.1",
    "localhost",
    "LOCALHOST.",
    "me.localhost",
    "[::1]",
    "[::]",
    "[::ffff:127.0.0.1]",
    "[::ffff:7f00:1]",
    "[::127.0.0.1]",
    "[64:ff9b::127.0.0.1]",
    "[64:ff9b::a00:1]",
    "[64:ff9b:1::127.0.0.1]",
    "[2002:7f00:1::]",
    "[2001:0:7f00:1::]",
    "[fe80::1%25lo]",
    "[fe80::1]",
    "[fc00::1]",
    "[ff02::1]",
    "[3fff::1]",
    "[2606:4700:4700::1111%25lo]",
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "198.18.0.1",
    "224.0.0.1",
    "233.252.0.1",
    "240.0.0.1",
    "255.255.255.255",
]


@pytest.mark.slow
@pytest.mark.parametrize("host", FORMS)
def test_no_way_of_writing_it_reaches_a_private_host(
    host: str, connections: list[tuple[str, int]]
) -> None:
    for url in (f"http://{host}/", f"https://{host}:8443/x", f"http://{host}:8080"):
        with pytest.raises(OutgoingRefused):
            check_url(url)
        with client() as http, pytest.raises((OutgoingRefused, httpx.InvalidURL)):
            http.get(url)
    assert connections == []


@pytest.mark.parametrize(
    "url",
    [
        "ftp://example.org/",
        "file:///etc/passwd",
        "gopher://example.org/",
        "//example.org/",
        "example.org",
        "http://",
        "http:///path",
        "",
        "https://user:secret@example.org/",
        "https://user@example.org/",
        "http://example.org:22/",
        "http://example.org:0/",
        "http://example.org:65536/",
        "http://example.org:-1/",
        "http://exa mple.org/",
        "http://example..org/",
        "http://*/",
        f"http://{'a' * 64}.org/",
        f"http://{'a.' * 130}org/",
        "http://example.org/\r\nHost: other",
        "https://[::1/",
        "http://\ud800.org/",
        "http://example.org/\udfff",
    ],
)
def test_only_plain_addresses_of_the_web_are_requested(url: str) -> None:
    with pytest.raises(OutgoingRefused) as caught:
        check_url(url)
    assert caught.value.code == "address_refused"
    assert caught.value.advice
    assert "example" not in str(caught.value)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org",
        "https://example.org:443/hook?x=y#z",
        "https://EXAMPLE.org.:8443/",
        "http://a_b.example-1.org:1024/",
        "https://xn--bcher-kva.example/",
        "https://bücher.example/",
        "https://93.184.216.34/",
        "https://[2606:4700:4700::1111]:65535/",
        "https://[64:ff9b::5db8:d822]/",
    ],
)
def test_public_addresses_pass(url: str) -> None:
    check_url(url)


@pytest.mark.parametrize(
    ("url", "allow", "passes"),
    [
        ("http://10.0.0.1/", ["10.0.0.1"], True),
        ("http://10.0.0.1:25/", ["10.0.0.1"], True),
        ("http://10.0.0.1/", ["10.0.0.1:80"], True),
        ("https://10.0.0.1/", ["10.0.0.1:80"], False),
        ("http://10.0.0.10/", ["10.0.0.1"], False),
        ("http://Localhost.:8000/", ["LOCALHOST:8000"], True),
        ("http://[0:0::1]:8000/", ["[::1]:8000"], True),
        ("http://[::1]/", ["::1"], True),
        ("http://[::ffff:127.0.0.1]/", ["127.0.0.1"], False),
        ("http://a.internal.localhost/", ["internal.localhost"], False),
        ("http://user@10.0.0.1/", ["10.0.0.1"], False),
        ("ftp://10.0.0.1/", ["10.0.0.1"], False),
    ],
)
def test_the_operator_opens_single_hosts(url: str, allow: list[str], passes: bool) -> None:
    if passes:
        check_url(url, allow)
    else:
        with pytest.raises(OutgoingRefused):
            check_url(url, allow)


@pytest.mark.parametrize(
    "entry", ["", "*", "10.0.0.0/8", "http://a", "a:b", "a:99999", "a:0", "u@a", "a/b", "a b", "7"]
)
def test_an_entry_that_names_no_host_is_refused(entry: str) -> None:
    with pytest.raises(ValueError, match="host or host:port"):
        check_allow(["good.example", entry])
    with pytest.raises(ValueError, match="host or host:port"):
        client([entry])


# Names


def test_a_name_that_leads_to_a_private_address_is_refused(serve: Serve) -> None:
    site = serve()
    for found in (["127.0.0.1"], ["93.184.216.34", "127.0.0.1"], ["::ffff:127.0.0.1"], ["::1"]):
        with client(resolve=names(good_example=found)) as http, pytest.raises(OutgoingRefused) as e:
            http.get(f"http://good.example:{site.port}/")
        assert "127.0.0.1" not in str(e.value)
        assert "::1" not in str(e.value)
    assert site.asked == []


def test_the_system_is_asked_too(serve: Serve) -> None:
    site = serve()
    with client() as http, pytest.raises(OutgoingRefused):
        http.get(f"http://localhost.:{site.port}/")
    with client([f"localhost:{site.port}"]) as http:
        assert http.get(f"http://localhost:{site.port}/").status_code == 200


def test_a_name_is_looked_up_once_and_that_answer_connected_to(
    connections: list[tuple[str, int]],
) -> None:
    answers = iter([["93.184.216.34"], ["127.0.0.1"]])
    with client(resolve=lambda host, port: next(answers)) as http:
        with pytest.raises(httpx.ConnectError):
            http.get("http://rebinding.example/")
        assert connections == [("93.184.216.34", 80)]
        with pytest.raises(OutgoingRefused):
            http.get("http://rebinding.example/")
    assert connections == [("93.184.216.34", 80)]


def test_all_public_addresses_are_tried(connections: list[tuple[str, int]]) -> None:
    found = ["2606:4700:4700::1111", "93.184.216.34"]
    with client(resolve=names(good_example=found)) as http, pytest.raises(httpx.ConnectError):
        http.get("https://good.example/")
    assert connections == [(address, 443) for address in found]


def test_an_allowed_name_is_reached_through_what_its_resolver_says(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = serve()
    monkeypatch.setattr(socket, "getaddrinfo", numeric_only(socket.getaddrinfo))
    with client(["internal.example"], resolve=names(internal_example=["127.0.0.1"])) as http:
        assert http.get(f"http://internal.example:{site.port}/").status_code == 200
    assert site.headers[0]["host"] == f"internal.example:{site.port}"


def numeric_only(real: Callable[..., object]) -> Callable[..., object]:
    def getaddrinfo(host: str, *rest: object, **named: object) -> object:
        ipaddress.ip_address(host)  # raises for a name: only our own resolver may look it up
        return real(host, *rest, **named)

    return getaddrinfo


def test_a_name_without_an_address_may_have_one_later() -> None:
    with client(resolve=names()) as http, pytest.raises(httpx.ConnectError):
        http.get("http://nowhere.example/")


def test_a_look_up_that_hangs_ends_with_the_request() -> None:
    hanging = threading.Event()

    def look_up(host: str, port: int) -> Sequence[str]:
        hanging.wait(60)
        return []

    with client(resolve=look_up, total_s=0.2) as http, pytest.raises(httpx.ConnectTimeout):
        http.get("http://slow.example/")
    hanging.set()


def test_proxies_of_the_environment_are_not_used(
    serve: Serve, monkeypatch: pytest.MonkeyPatch
) -> None:
    proxy, site = serve(), serve()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
        monkeypatch.setenv(name, proxy.url)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with client([site.entry]) as http:
        http.get(site.url)
    assert (len(site.asked), proxy.asked) == (1, [])


@pytest.mark.parametrize(
    "option", ["transport", "mounts", "proxy", "trust_env", "http2", "follow_redirects"]
)
def test_the_checks_cannot_be_left_out(option: str) -> None:
    with pytest.raises(TypeError, match=option):
        client(**dict[str, Any]({option: None}))


# Answers


def test_a_redirect_is_an_answer_like_any_other(serve: Serve) -> None:
    other = serve()
    site = serve(lambda handler: handler.reply(status=302, Location=other.url))
    with client([site.entry, other.entry]) as http:
        answer = http.get(site.url)
        assert (answer.status_code, answer.headers["Location"]) == (302, other.url)
    assert other.asked == []


def endless(handler: _Handler) -> None:
    handler.reply()
    while not handler.site.ending.is_set():
        handler.wfile.write(bytes(65_536))


def packed(handler: _Handler) -> None:
    handler.reply(b"this is not packed", Content_Encoding="gzip")


def announced(handler: _Handler) -> None:
    handler.reply(Content_Length="1000000000")


def drip(handler: _Handler) -> None:
    handler.reply()
    while not handler.site.ending.wait(0.01):
        handler.wfile.write(b".")


@pytest.mark.parametrize("answer", [endless, packed, announced, drip])
def test_no_body_is_read(serve: Serve, answer: Answer) -> None:
    site = serve(answer)
    with client([site.entry], timeout=30) as http:
        assert (http.get(site.url).status_code, http.get(site.url).content) == (200, b"")
        with http.stream("GET", site.url) as response:
            assert response.status_code == 200


def drip_headers(handler: _Handler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
    while not handler.site.ending.wait(0.01):
        handler.wfile.write(b".")


def stay_silent(handler: _Handler) -> None:
    handler.site.ending.wait()


@pytest.mark.parametrize("answer", [drip_headers, stay_silent])
def test_an_answer_that_trickles_without_end_is_cut(serve: Serve, answer: Answer) -> None:
    """Every single read is quick, so only the limit on the whole can end this."""
    site = serve(answer)
    with client([site.entry], total_s=0.5, timeout=30) as http, pytest.raises(httpx.ReadTimeout):
        http.get(site.url)


def test_every_request_has_a_time_of_its_own(serve: Serve) -> None:
    site = serve(lambda handler: (handler.site.ending.wait(0.3), handler.reply())[1])
    with client([site.entry], total_s=1.0) as http:
        assert [http.get(site.url).status_code for _ in range(4)] == [200] * 4


# TLS


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for good.example that vouches for itself, with its key."""
    if shutil.which("openssl") is None:
        pytest.skip("there is no openssl program to make a certificate with")
    folder = tmp_path_factory.mktemp("tls")
    path = folder / "both.pem"
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=good.example"
    subprocess.run(
        [
            *command.split(),
            *("-addext", "subjectAltName=DNS:good.example"),
            *("-keyout", str(folder / "key.pem")),
            *("-out", str(folder / "cert.pem")),
        ],
        check=True,
        capture_output=True,
    )
    path.write_bytes((folder / "key.pem").read_bytes() + (folder / "cert.pem").read_bytes())
    return path


def test_certificates_are_checked_by_name_not_by_address(
    serve: Serve, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(certificate)
    trusting = ssl.create_default_context(cafile=str(certificate))
    site = serve(context=server)
    known = names(good_example=["127.0.0.1"], other_example=["127.0.0.1"])
    allow = ["good.example", "other.example"]
    with client(allow, resolve=known, verify=trusting) as http:
        assert http.get(f"https://good.example:{site.port}/").status_code == 200
        with pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"):
            http.get(f"https://other.example:{site.port}/")
    with (
        client(allow, resolve=known) as http,
        pytest.raises(httpx.ConnectError, match="CERTIFICATE_VERIFY_FAILED"),
    ):
        http.get(f"https://good.example:{site.port}/")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    with client(allow, resolve=known) as http:
        assert http.get(f"https://good.example:{site.port}/").status_code == 200


def test_ipv6_is_spoken(serve: Serve) -> None:
    try:
        site = serve(host="::1")
    except OSError:
        pytest.skip("this machine has no IPv6 on loopback")
    with client(["::1"]) as http:
        assert http.get(f"http://[::1]:{site.port}/").status_code == 200
    with client() as http, pytest.raises(OutgoingRefused):
        http.get(f"http://[::1]:{site.port}/")
    assert site.asked == ["/"]


# Addresses


@given(st.ip_addresses(v=4))
def test_an_address_in_disguise_is_what_it_is(inner: ipaddress.IPv4Address) -> None:
    number = int(inner)
    public = is_public(inner)
    assert not (public and (inner.is_private or inner.is_multicast or inner.is_reserved))
    mapped = ipaddress.IPv6Address((0xFFFF << 32) | number)
    nat64 = ipaddress.IPv6Address((0x64FF9B << 96) | number)
    assert is_public(mapped) == is_public(nat64) == public
    assert not is_public(ipaddress.IPv6Address((0x2002 << 112) | (number << 80)))  # 6to4
    assert not is_public(ipaddress.IPv6Address((0x20010000 << 96) | (number << 64)))  # Teredo
    assert not is_public(ipaddress.IPv6Address(number))  # IPv4-compatible


@given(st.ip_addresses(v=6))
def test_only_unicast_of_the_internet_is_public(address: ipaddress.IPv6Address) -> None:
    if is_public(address):
        assert int(address) >> 125 == 1 or address.ipv4_mapped or int(address) >> 96 == 0x64FF9B


@given(st.text(st.characters() | st.characters(categories=["Cs"]), max_size=60))
def test_no_text_breaks_the_check(text: str) -> None:
    for url in (text, f"http://{text}", f"http://{text}@good.example", f"https://a:{text}/"):
        try:
            check_url(url)
        except OutgoingRefused:
            continue
        assert httpx.URL(url).scheme in ("http", "https")


# Bodies


def test_a_body_is_read_with_its_status_and_headers(serve: Serve) -> None:
    site = serve(lambda handler: handler.reply(b"hello", ETag="x"))
    with reader([site.entry]) as http:
        found = fetch(http, site.url, most_bytes=5)
    assert (found.url, found.status, found.body) == (site.url, 200, b"hello")
    assert found.headers["etag"] == "x"
    assert site.headers[0]["accept-encoding"] == "identity"


def test_a_failure_has_no_body(serve: Serve) -> None:
    site = serve(lambda handler: handler.reply(b"a long story", status=404))
    with reader([site.entry]) as http:
        assert fetch(http, site.url, most_bytes=1).body == b""


@pytest.mark.parametrize("answer", [endless, announced])
def test_a_body_that_is_too_large_is_not_read_to_its_end(serve: Serve, answer: Answer) -> None:
    site = serve(answer)
    with reader([site.entry]) as http, pytest.raises(TooLarge, match="1,000,000"):
        fetch(http, site.url, most_bytes=1_000_000)


def test_a_body_is_not_unpacked(serve: Serve) -> None:
    """A few packed bytes may be gigabytes."""
    site = serve(packed)
    with reader([site.entry]) as http, pytest.raises(httpx.DecodingError):
        fetch(http, site.url, most_bytes=100)


@pytest.mark.slow
@pytest.mark.parametrize("answer", [drip, drip_headers, stay_silent])
def test_a_body_that_trickles_is_cut_off(serve: Serve, answer: Answer) -> None:
    site = serve(answer)
    with reader([site.entry], timeout=30) as http, pytest.raises(httpx.ReadTimeout):
        fetch(http, site.url, most_bytes=10**9, total_s=0.5)


def test_a_part_is_asked_for_and_nothing_else_taken(serve: Serve) -> None:
    def answer(handler: _Handler) -> None:
        if handler.path == "/part":
            handler.reply(b"234", status=206, Content_Range="bytes 2-4/9")
        elif handler.path == "/other":
            handler.reply(b"345", status=206, Content_Range="bytes 3-5/9")
        else:
            handler.reply(b"012345678")

    site = serve(answer)
    with reader([site.entry]) as http:
        assert fetch(http, f"{site.url}part", most_bytes=99, part=(2, 3)).body == b"234"
        for path in ("other", "whole"):
            with pytest.raises(httpx.RemoteProtocolError):
                fetch(http, f"{site.url}{path}", most_bytes=99, part=(2, 3))
    assert site.headers[0]["range"] == "bytes=2-4"


def redirect(to: str) -> Answer:
    return lambda handler: handler.reply(status=302, Location=to, Content_Length="0")


def test_redirects_are_followed_and_the_last_address_told(serve: Serve) -> None:
    last = serve()
    first = serve(redirect(f"{last.url}b"))
    with reader([first.entry, last.entry]) as http:
        found = fetch(http, first.url, most_bytes=99)
    assert (found.url, found.body) == (f"{last.url}b", b"hello")


def test_a_redirect_to_a_private_address_is_refused_before_it_is_followed(serve: Serve) -> None:
    secret = serve()
    for to in (
        secret.url,
        f"http://localhost:{secret.port}/",
        "http://169.254.169.254/",
        "ftp://a",
    ):
        site = serve(redirect(to))
        with reader([site.entry]) as http, pytest.raises(OutgoingRefused):
            fetch(http, site.url, most_bytes=99)
    assert secret.asked == []


def test_a_redirect_is_looked_up_with_the_same_care(serve: Serve) -> None:
    secret = serve()
    site = serve(redirect(f"http://rebound.example:{secret.port}/"))
    known = names(rebound_example=["127.0.0.1"])
    with reader([site.entry], resolve=known) as http, pytest.raises(OutgoingRefused):
        fetch(http, site.url, most_bytes=99)
    assert secret.asked == []


def test_redirects_end(serve: Serve) -> None:
    site = serve(redirect("/again"))
    with reader([site.entry]) as http, pytest.raises(httpx.TooManyRedirects):
        fetch(http, site.url, most_bytes=99, redirects=3)
    assert len(site.asked) == 4


def test_all_redirects_share_one_time(serve: Serve) -> None:
    def answer(handler: _Handler) -> None:
        handler.site.ending.wait(0.3)
        redirect("/again")(handler)

    site = serve(answer)
    with reader([site.entry]) as http, pytest.raises(httpx.TimeoutException):
        fetch(http, site.url, most_bytes=99, total_s=0.7, redirects=10)


def test_cookies_are_not_kept(serve: Serve) -> None:
    site = serve(lambda handler: handler.reply(b"x", Set_Cookie="who=you"))
    with reader([site.entry]) as http:
        fetch(http, site.url, most_bytes=99)
        fetch(http, site.url, most_bytes=99)
    assert "cookie" not in site.headers[1]


def test_a_reader_reads_by_fetch_alone(serve: Serve) -> None:
    site = serve()
    with reader([site.entry]) as http, pytest.raises(TypeError, match="fetch"):
        http.get(site.url)
    assert site.asked == []


@pytest.mark.parametrize("url", ["", "no address", "http://[", "file:///etc/passwd", "//a/b"])
def test_what_is_no_address_is_not_fetched(url: str) -> None:
    with reader() as http, pytest.raises(OutgoingRefused):
        fetch(http, url, most_bytes=99)
