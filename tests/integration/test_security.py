# SPDX-License-Identifier: MIT
"""What the embedded cluster keeps from others: other machines, users, web sites, and from the disk."""

from __future__ import annotations

import asyncio
import json
import os
import re
import socket
import stat
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from starlette.routing import Route

from openpaisdk.local import connections
from openpaisdk.local.access.guesses import GUESSES_MAX
from openpaisdk.local.access.users import AccountStore
from openpaisdk.local.app import Dispatcher
from openpaisdk.local.home import LocalHome
from openpaisdk.local.server import bind, http_server
from openpaisdk.local.services import Services

from .conftest import LocalServer, start_local_server, wait_until

pytestmark = pytest.mark.integration

PASSWORD = "a password of bob's"


@pytest.fixture(scope="module")
def server(tmp_path_factory) -> Iterator[LocalServer]:
    """A server whose owner shares it with bob, started under the most careless umask."""
    home = LocalHome(str(tmp_path_factory.mktemp("home") / "local"))
    home.make()
    accounts = AccountStore(os.path.join(home.folder, "accounts.db"))
    accounts.add_account("bob", PASSWORD)
    accounts.close()
    before = os.umask(0)
    try:
        server = start_local_server(Path(home.folder), "--cpu", "8", "--gpu", "0", "--mem", "4g")
    finally:
        os.umask(before)
    assert server.run("owners", "echo of the owner")["state"] == "SUCCEEDED"
    yield server
    server.stop()


@pytest.fixture
def bob(server) -> Callable[..., requests.Response]:
    """Send requests as bob, who is no admin."""
    login = anonymous(server, "POST", "/api/v2/tokens", json={"username": "bob", "password": PASSWORD})
    header = {"Authorization": f"Bearer {login.json()['token']}"}

    def send(method: str, path: str, **options) -> requests.Response:
        return anonymous(server, method, path, headers={**header, **options.pop("headers", {})}, **options)

    return send


def anonymous(server, method: str, path: str, **options) -> requests.Response:
    return requests.request(method, server.uri + path, timeout=30, allow_redirects=False, **options)


def raw_status(server, head: str, body: bytes = b"") -> int:
    """Send a request as it is; HTTP libraries would tidy it."""
    with socket.create_connection(("127.0.0.1", server.ready["port"]), timeout=30) as connection:
        host = server.uri.removeprefix("http://")
        connection.sendall(head.replace("\n", "\r\n").replace("HOST", host).encode("latin-1") + body)
        return int(connection.makefile("rb").readline().split()[1])


# --- who can reach it ---------------------------------------------------------------------------
def test_it_listens_on_loopback_and_nowhere_else(server):
    pid = server.process.pid
    sockets = set()
    for descriptor in os.listdir(f"/proc/{pid}/fd"):
        target = os.readlink(f"/proc/{pid}/fd/{descriptor}")
        sockets |= set(re.findall(r"socket:\[(\d+)\]", target))
    listening = []
    for name in ("tcp", "tcp6", "udp", "udp6"):
        for line in Path(f"/proc/{pid}/net/{name}").read_text().splitlines()[1:]:
            words = line.split()
            if words[9] in sockets and (name.startswith("udp") or words[3] == "0A"):
                listening.append(words[1])
    assert listening == [f"0100007F:{server.ready['port']:04X}"]


OPEN_TO_ALL = {
    ("GET", "/api/v2/info"),
    ("GET", "/api/v2"),
    ("GET", "/api/v1"),
    ("GET", "/api/v2/authn/info"),
    ("GET", "/api/v1/authn/info"),
    ("POST", "/api/v2/authn/basic/login"),
    ("POST", "/api/v1/authn/basic/login"),
    ("POST", "/api/v2/tokens"),
    ("POST", "/api/v1/token"),
    ("GET", "/job-detail.html"),  # only leads to the page, which asks who it is
}


def all_routes(folder: Path) -> list[tuple[str, str]]:
    """Return method and path of everything that the application serves, ready to be asked for."""
    home = LocalHome(str(folder))
    home.make()
    accounts = AccountStore(os.path.join(home.folder, "accounts.db"))
    machine = SimpleNamespace(
        cpu=1, gpus=(), memory_mb=1, virtual_clusters={}, shares=lambda: {"default": (1, 0, 1)}
    )
    services = Services(
        home=home, scheduler=SimpleNamespace(), accounts=accounts, machine=machine, owner="alice", port=1
    )
    routes = Dispatcher(services)._router.routes
    accounts.close()
    assert all(isinstance(route, Route) for route in routes)
    return [
        (method, re.sub(r"\{\w+(:\w+)?\}", "x", route.path))
        for route in routes
        for method in route.methods or {"GET"}
        if method != "HEAD"
    ]


def test_nothing_answers_without_a_token_but_what_has_to(server, tmp_path):
    routes = all_routes(tmp_path / "other")
    assert len(routes) > 40
    assert set(routes) >= OPEN_TO_ALL
    for method, path in routes:
        for prefix in ("", "/rest-server") if path.startswith("/api") else ("",):
            answer = anonymous(server, method, prefix + path, json={})
            refused = answer.status_code in (401, 403) or (method, path) in OPEN_TO_ALL
            assert refused, (method, path, answer.status_code, answer.text[:200])
    for name in ("info", "authn/info"):
        known = anonymous(server, "GET", f"/api/v2/{name}").text
        assert not any(word in known for word in (server.user, server.ready["home"], server.token))


@pytest.mark.parametrize(
    "op", ["OPEN", "LISTSTATUS", "GETHOMEDIRECTORY", "CREATE", "APPEND", "DELETE", "NOPE", ""]
)
def test_the_storage_answers_nobody_without_a_token(server, op):
    for method in ("GET", "PUT", "POST", "DELETE", "HEAD", "OPTIONS", "PATCH"):
        path = f"/webhdfs/v1/user/{server.user}?op={op}&data=true&user.name={server.user}"
        assert anonymous(server, method, path).status_code == 401


@pytest.mark.parametrize(
    "path",
    ["/api/v2/jobs", "/local/v1/status", "/webhdfs/v1/?op=LISTSTATUS&delegation=TOKEN", "/", "/api/v2/info"],
)
def test_names_and_origins_of_others_are_refused_everywhere(server, path):
    path = path.replace("TOKEN", server.token)
    port = server.ready["port"]
    assert server.get(path).status_code in (200, 401)
    for host in (
        "evil.example",
        f"evil.example:{port}",
        f"127.0.0.1.evil.example:{port}",
        "127.0.0.1:1",
        f"0.0.0.0:{port}",
    ):
        assert server.get(path, headers={"Host": host}).status_code == 403
    for method in ("GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD"):
        for origin in ("http://evil.example", "null", "http://127.0.0.1:1", f"https://127.0.0.1:{port}"):
            answer = server.request(method, path, headers={"Origin": origin})
            assert answer.status_code == 403
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]
        fetch = {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "no-cors"}  # a page on another port
        assert server.request(method, path, headers=fetch).status_code == 403
    assert raw_status(server, f"GET {path} HTTP/1.1\nHost: evil.example\nHost: HOST\n\n") == 403
    assert raw_status(server, f"GET {path} HTTP/1.0\n\n") == 403


# --- what a client may cost ---------------------------------------------------------------------
@pytest.mark.parametrize(
    "head",
    [
        f"GET /{'a' * 200_000} HTTP/1.1\nHost: HOST\n\n",
        f"GET / HTTP/1.1\nHost: HOST\nX: {'a' * 200_000}\n\n",
        "GET / HTTP/1.1\nHost: HOST\n" + "X: y\n" * 1000 + "\n",
        "GET /\xff HTTP/1.1\nHost: HOST\n\n",
        "POST /api/v2/jobs HTTP/1.1\nHost: HOST\nContent-Length: -1\n\n",
        "POST /api/v2/jobs HTTP/1.1\nHost: HOST\nContent-Length: 3\nTransfer-Encoding: chunked\n\n",
        "GET\n\n",
    ],
    ids=["address", "header", "headers", "bytes", "negative length", "two lengths", "nonsense"],
)
def test_heads_that_are_too_large_or_make_no_sense_are_the_clients_fault(server, head):
    assert raw_status(server, head) == 400


@pytest.mark.parametrize("number", ["9" * 20, "9" * 5000, "\u0663", "-1", "1e3"])
def test_numbers_beyond_reason_are_the_clients_fault(server, number):
    job = f"/api/v2/jobs/{server.user}~owners"
    logs = "attempts/0/taskRoles/worker/taskIndex/0/attempts"
    for path in (
        f"{job}/attempts/{number}",
        f"{job}/job-attempts/{number}",
        f"{job}/attempts/{number}/taskRoles/worker/taskIndex/0/attempts",
        f"{job}/attempts/0/taskRoles/worker/taskIndex/{number}/attempts",
        f"{job}/{logs}/{number}/logs",
        f"/api/v2/jobs?limit={number}",
        f"/api/v2/jobs?offset={number}",
        f"/local/v1/follow?job={server.user}~owners&tail={number}",
        f"/local/v1/follow?job={server.user}~owners&after={number}",
        f"/webhdfs/v1/?op=LISTSTATUS&offset={number}",
    ):
        assert server.get(path).status_code < 500, path
    log = server.get(f"{job}/{logs}/0/logs").json()["locations"][0]["uri"]
    for wanted in (f"bytes={number}-", f"bytes=0-{number}", f"bytes=-{number}"):
        assert server.get(log, headers={"Range": wanted.encode()}).status_code < 500, wanted


def test_a_body_nested_beyond_reason_is_the_clients_fault(server):
    for body in (b"[" * 50_000, b'{"value":' * 10_000):
        headers = {"Content-Type": "application/json"}
        answer = server.put(f"/api/v2/jobs/{server.user}~owners/tag", data=body, headers=headers)
        assert answer.status_code == 400


def test_a_body_larger_than_announced_is_no_second_request(server):
    head = (
        f"PUT /webhdfs/v1/user/{server.user}/short?op=CREATE&data=true&delegation={server.token} HTTP/1.1\n"
        "Host: HOST\nContent-Length: 5\n\n"
    )
    assert raw_status(server, head, b"12345" + b"SMUGGLED / HTTP/1.1\r\n\r\n") in (201, 400)
    path = f"/webhdfs/v1/user/{server.user}/short?op=OPEN&delegation={server.token}"
    answer = server.get(path)
    assert (answer.status_code, answer.content) in ((200, b"12345"), (404, answer.content))


async def _hello(scope, receive, send):
    message = {"more_body": True}
    while message.get("more_body"):
        message = await receive()
    await send({"type": "http.response.start", "status": 204, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def serving(client: Callable[[int], object]) -> None:
    """Run a client against a server in this process."""
    listener = bind(None, None)
    server = http_server(_hello)
    running = asyncio.ensure_future(server.serve(sockets=[listener]))
    try:
        await client(listener.getsockname()[1])
    finally:
        server.ending.set()
        await running


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"GET / HT",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n12345",
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\nGET / HTTP/1.1\r\n",
    ],
    ids=["silent", "half a head", "half a body", "half a second head"],
)
def test_who_keeps_the_server_waiting_is_hung_up_on(monkeypatch, sent):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.05)
    monkeypatch.setattr(connections, "BODY_TIMEOUT_S", 0.05)

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(sent)
        with pytest.raises((ConnectionError, asyncio.IncompleteReadError)):
            await asyncio.wait_for(reader.readuntil(b"never said"), 30)
        writer.close()

    asyncio.run(serving(client))


def test_a_head_that_drips_has_no_more_time_than_another(monkeypatch):
    monkeypatch.setattr(connections, "HEAD_TIMEOUT_S", 0.3)

    async def client(port: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        answer = asyncio.ensure_future(reader.read())
        writer.write(b"GET / HTTP/1.1\r\nX: ")
        while not answer.done():
            writer.write(b"y")
            await asyncio.wait([answer], timeout=0.05)
        assert not answer.cancelled()
        assert isinstance(answer.exception(), (ConnectionError, type(None)))
        writer.close()

    asyncio.run(serving(client))


@pytest.mark.parametrize(
    "begun",
    [
        b"GET / HTTP/1.1\r\nX: ",
        b"GET /",
        b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nX: ",
    ],
    ids=["header", "address", "trailer"],
)
def test_what_never_ends_is_not_kept(begun):
    async def client(port: int) -> None:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(begun)
        with pytest.raises(ConnectionError):
            for _ in range(10_000):
                writer.write(b"y" * 64 * 1024)
                await writer.drain()
        writer.close()

    asyncio.run(serving(client))


def test_idle_connections_beyond_the_limit_make_room_for_new_ones(monkeypatch):
    monkeypatch.setattr(connections, "connections_max", lambda: 3)

    async def client(port: int) -> None:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(6)]
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        assert b"204" in await asyncio.wait_for(reader.readuntil(b"\r\n"), 30)
        with pytest.raises(
            (ConnectionError, asyncio.IncompleteReadError)
        ):  # the first to come, the first to go
            await asyncio.wait_for(silent[0][0].readexactly(1), 30)
        for _, one in [*silent, (reader, writer)]:
            one.close()

    asyncio.run(serving(client))


def test_passwords_are_not_guessed_quickly(server):
    body = {"username": server.user, "password": "wrong password"}
    answers = [anonymous(server, "POST", "/api/v2/tokens", json=body) for _ in range(GUESSES_MAX + 1)]
    assert [answer.status_code for answer in answers] == [400] * GUESSES_MAX + [429]
    assert int(answers[-1].headers["retry-after"]) > 0
    assert answers[-1].text == "Too many requests, please try again later."
    assert server.get("/api/v2/jobs").status_code == 200  # who has a token is not locked out


# --- users --------------------------------------------------------------------------------------
def test_users_see_each_others_jobs_and_only_owners_and_admins_act(server, bob):
    job = f"/api/v2/jobs/{server.user}~owners"
    for path in ("/api/v2/jobs", job, f"{job}/config", f"{job}/events", f"{job}/attempts/0"):
        assert bob("GET", path).status_code == 200
    for method, path, body in (
        ("PUT", f"{job}/executionType", {"value": "STOP"}),
        ("PUT", f"{job}/tag", {"value": "mine"}),
        ("DELETE", f"{job}/tag", {"value": "mine"}),
        ("POST", "/local/v1/shutdown", {"mode": "kill"}),
        ("GET", "/local/v1/credentials", None),
        ("DELETE", f"/api/v2/tokens/{server.token}", None),
    ):
        assert bob(method, path, json=body).status_code == 403, path
    text = json.dumps(server.document("bobs", "touch started; sleep 600"))
    assert bob("POST", "/api/v2/jobs", data=text, headers={"Content-Type": "text/yaml"}).status_code == 202
    wait_until(lambda: list(Path(server.ready["home"]).glob("tasks/*/work/started")))
    stop = server.put("/api/v2/jobs/bob~bobs/executionType", json={"value": "STOP"})
    assert stop.status_code == 202
    ended = server.post("/local/v1/wait", json={"jobs": ["bob~bobs"], "timeout_s": 60}).json()
    assert ended["jobs"]["bob~bobs"]["state"] == "STOPPED"


def test_users_read_all_of_the_storage_and_change_what_is_theirs(server, bob):
    mine, others = "/webhdfs/v1/user/bob", f"/webhdfs/v1/user/{server.user}"
    server.put(f"{others}/file?op=CREATE&data=true&overwrite=true", data=b"x")
    assert bob("PUT", f"{mine}/file?op=CREATE&data=true", data=b"x").status_code == 201
    assert bob("GET", f"{others}/file?op=OPEN").content == b"x"
    for method, path in (
        ("PUT", f"{others}/new?op=CREATE&data=true"),
        ("POST", f"{others}/file?op=APPEND&data=true"),
        ("DELETE", f"{others}/file?op=DELETE"),
        ("PUT", f"{others}/file?op=RENAME&destination=/user/bob/taken"),
        ("PUT", f"{mine}/file?op=RENAME&destination=/user/{server.user}/given"),
        ("PUT", "/webhdfs/v1/top?op=MKDIRS"),
        ("PUT", f"{others}?op=SETPERMISSION&permission=777"),
    ):
        answer = bob(method, path, data=b"y")
        assert answer.status_code == 403, path
        assert answer.json()["RemoteException"]["exception"] == "AccessControlException"
    assert server.put(f"{mine}/file?op=SETPERMISSION&permission=600").status_code == 200


# --- pages --------------------------------------------------------------------------------------
def test_a_pages_link_works_once_and_leaves_a_cookie_that_only_this_server_gets(server):
    link = server.post("/local/v1/links", json={"job": f"{server.user}~owners"}).json()["link"]
    path = link.removeprefix(server.uri)
    assert anonymous(server, "HEAD", path).status_code in (204, 404)
    first = anonymous(server, "GET", path)
    assert first.status_code == 303
    assert "code=" not in first.headers["location"]
    cookie = first.headers["set-cookie"]
    attributes = {word.strip().partition("=")[0] for word in cookie.split(";")[1:]}
    assert {"HttpOnly", "SameSite", "Path"} <= attributes
    assert "Domain" not in attributes
    assert "SameSite=Strict" in cookie
    assert cookie.startswith(f"openpai-local-{server.ready['port']}=")
    session = {"Cookie": cookie.partition(";")[0]}
    page = anonymous(server, "GET", first.headers["location"], headers=session)
    assert page.status_code == 200
    assert "frame-ancestors 'none'" in page.headers["content-security-policy"]
    assert page.headers["cache-control"] == "no-store"
    assert anonymous(server, "GET", path).status_code == 401
    for refused in ("/api/v2/jobs", "/local/v1/credentials", "/webhdfs/v1/?op=LISTSTATUS"):  # pages only
        assert anonymous(server, "GET", refused, headers=session).status_code == 401


def test_a_link_that_another_site_shows_works_too(server):
    """A browser keeps strict cookies from a redirect that another site began, but not from our own page."""
    path = server.post("/local/v1/links", json={"job": f"{server.user}~owners"}).json()["link"]
    fetch = {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"}
    answer = anonymous(server, "GET", path.removeprefix(server.uri), headers=fetch)
    assert answer.status_code == 200
    assert f'content="0;url=/jobs/{server.user}~owners"' in answer.text
    session = {"Cookie": answer.headers["set-cookie"].partition(";")[0]}
    assert anonymous(server, "GET", f"/jobs/{server.user}~owners", headers=session).status_code == 200


# --- files and the process list -----------------------------------------------------------------
def test_only_the_owner_can_read_what_the_server_keeps(server):
    home = Path(server.ready["home"])
    assert server.submit(server.document("modes", "sleep 600", secrets={"word": "w"})).status_code == 202
    server.wait("modes", timeout_s=0)
    folders = [home, *(home / name for name in ("storage", "tasks", "secrets", "cache"))]
    assert {path.name: oct(stat.S_IMODE(path.stat().st_mode)) for path in folders} == {
        path.name: "0o700" for path in folders
    }
    kept = [path for path in home.iterdir() if path.is_file()]
    kept += [*home.glob("secrets/*"), *home.glob("tasks/*/token"), *home.glob("tasks/*/*.sh")]
    assert {path.name for path in kept} >= {"cluster.db", "accounts.db", "server.json"}
    assert list(home.glob("secrets/*"))
    too_open = [str(path) for path in kept if path.stat().st_mode & 0o077]
    assert too_open == []
    server.put(f"/api/v2/jobs/{server.user}~modes/executionType", json={"value": "STOP"})
    server.wait("modes")


def test_a_home_that_others_could_open_is_closed_at_a_start(tmp_path):
    (tmp_path / "local" / "storage").mkdir(parents=True)
    for folder in (tmp_path / "local", tmp_path / "local" / "storage"):
        folder.chmod(0o755)
    server = start_local_server(tmp_path / "local")
    server.stop()
    for folder in (tmp_path / "local", tmp_path / "local" / "storage"):
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700


SECRET_DOCUMENTS = {
    "block": "secrets:\n  word: CLEAR\n",
    "double quoted key": '"secrets":\n  word: CLEAR\n',
    "single quoted key": "'secrets':\n  'word': CLEAR\n",
    "flow": "secrets: {word: CLEAR}\n",
    "flow over lines": "secrets: {\n  word:\n    CLEAR,\n  }\n",
    "json": '"secrets": {"word": "CLEAR"}\n',
    "escaped key": '"secre\\u0074s": {"word": "CLEAR"}\n',
    "explicit key": "? secrets\n: word: CLEAR\n",
    "anchor": "secrets: &all\n  word: &one CLEAR\n  again: *one\n",
    "tag": "secrets: !!map\n  word: !!str CLEAR\n",
    "tabs": "secrets:\t\t{word:\tCLEAR\t}\t\n",
    "literal": "secrets:\n  word: |-\n    CLEAR\n",
    "comment": "secrets: # CLEAR\n  word: CLEAR # CLEAR\n",
    "nested": "secrets:\n  word: CLEAR\n  deep: {er: [CLEAR]}\n",
}


@pytest.mark.parametrize("shape", SECRET_DOCUMENTS)
def test_secrets_are_nowhere_in_clear_text(server, shape):
    """However they are written: in no answer, file, command line or environment but where they are used."""
    clear = f"clear-text-{uuid.uuid4().hex}"
    name = f"secret-{shape.replace(' ', '-')}"
    document = server.document(name, "test <% $secrets.word %> != x && touch started && sleep 600")
    head = "\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    answer = server.submit(f"{head}\n{SECRET_DOCUMENTS[shape].replace('CLEAR', clear)}")
    assert answer.status_code == 202, answer.text
    home = Path(server.ready["home"])
    wait_until(lambda: list(home.glob("tasks/*/work/started")))
    job = f"/api/v2/jobs/{server.user}~{name}"
    answers = [
        server.get(f"{job}{path}").text for path in ("", "/config", "/events", "/attempts/0", "/job-attempts")
    ]
    assert json.loads(answers[1])["secrets"] == "******"
    answers += [page_of(server, name), server.get("/api/v2/jobs").text]
    assert not [answer for answer in answers if clear in answer]
    holders = {path.parent.name if path.suffix == ".json" else path.name for path in files_with(home, clear)}
    assert holders == {"secrets", "user.sh"}
    assert processes_with(clear) == []
    server.put(f"{job}/executionType", json={"value": "STOP"})
    assert server.wait(name)["done"]
    assert files_with(home, clear) == []


def test_a_document_that_is_refused_says_nothing_of_its_secrets(server):
    clear = f"clear-text-{uuid.uuid4().hex}"
    document = server.document("refused", "true")
    for secrets in ([clear], clear, {"word": clear}):
        broken = {**document, "secrets": secrets, "taskRoles": {}}
        answer = server.submit(broken)
        assert answer.status_code == 400
        assert clear not in answer.text
    assert files_with(Path(server.ready["home"]), clear) == []


def test_secrets_of_a_submission_that_a_crash_cut_off_go_at_the_next_start(start_server, tmp_path):
    start_server().stop()
    left = tmp_path / "local" / "secrets" / "99.json"
    left.write_text('{"word": "clear"}')
    start_server()
    assert not left.exists()


def test_tokens_and_passwords_are_in_no_command_line_environment_or_log(server):
    password = server.get("/local/v1/credentials").json()["password"]
    assert server.submit(server.document("looks", "sleep 600")).status_code == 202
    home = Path(server.ready["home"])
    wait_until(lambda: any(path.read_text() for path in home.glob("tasks/*/token")))
    tokens = [text for path in home.glob("tasks/*/token") if (text := path.read_text())]
    for secret in (server.token, password, *tokens):
        assert processes_with(secret) == []
        assert {path.name for path in files_with(home, secret)} <= {
            "server.json",
            "accounts.db",
            "accounts.db-wal",
            "token",
        }
    server.put(f"/api/v2/jobs/{server.user}~looks/executionType", json={"value": "STOP"})
    server.wait("looks")


def page_of(server, name: str) -> str:
    link = server.post("/local/v1/links", json={"job": f"{server.user}~{name}"}).json()["link"]
    with requests.Session() as browser:
        browser.trust_env = False
        return browser.get(link, timeout=30).text


def files_with(folder: Path, text: str) -> list[Path]:
    """Return the files below a folder that hold a text; those that go meanwhile do not count."""
    found = []
    for path in folder.rglob("*"):
        if path.is_file():
            try:
                content = path.read_bytes()
            except FileNotFoundError:
                continue
            if text.encode() in content:
                found.append(path)
    return found


def processes_with(text: str) -> list[str]:
    """Return the command lines and environments of this machine that show a text."""
    found = []
    for pid in filter(str.isdecimal, os.listdir("/proc")):
        for name in ("cmdline", "environ"):
            try:
                content = Path(f"/proc/{pid}/{name}").read_bytes()
            except OSError:
                continue
            if text.encode() in content:
                found.append(f"{pid}/{name}")
    return found


# --- the storage is confined --------------------------------------------------------------------
@pytest.mark.parametrize(
    ("path", "statuses"),
    [
        ("/../server.json", (400,)),
        ("/%2e%2e/server.json", (400,)),
        ("/..%2fserver.json", (400,)),
        ("/user%2f..%2f..%2fserver.json", (400,)),
        ("/%252e%252e/server.json", (404,)),
        ("/..%252fserver.json", (404,)),
        ("//etc/passwd", (404,)),
        ("/%2fetc%2fpasswd", (404,)),
        ("/..%00/server.json", (400,)),
        ("/..\\server.json", (404,)),
        ("/..;/server.json", (404,)),
        ("/.%2e/server.json", (400,)),
        ("/%c0%ae%c0%ae/server.json", (404,)),
        ("/.uploads", (403,)),
        ("/%2euploads/x", (403,)),
        ("/" + "a" * 300, (400, 403, 404)),
        ("/" + "a/" * 5000, (400, 403, 404)),
    ],
)
def test_no_path_leads_out_of_the_storage(server, path, statuses):
    for op in ("OPEN", "GETFILESTATUS", "LISTSTATUS"):
        target = f"/webhdfs/v1{path}?op={op}&delegation={server.token}"
        assert raw_status(server, f"GET {target} HTTP/1.1\nHost: HOST\n\n") in statuses
    if len(path) > 1000:
        return
    moved = f"/webhdfs/v1/user/{server.user}/moved"
    server.put(f"{moved}?op=CREATE&data=true&overwrite=true", data=b"x")
    before = (Path(server.ready["home"]) / "server.json").read_bytes()
    target = f"{moved}?op=RENAME&destination={path}&delegation={server.token}"
    assert raw_status(server, f"PUT {target} HTTP/1.1\nHost: HOST\n\n") in (200, 400, 403)
    assert (Path(server.ready["home"]) / "server.json").read_bytes() == before


def test_a_prefix_that_is_written_otherwise_is_not_the_storages(server):
    for path in ("/%77ebhdfs/v1/user", "/webhdfs%2fv1/user", "/x/../webhdfs/v1/user"):
        head = f"GET {path}?op=LISTSTATUS&delegation={server.token} HTTP/1.1\nHost: HOST\n\n"
        assert raw_status(server, head) == 404


def test_a_trees_depth_stops_no_task_and_no_start(start_server, tmp_path):
    deep = "import os\nfor _ in range(2500): os.mkdir('d'); os.chdir('d')"
    (tmp_path / "deep.py").write_text(deep)
    server = start_server()
    assert server.run("deep", f"python3 {tmp_path}/deep.py")["state"] == "SUCCEEDED"
    deep_outputs = server.run("outputs", f"cd $PAI_SDK_JOB_OUTPUT_DIR; python3 {tmp_path}/deep.py")
    assert deep_outputs["state"] == "SUCCEEDED"
    assert server.run("frees", "true")["state"] == "SUCCEEDED"
    levels = "/d" * 1200
    base = f"/webhdfs/v1/user/{server.user}/deep"
    assert server.put(f"{base}{levels}?op=MKDIRS").status_code == 200
    assert server.get(f"{base}?op=GETCONTENTSUMMARY").json()["ContentSummary"]["directoryCount"] == 1201
    assert server.delete(f"{base}?op=DELETE&recursive=true").json() == {"boolean": True}
    server.stop()
    start_server()
