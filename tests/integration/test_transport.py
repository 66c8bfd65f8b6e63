# SPDX-License-Identifier: MIT
"""Both transports against a small real server."""

from __future__ import annotations

import gzip
import socket
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import ClusterConnectionError
from openpaisdk.http.connection import TransportError
from openpaisdk.rest._plain import SocketTransport
from openpaisdk.rest._requests import RequestsTransport
from openpaisdk.rest.client import RestClient
from openpaisdk.rest.transport import HttpTransport, Request, Transport

pytestmark = pytest.mark.integration

BIG = b"0123456789abcdef" * 65536


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def log_message(self, format: str, *args: Any) -> None:
        pass

    def handle(self) -> None:
        self.server.connections += 1
        super().handle()

    def _answer(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        self.server.seen.append((self.command, self.path, dict(self.headers), self.rfile.read(length)))
        getattr(self, "_path_" + self.path.strip("/").partition("?")[0].replace("-", "_"))()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = _answer

    def _send(self, body: bytes, status: int = 200, **headers: str) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _path_plain(self) -> None:
        self._send(b"hello")

    def _path_big(self) -> None:
        self._send(BIG)

    def _path_echo(self) -> None:
        self._send(self.server.seen[-1][3])

    def _path_empty(self) -> None:
        self.send_response(204)
        self.end_headers()

    def _path_gzip(self) -> None:
        self._send(gzip.compress(b"hello"), Content_Encoding="gzip")

    def _path_chunked(self) -> None:
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        for piece in (b"one\n", b"two\n"):
            self.wfile.write(f"{len(piece):x};note\r\n".encode() + piece + b"\r\n")
            self.wfile.flush()
            if not self.server.go_on.wait(30):
                return
        self.wfile.write(b"0\r\nTrailer: x\r\n\r\n")

    def _path_unframed(self) -> None:
        self.send_response(200)
        self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(b"until the end")
        self.close_connection = True

    def _path_interim(self) -> None:
        self.wfile.write(b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
        self._send(b"hello")

    def _path_cut(self) -> None:
        self.send_response(200)
        self.send_header("Content-Length", "100")
        self.end_headers()
        self.wfile.write(b"only this")
        self.close_connection = True

    def _path_hang_up(self) -> None:
        self._send(b"last words")
        self.close_connection = True  # without saying so

    def _path_mute(self) -> None:
        self.server.go_on.wait(30)
        self.close_connection = True

    def _path_moved(self) -> None:
        self._send(b"", 307, Location="/echo")

    def _path_circle(self) -> None:
        self._send(b"", 302, Location="/circle")


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.seen: list[tuple[str, str, dict[str, str], bytes]] = []
        self.connections = 0
        self.hung_up = threading.Semaphore(0)
        self.go_on = threading.Event()

    def handle_error(self, request: Any, client_address: Any) -> None:
        pass

    def close_request(self, request: Any) -> None:
        super().close_request(request)
        self.hung_up.release()

    @property
    def uri(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


@pytest.fixture
def server() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.go_on.set()
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(params=[SocketTransport, RequestsTransport])
def transport(request: pytest.FixtureRequest) -> Iterator[Transport]:
    transport: Transport = request.param()
    yield transport
    transport.close()


@pytest.fixture
def get(server: Server, transport: Transport) -> Callable[..., Any]:
    def send(path: str, method: str = "GET", **options: Any) -> Any:
        return transport.send(Request(method, server.uri + path, **options))

    return send


@pytest.mark.parametrize("path", ["/plain", "/gzip"])
def test_a_body_arrives_whole(get: Any, path: str) -> None:
    response = get(path)
    assert (response.status, response.text()) == (200, "hello")


def test_a_large_body_arrives_whole(get: Any) -> None:
    assert get("/big").body == BIG


def test_what_is_sent_arrives(get: Any, server: Server) -> None:
    response = get("/echo", "POST", headers={"Authorization": "Bearer t", "X-A": "b"}, body="ü".encode())
    assert response.text() == "ü"
    method, _, headers, _ = server.seen[0]
    assert (method, headers["Authorization"], headers["X-A"]) == ("POST", "Bearer t", "b")


@pytest.mark.parametrize("method", ["PUT", "DELETE", "POST"])
def test_a_request_without_a_body_says_so(get: Any, server: Server, method: str) -> None:
    assert get("/echo", method).body == b""
    assert server.seen[0][2]["Content-Length"] == "0"


def test_answers_without_a_body_are_complete(get: Any) -> None:
    assert get("/empty").body == b""
    assert get("/plain", "HEAD").body == b""
    assert get("/plain").text() == "hello"


def test_a_body_without_a_length_ends_with_the_connection(get: Any) -> None:
    assert get("/unframed").text() == "until the end"


def test_connections_are_kept(get: Any, server: Server) -> None:
    for _ in range(5):
        assert get("/plain").text() == "hello"
    assert server.connections == 1


def test_a_connection_that_was_closed_while_idle_is_replaced(get: Any, server: Server) -> None:
    for _ in range(3):
        assert get("/hang-up").text() == "last words"
        assert server.hung_up.acquire(timeout=10)
    assert get("/echo", "POST", body=b"x").text() == "x"


def test_pieces_of_a_stream_come_as_they_are_sent(get: Any, server: Server) -> None:
    pieces = get("/chunked").iter_bytes()
    assert next(pieces) == b"one\n"
    server.go_on.set()
    assert b"".join(pieces) == b"two\n"
    assert get("/plain").text() == "hello"


def test_a_stream_can_be_left_early(get: Any, server: Server) -> None:
    response = get("/chunked")
    assert next(response.iter_bytes()) == b"one\n"
    response.close()
    assert get("/plain").text() == "hello"


def test_a_body_that_is_cut_short_is_an_error(get: Any) -> None:
    response = get("/cut")
    with pytest.raises(TransportError) as caught:
        _ = response.body
    assert caught.value.sent


def test_a_server_that_never_answers_is_a_timeout(get: Any) -> None:
    with pytest.raises(TransportError) as caught:
        get("/mute", timeout=(5.0, 0.05))
    assert (caught.value.kind, caught.value.sent) == ("read-timeout", True)


def test_nothing_listening_is_a_refusal(transport: Transport) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound and not listening: nobody else can take it
        with pytest.raises(TransportError) as caught:
            transport.send(Request("GET", f"http://127.0.0.1:{taken.getsockname()[1]}/"))
    assert (caught.value.kind, caught.value.sent) == ("refused", False)


def test_an_unknown_host_is_named(transport: Transport) -> None:
    with pytest.raises(TransportError, match=r"no-such-host\.invalid") as caught:
        transport.send(Request("GET", "http://no-such-host.invalid/"))
    assert caught.value.kind == "dns"


def test_several_threads_share_a_transport(get: Any) -> None:
    results: list[bool] = []

    def work() -> None:
        results.extend(get("/big").body == BIG for _ in range(5))

    threads = [threading.Thread(target=work) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert results == [True] * 40


def test_interim_answers_are_skipped(server: Server) -> None:
    assert SocketTransport().send(Request("GET", server.uri + "/interim")).text() == "hello"


def test_a_line_break_cannot_smuggle_a_header(server: Server) -> None:
    request = Request("GET", server.uri + "/plain", headers={"X-A": "b\r\nX-Evil: c"})
    with pytest.raises(TransportError, match="line break"):
        SocketTransport().send(request)
    assert server.seen == []


def test_redirects_are_followed_with_method_and_body(server: Server) -> None:
    transport = HttpTransport()
    assert transport.send(Request("POST", server.uri + "/moved", body=b"x")).text() == "x"
    assert [entry[:2] for entry in server.seen] == [("POST", "/moved"), ("POST", "/echo")]
    transport.close()


def test_redirects_in_circles_end(server: Server) -> None:
    with pytest.raises(TransportError, match="circles"):
        HttpTransport().send(Request("GET", server.uri + "/circle"))


def test_an_authorization_is_not_replaced_by_netrc(
    server: Server, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login mallory password x\n")
    monkeypatch.setenv("NETRC", str(netrc))
    transport = RequestsTransport()
    transport.send(Request("GET", server.uri + "/plain", headers={"Authorization": "Bearer t"})).close()
    transport.close()
    assert server.seen[0][2]["Authorization"] == "Bearer t"


def test_something_that_does_not_speak_http_is_an_error() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def talk() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1000)
                connection.sendall(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")

        thread = threading.Thread(target=talk)
        thread.start()
        with pytest.raises(TransportError, match="does not speak HTTP"):
            SocketTransport().send(Request("GET", f"http://127.0.0.1:{listener.getsockname()[1]}/"))
        thread.join()


def test_an_unreachable_cluster_is_reported_with_its_address() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port = taken.getsockname()[1]
        client = RestClient(f"http://127.0.0.1:{port}", token=Secret("t"), sleep=lambda seconds: None)
        with pytest.raises(ClusterConnectionError, match=f"127.0.0.1:{port}: connection refused"):
            client.list_jobs()
