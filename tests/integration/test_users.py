# SPDX-License-Identifier: MIT
"""Users and groups of the embedded cluster, as its REST API and ``opai local user`` show and change them."""

from __future__ import annotations

import io
import json
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests

from openpaisdk import core
from openpaisdk.engine import Engine
from openpaisdk.errors import ClusterError, LocalClusterError, PermissionDeniedError, UsageError

pytestmark = pytest.mark.integration

PASSWORDS = {"bob": "bob-password", "eve": "eve-password"}


@pytest.fixture
def server(start_server):
    """A server with a share ``team``, the users ``bob`` and ``eve``, and a job of its owner's."""
    server = start_server("--cpu", "4", "--gpu", "0", "--mem", "4g", "--vc", "team=1:0:1g")
    for name, password in PASSWORDS.items():
        assert server.post("/api/v2/users", json={"username": name, "password": password}).status_code == 201
    return server


@pytest.fixture(scope="module")
def steady(local_server):
    """The same for tests that change nothing: one server for all of them."""
    for name, password in PASSWORDS.items():
        local_server.post("/api/v2/users", json={"username": name, "password": password})
    local_server.post("/api/v2/groups", json={"groupname": "team"})
    return local_server


def log_in(server, user: str, password: str | None = None) -> requests.Session:
    session = requests.Session()
    session.trust_env = False
    body = {"username": user, "password": password or PASSWORDS[user]}
    answer = session.post(server.uri + "/api/v2/authn/basic/login", json=body, timeout=30)
    assert answer.status_code == 200, answer.text
    session.headers["Authorization"] = f"Bearer {answer.json()['token']}"
    return session


def said(answer: requests.Response) -> tuple[int, str | None, str]:
    body = answer.json()
    return answer.status_code, body.get("code"), body["message"]


def as_user(server, user: str, method: str, path: str, **options) -> requests.Response:
    with log_in(server, user) as session:
        return session.request(method, server.uri + path, timeout=30, **options)


# --- permission ---------------------------------------------------------------------------------
def test_users_see_all_jobs_but_only_owners_and_admins_act(server):
    assert server.run("mine", "true")["state"] == "SUCCEEDED"
    job = f"/api/v2/jobs/{server.user}~mine"
    with log_in(server, "bob") as bob:
        assert bob.get(server.uri + job).json()["jobStatus"]["state"] == "SUCCEEDED"
        assert [item["name"] for item in bob.get(f"{server.uri}/api/v2/jobs").json()] == ["mine"]
        stop = bob.put(f"{server.uri}{job}/executionType", json={"value": "STOP"})
        assert said(stop) == (
            403,
            "ForbiddenUserError",
            f"User bob is not allowed to execute job {server.user}~mine.",
        )
        assert bob.put(f"{server.uri}{job}/tag", json={"value": "t"}).status_code == 403
        text = json.dumps(server.document("his", "sleep 60"))
        answer = bob.post(f"{server.uri}/api/v2/jobs", data=text, headers={"Content-Type": "text/yaml"})
        assert answer.status_code == 202
    assert (
        as_user(
            server, "eve", "PUT", "/api/v2/jobs/bob~his/executionType", json={"value": "STOP"}
        ).status_code
        == 403
    )
    assert server.put("/api/v2/jobs/bob~his/executionType", json={"value": "STOP"}).status_code == 202


def test_a_virtual_cluster_is_for_those_who_may_use_it(server):
    text = json.dumps(server.document("in_team", "true", defaults={"virtualCluster": "team"}))
    headers = {"Content-Type": "text/yaml"}
    refused = as_user(server, "bob", "POST", "/api/v2/jobs", data=text, headers=headers)
    assert said(refused) == (403, "ForbiddenUserError", "User bob is not allowed to do operation in team")
    changed = server.put("/api/v2/users/bob/virtualcluster", json={"virtualCluster": ["team"]})
    assert changed.status_code == 201
    assert server.get("/api/v2/users/bob").json()["virtualCluster"] == ["default", "team"]
    assert as_user(server, "bob", "POST", "/api/v2/jobs", data=text, headers=headers).status_code == 202
    missing = text.replace('"team"', '"nope"')
    refused = server.post("/api/v2/jobs", data=missing, headers=headers)
    assert said(refused)[2] == f"User {server.user} is not allowed to do operation in nope"


def test_every_virtual_cluster_has_a_group_of_its_name_and_admins_use_all(server):
    groups = {group["groupname"]: group for group in server.get("/api/v2/groups").json()}
    assert list(groups) == ["admingroup", "default", "team"]
    assert groups["team"]["extension"] == {"acls": {"virtualClusters": ["team"], "admin": False}}
    assert server.get("/api/v2/users/me").json()["virtualCluster"] == ["default", "team"]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", "/users", {"username": "x", "password": "xxxxxx"}),
        ("PUT", "/users", {"patch": True, "data": {"username": "eve", "admin": True}}),
        ("DELETE", "/users/eve", None),
        ("PUT", "/users/bob/admin", {"admin": True}),
        ("PUT", "/users/bob/virtualcluster", {"virtualCluster": ["team"]}),
        ("PUT", "/users/bob/grouplist", {"grouplist": ["admingroup"]}),
        ("PUT", "/users/bob/group", {"groupname": "admingroup"}),
        ("DELETE", "/users/eve/group", {"groupname": "default"}),
        ("PUT", "/users/eve/email", {"email": "a@b.c"}),
        ("PUT", "/users/eve/extension", {"extension": {}}),
        ("PUT", "/users/eve/password", {"oldPassword": "eve-password", "newPassword": "taken-over"}),
        ("PUT", "/users/me", {"patch": True, "data": {"username": "eve"}}),
        ("POST", "/groups", {"groupname": "g"}),
        ("PUT", "/groups", {"patch": True, "data": {"groupname": "admingroup"}}),
        ("DELETE", "/groups/team", None),
        ("GET", "/groups/default/userlist", None),
        ("PUT", "/groups/team/extension/acls/admin", {"data": True}),
    ],
)
def test_others_are_changed_by_admins_only(steady, method, path, body):
    before = steady.get("/api/v2/users").json()
    answer = as_user(steady, "bob", method, f"/api/v2{path}", json=body)
    assert said(answer)[:2] == (403, "ForbiddenUserError")
    application = steady.post("/api/v2/tokens/application").json()["token"]
    if method != "GET":
        headers = {"Authorization": f"Bearer {application}"}
        answer = requests.request(
            method, f"{steady.uri}/api/v2{path}", json=body, headers=headers, timeout=30
        )
        assert said(answer)[2] == "Applications are not allowed to do this operation."
    assert steady.get("/api/v2/users").json() == before


# --- users --------------------------------------------------------------------------------------
def test_nobody_sees_secrets_of_others(server):
    secret = {
        "jobSSH": {"key": "-----PRIVATE", "pubKey": "ssh-rsa AAA"},
        "githubPAT": "ghp_x",
        "sshKeys": [{"title": "t", "value": "ssh-rsa", "time": 1}],
        "anything": "else",
    }
    changed = as_user(server, "bob", "PUT", "/api/v2/users/bob/extension", json={"extension": secret})
    assert changed.status_code == 201
    assert as_user(server, "bob", "GET", "/api/v2/users/me").json()["extension"] == secret
    public = {"sshKeys": secret["sshKeys"], "jobSSH": {"pubKey": "ssh-rsa AAA"}}
    assert server.get("/api/v2/users/bob").json()["extension"] == public
    listed = as_user(server, "eve", "GET", "/api/v2/users")
    assert [user["username"] for user in listed.json()] == sorted(["bob", "eve", server.user])
    assert "PRIVATE" not in listed.text
    assert "scrypt" not in listed.text
    body = {"username": "bob", "password": PASSWORDS["bob"]}
    assert server.post("/api/v2/tokens", json=body).json()["hasGitHubPAT"] is True


def test_a_new_password_ends_logins_but_no_applications(server):
    with log_in(server, "bob") as browser, log_in(server, "bob") as other:
        application = browser.post(f"{server.uri}/api/v2/tokens/application").json()["token"]
        wrong = {"oldPassword": "wrong-password", "newPassword": "bob-password2"}
        path = f"{server.uri}/api/v2/users/bob/password"
        assert said(browser.put(path, json=wrong)) == (
            403,
            "ForbiddenUserError",
            "Pls input the correct password.",
        )
        answer = browser.put(path, json={**wrong, "oldPassword": PASSWORDS["bob"]})
        assert (answer.status_code, answer.json()) == (201, {"message": "update user password successfully."})
        for session in (browser, other):
            assert session.get(f"{server.uri}/api/v2/tokens/check").status_code == 401
        header = {"Authorization": f"Bearer {application}"}
        assert requests.get(f"{server.uri}/api/v2/jobs", headers=header, timeout=30).status_code == 200
    refused = server.post("/api/v2/tokens", json={"username": "bob", "password": PASSWORDS["bob"]})
    assert refused.json()["code"] == "IncorrectPasswordError"
    log_in(server, "bob", "bob-password2").close()


def test_no_login_with_an_old_password_survives_its_change(server):
    body = {"username": "bob", "password": PASSWORDS["bob"]}

    def log_in_again(_: int) -> requests.Response:
        return requests.post(f"{server.uri}/api/v2/tokens", json=body, timeout=60)

    with ThreadPoolExecutor(8) as pool:
        logins = [pool.submit(log_in_again, number) for number in range(24)]
        logins[4].result()
        new = {"patch": True, "data": {"username": "bob", "password": "another-password"}}
        assert server.put("/api/v2/users", json=new).status_code == 201
        answers = [login.result() for login in logins]
    assert {200, 400} <= {answer.status_code for answer in answers} <= {200, 400, 429}
    for answer in answers:
        if answer.status_code == 200:
            header = {"Authorization": f"Bearer {answer.json()['token']}"}
            refused = requests.get(f"{server.uri}/api/v2/tokens/check", headers=header, timeout=30)
            assert refused.status_code == 401


def test_a_removed_user_is_out_at_once_and_his_jobs_stay(server):
    text = json.dumps(server.document("his", "true"))
    with log_in(server, "bob") as bob:
        bob.post(f"{server.uri}/api/v2/jobs", data=text, headers={"Content-Type": "text/yaml"})
        assert server.delete("/api/v2/users/bob").json() == {"message": "user is removed successfully"}
        assert bob.get(f"{server.uri}/api/v2/jobs").status_code == 401
    assert said(server.delete("/api/v2/users/bob")) == (404, "NoUserError", "User bob not found.")
    assert server.get("/api/v2/jobs/bob~his").status_code == 200


def test_the_owner_stays_an_admin_and_admins_are_not_removed(server):
    owner = server.user
    assert said(server.delete(f"/api/v2/users/{owner}")) == (
        403,
        "RemoveAdminError",
        f"Admin {owner} is not allowed to remove.",
    )
    for path, body in (
        (f"/users/{owner}/admin", {"admin": False}),
        (f"/users/{owner}/grouplist", {"grouplist": ["default"]}),
        ("/users", {"patch": True, "data": {"username": owner, "admin": False}}),
        ("/groups/admingroup/extension", {"extension": {"acls": {"admin": False}}}),
    ):
        assert said(server.put(f"/api/v2{path}", json=body))[:2] == (403, "ForbiddenUserError")
    assert server.delete(f"/api/v2/users/{owner}/group", json={"groupname": "admingroup"}).status_code == 403
    assert server.delete("/api/v2/groups/admingroup").status_code == 403
    assert server.get("/api/v2/users/me").json()["admin"] is True


def test_users_groups_and_application_tokens_outlive_the_server(server, start_server, tmp_path):
    server.put("/api/v2/users/bob/admin", json={"admin": True})
    server.post("/api/v2/groups", json={"groupname": "crew", "description": "d"})
    server.put("/api/v2/users/eve/group", json={"groupname": "crew"})
    users, groups = server.get("/api/v2/users").json(), server.get("/api/v2/groups").json()
    application = server.post("/api/v2/tokens/application").json()["token"]
    server.process.kill()
    server.process.wait()
    again = start_server("--cpu", "4", "--gpu", "0", "--mem", "4g")
    assert again.get("/api/v2/users").json() == users
    assert again.get("/api/v2/groups").json() == groups
    header = {"Authorization": f"Bearer {application}"}
    assert requests.get(f"{again.uri}/api/v2/jobs", headers=header, timeout=30).status_code == 200
    assert "bob-password" not in str((tmp_path / "local" / "accounts.db").read_bytes())


def test_a_file_of_version_0_1_is_read(start_server, tmp_path):
    folder = tmp_path / "local"
    folder.mkdir()
    with sqlite3.connect(folder / "accounts.db") as file:
        file.execute(
            "CREATE TABLE accounts (name TEXT PRIMARY KEY, generated_password TEXT, password_hash TEXT,"
            " admin INTEGER NOT NULL) WITHOUT ROWID"
        )
        file.execute("INSERT INTO accounts VALUES ('old', 'its-password', NULL, 0), ('boss', 'p', NULL, 1)")
    file.close()
    server = start_server()
    users = {user["username"]: user for user in server.get("/api/v2/users").json()}
    assert (users["old"]["grouplist"], users["old"]["admin"]) == (["default"], False)
    assert (users["boss"]["grouplist"], users["boss"]["admin"]) == (["default", "admingroup"], True)
    log_in(server, "old", "its-password").close()


def wrong(name: str, problem: str) -> str:
    return f'child "{name}" fails because ["{name}" {problem}]'


NEW = {"username": "n", "password": "xxxxxx"}
INVALID = (400, "InvalidParametersError")
BAD_NAME = 'with value ".." fails to match the username pattern'
BAD_GROUP = 'with value "a-b" fails to match the groupname pattern'
BAD_ITEM = 'at position 0 fails because ["0" must be a string]'
MISTAKES = [
    ("POST /users", {**NEW, "username": "bob"}, 409, "ConflictUserError", "User name bob already exists."),
    ("POST /users", {**NEW, "virtualCluster": ["no"]}, 404, "NoGroupError", "No groups for vc: no"),
    (
        "POST /users",
        {**NEW, "virtualCluster": ["admingroup"]},
        400,
        "NoVirtualClusterError",
        "Try to update: admingroup, but found ",
    ),
    ("POST /users", {**NEW, "username": ".."}, *INVALID, wrong("username", BAD_NAME)),
    (
        "PUT /users/bob/grouplist",
        {"grouplist": ["default", "x", "y"]},
        404,
        "NoGroupError",
        "Updated nonexistent grouplist: x,y",
    ),
    ("PUT /users/bob/group", {"groupname": "x"}, 404, "NoGroupError", "Updated nonexistent group: x"),
    ("PUT /users/nobody/email", {"email": "a@b.c"}, 404, "NoUserError", "User nobody not found."),
    ("PUT /users/bob/email", {"email": "no"}, *INVALID, wrong("email", "must be a valid email")),
    (
        "PUT /users/bob/virtualcluster",
        {"virtualCluster": [1]},
        *INVALID,
        wrong("virtualCluster", BAD_ITEM),
    ),
    ("PUT /users/bob/admin", {"admin": "maybe"}, *INVALID, wrong("admin", "must be a boolean")),
    (
        "PUT /users",
        {"patch": True, "data": {"username": "bob", "x": 1}},
        *INVALID,
        'child "data" fails because ["x" is not allowed]',
    ),
    (
        "PUT /users/me",
        {"patch": True, "data": {"username": "bob"}},
        403,
        "ForbiddenUserError",
        "Can't update other user's data",
    ),
    ("POST /groups", {"groupname": "team"}, *INVALID, "Group team already exists."),
    ("POST /groups", {"groupname": "a-b"}, *INVALID, wrong("groupname", BAD_GROUP)),
    (
        "PUT /groups",
        {"patch": True, "data": {"groupname": "no"}},
        400,
        "NoGroupError",
        "Group no is not found.",
    ),
]


@pytest.mark.parametrize(("place", "body", "status", "code", "message"), MISTAKES)
def test_mistakes_are_told_in_the_words_of_a_real_server(steady, place, body, status, code, message):
    method, path = place.split()
    assert said(steady.request(method, f"/api/v2{path}", json=body)) == (status, code, message)


def test_legacy_routes_change_what_they_name(server):
    for place, body, message in (
        ("PUT /users/bob/email", {"email": "b@example.com"}, "Update user email data successfully."),
        ("PUT /users/bob/admin", {"admin": True}, "Update user admin permission successfully."),
        ("PUT /users/bob/admin", {"admin": False}, "Update user admin permission successfully."),
        ("PUT /users/bob/grouplist", {"grouplist": ["team"]}, "update user grouplist successfully."),
        ("PUT /users/bob/group", {"groupname": "default"}, "User bob is added into group default"),
        ("DELETE /users/bob/group", {"groupname": "team"}, "User bob is removed from group team"),
        (
            "PUT /groups/team/description",
            {"description": "d"},
            "update group description data successfully.",
        ),
        (
            "PUT /groups/team/externalname",
            {"externalName": "e"},
            "update group externalNameData data successfully.",
        ),
        (
            "PUT /groups/team/extension/acls/storageConfigs",
            {"data": ["s"]},
            "Update group extension data successfully.",
        ),
    ):
        method, path = place.split()
        answer = server.request(method, f"/api/v2{path}", json=body)
        assert (answer.status_code, answer.json()) == (201, {"message": message})
    bob = server.get("/api/v2/user/bob").json()
    assert (bob["email"], bob["grouplist"], bob["admin"]) == ("b@example.com", ["default"], False)
    assert server.get("/api/v2/group/team").json() == {
        "groupname": "team",
        "description": "d",
        "externalName": "e",
        "extension": {"acls": {"virtualClusters": ["team"], "admin": False, "storageConfigs": ["s"]}},
    }


# --- opai local user ----------------------------------------------------------------------------
class Opai:
    """Commands in this process, with a home of their own."""

    def __init__(self) -> None:
        self.err = io.StringIO()

    def __call__(self, *words: str):
        return Engine(stderr=self.err).process(words)


@pytest.fixture
def opai(tmp_path, monkeypatch):
    monkeypatch.setenv("OPENPAI_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("PAI_SDK_CLUSTER_ALIAS", raising=False)
    monkeypatch.chdir(tmp_path)
    yield Opai()
    core.stop_local("kill")


def test_another_user_works_on_the_embedded_cluster_like_on_any_other(opai, monkeypatch):
    (bob,) = opai("local", "user", "add", "bob")
    assert (bob["name"], bob["admin"], bob["virtual_clusters"]) == ("bob", False, ["default"])
    assert "not isolated" in opai.err.getvalue()
    assert [user["name"] for user in opai("local", "user", "list") if not user["admin"]] == ["bob"]
    assert all("password" not in user for user in opai("local", "user", "list"))
    uri = opai("local", "status")["uri"]
    monkeypatch.setattr("sys.stdin", io.StringIO(bob["password"] + "\n"))
    opai("cluster", "add", "-a", "bob", "--pai-uri", uri, "--user", "bob", "--password-stdin")
    done = opai("job", "fast", "-a", "bob", "-j", "hers", "--wait", "true")
    assert (done["user"], done["state"]) == ("bob", "SUCCEEDED")
    opai("job", "fast", "-a", "local", "-j", "owners", "--wait", "true")
    assert opai("job", "list", "-a", "bob", "--name") == ["hers"]
    everybody = opai("job", "list", "-a", "bob", "--all-users")
    assert sorted(job["name"] for job in everybody) == ["hers", "owners"]
    owner = next(job["user"] for job in everybody if job["name"] == "owners")
    with pytest.raises(PermissionDeniedError, match="not allowed to execute"):
        opai("job", "stop", "-a", "bob", f"{owner}~owners")
    assert opai("job", "stop", "-a", "local", "bob~hers")
    (same,) = opai("local", "user", "passwd", "bob")
    assert same["password"] != bob["password"]
    assert opai("local", "user", "remove", "bob")[0]["name"] == "bob"
    with pytest.raises(LocalClusterError, match="has no user 'bob'"):
        opai("local", "user", "remove", "bob")


def test_passwords_are_typed_twice_or_come_from_stdin(opai, monkeypatch):
    answers = iter(["chosen-one", "chosen-one", "chosen-two", "another-one"])
    asked = []
    engine = Engine(ask=lambda question, secret: asked.append((question, secret)) or next(answers))
    (user,) = engine.process(["local", "user", "add", "bob", "--admin"])
    assert user == {"name": "bob", "admin": True, "virtual_clusters": ["default"]}
    assert all(secret for _, secret in asked)
    with pytest.raises(UsageError, match="not the same"):
        engine.process(["local", "user", "passwd", "bob"])
    monkeypatch.setattr("sys.stdin", io.StringIO("from-stdin\n"))
    assert engine.process(["local", "user", "passwd", "bob", "--password-stdin"])
    uri = opai("local", "status")["uri"]
    body = {"username": "bob", "password": "from-stdin"}
    assert requests.post(f"{uri}/api/v2/tokens", json=body, timeout=30).status_code == 200
    monkeypatch.setattr("sys.stdin", io.StringIO("abc\n"))
    with pytest.raises(UsageError, match="too short"):
        opai("local", "user", "add", "carol", "--password-stdin")
    with pytest.raises(ClusterError, match="already exists"):
        opai("local", "user", "add", "bob")
    with pytest.raises(ClusterError, match="o groups for vc: nope"):
        opai("local", "user", "add", "carol", "--vc", "nope")
    with pytest.raises(PermissionDeniedError, match="not allowed to remove"):
        opai("local", "user", "remove", "bob")


def test_no_password_reaches_a_file_or_a_log_in_clear(opai, tmp_path, monkeypatch):
    monkeypatch.setattr("sys.stdin", io.StringIO("very-secret-words\n"))
    opai("local", "user", "add", "bob", "--password-stdin")
    files = [path for path in Path(tmp_path).rglob("*") if path.is_file()]
    assert any(path.name == "accounts.db" for path in files)
    assert not [path for path in files if b"very-secret-words" in path.read_bytes()]
