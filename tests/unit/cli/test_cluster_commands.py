# SPDX-License-Identifier: MIT
from __future__ import annotations

import io
import json
import os

import pytest

from openpaisdk._secret import Secret
from openpaisdk.core import Cluster
from openpaisdk.engine import Engine
from openpaisdk.errors import (
    AuthenticationError,
    ClusterConnectionError,
    ConfigError,
    UnknownClusterError,
    UnknownSettingError,
    UsageError,
)

ADD = ["cluster", "add", "-a", "prod", "--pai-uri", "http://pai.example", "--user", "alice"]


@pytest.fixture
def accounts(monkeypatch):
    """Let every cluster take the password ``right`` or the token ``t-0``; lists who logged in and out."""
    seen = []

    def login(self):
        seen.append(("login", self.alias, self.pai_uri))
        password = self._password and self._password.reveal()
        if password != "right" and not (self._token and self._token.reveal() == "t-0"):
            raise AuthenticationError(f"cannot log in to cluster {self.alias!r}")
        return {"user": "alice", "admin": False, "token": Secret("t-1" if password else "t-0")}

    def logout(self):
        seen.append(("logout", self.alias, self._token.reveal()))

    monkeypatch.setattr(Cluster, "login", login)
    monkeypatch.setattr(Cluster, "logout", logout)
    return seen


@pytest.fixture
def clusters_file(tmp_path):
    return tmp_path / "home" / "clusters.json"


@pytest.fixture
def engine():
    return Engine(io.StringIO(), io.StringIO(), ask=lambda question, secret: "right")


def err(engine):
    return engine._stderr.getvalue()


def test_the_built_in_cluster_is_always_listed():
    assert Engine().process(["cluster", "list", "--name"]) == ["local"]
    assert Engine().process(["cluster", "list"])[0]["alias"] == "local"


def test_add_logs_in_keeps_the_account_and_shows_no_secret(engine, accounts, clusters_file):
    value = engine.process([*ADD, "--password", "right", "--hdfs-web-uri", "http://hdfs.example:9870"])
    assert value == [
        {
            "alias": "prod",
            "pai_uri": "http://pai.example",
            "user": "alice",
            "passwd": "***",
            "token": "***",
            "hdfs_web_uri": "http://hdfs.example:9870",
        }
    ]
    assert accounts == [("login", "prod", "http://pai.example")]
    assert "the value of --password can be seen on the command line" in err(engine)
    kept = json.loads(clusters_file.read_text())["prod"]
    assert (kept["passwd"], kept["token"]) == ("right", "t-1")
    assert os.stat(clusters_file).st_mode & 0o777 == 0o600
    assert engine.process(["cluster", "list", "-a", "prod"]) == value


def test_add_keeps_nothing_when_the_login_fails(engine, accounts, clusters_file):
    with pytest.raises(AuthenticationError):
        engine.process([*ADD, "--password", "wrong"])
    assert not clusters_file.exists()


def test_add_without_a_check_asks_nobody(accounts):
    assert Engine().process([*ADD, "--no-check"]) == [
        {"alias": "prod", "pai_uri": "http://pai.example", "user": "alice"}
    ]
    assert accounts == []


def test_add_asks_at_a_terminal_and_reads_stdin(engine, accounts, clusters_file, monkeypatch):
    engine.process(ADD)
    monkeypatch.setattr("sys.stdin", io.StringIO("right\n"))
    Engine().process([*ADD, "-a", "other", "--password-stdin"])
    assert [entry["passwd"] for entry in json.loads(clusters_file.read_text()).values()] == ["right", "right"]


def test_add_takes_a_token(engine, accounts, clusters_file):
    engine.process([*ADD, "--token", "t-0"])
    kept = json.loads(clusters_file.read_text())["prod"]
    assert (kept["token"], "passwd" in kept) == ("t-0", False)


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        (ADD, UsageError, "no terminal to ask on"),
        ([*ADD, "--password", "x", "--token", "y"], UsageError, "not allowed with argument"),
        (["cluster", "add", "--pai-uri", "x", "--user", "y"], UsageError, "missing -a/--cluster-alias"),
        (["cluster", "add", "-a", "x", "--user", "y"], UsageError, "required: --pai-uri"),
    ],
)
def test_add_wants_all_of_an_account(accounts, words, error, message):
    with pytest.raises(error, match=message):
        Engine().process(words)


def test_add_does_not_replace(engine, accounts):
    engine.process(ADD)
    with pytest.raises(ConfigError, match="there is a cluster 'prod' already"):
        engine.process(ADD)


@pytest.mark.parametrize("verb", ["remove", "delete"])
def test_remove_forgets_a_cluster(engine, accounts, verb):
    engine.process(ADD)
    assert engine.process(["cluster", verb, "prod"])[0]["alias"] == "prod"
    assert engine.process(["cluster", "list", "--name"]) == ["local"]
    with pytest.raises(UnknownClusterError):
        engine.process(["cluster", verb, "prod"])


def test_select_writes_the_home_and_inside_a_project_the_project(engine, accounts, tmp_path):
    engine.process(ADD)
    assert engine.process(["cluster", "select", "prod"])[0]["alias"] == "prod"
    assert json.loads((tmp_path / "home" / "defaults.json").read_text()) == {"cluster-alias": "prod"}
    engine.process(["default", "add", "cpu=2"])
    engine.process(["cluster", "select", "local"])
    project_file = tmp_path / "work" / ".openpai" / "defaults.json"
    assert json.loads(project_file.read_text()) == {"cpu": 2, "cluster-alias": "local"}


def test_select_wants_a_cluster_that_is_known(engine):
    with pytest.raises(UnknownClusterError):
        engine.process(["cluster", "select", "prdo"])


def test_select_warns_when_the_environment_wins(engine, accounts, monkeypatch):
    engine.process(ADD)
    monkeypatch.setenv("PAI_SDK_CLUSTER_ALIAS", "local")
    engine.process(["cluster", "select", "prod"])
    assert "$PAI_SDK_CLUSTER_ALIAS names another cluster" in err(engine)


def test_login_keeps_the_token_and_not_the_password(engine, accounts, clusters_file):
    engine.process([*ADD, "--no-check"])
    assert engine.process(["cluster", "login", "-a", "prod"])[0]["token"] == "***"
    assert json.loads(clusters_file.read_text())["prod"] == {
        "pai_uri": "http://pai.example",
        "user": "alice",
        "token": "t-1",
    }


def test_logout_revokes_and_forgets(engine, accounts, clusters_file):
    engine.process([*ADD, "--token", "t-0"])
    engine.process(["cluster", "logout"])
    assert accounts[-1] == ("logout", "prod", "t-0")
    assert "token" not in json.loads(clusters_file.read_text())["prod"]


def test_logout_forgets_also_when_the_cluster_is_out_of_reach(engine, accounts, clusters_file, monkeypatch):
    def logout(self):
        raise ClusterConnectionError("out of reach")

    engine.process(ADD)
    monkeypatch.setattr(Cluster, "logout", logout)
    engine.process(["cluster", "logout"])
    assert "not revoked: out of reach" in err(engine)
    assert "token" not in json.loads(clusters_file.read_text())["prod"]


@pytest.mark.parametrize("verb", ["login", "logout"])
def test_the_embedded_cluster_needs_no_login(engine, verb):
    with pytest.raises(UsageError, match="needs no login"):
        engine.process(["cluster", verb])


def test_a_file_that_others_can_read_is_reported_once(engine, accounts, clusters_file):
    engine.process([*ADD, "--no-check"])
    clusters_file.chmod(0o644)
    engine.process(["cluster", "list"])
    assert err(engine).count("can be read by others") == 1


def test_info_has_snake_case_keys(bench):
    bench.cluster.info = lambda: {"name": "PAI RESTful API", "launcherType": "k8s", "authnMethod": "basic"}
    assert bench("cluster", "info") == {
        "name": "PAI RESTful API",
        "launcher_type": "k8s",
        "authn_method": "basic",
    }


RESOURCES = {
    "name": "default",
    "dedicated": False,
    "gpu": {"used": 1, "free": 3, "total": 4},
    "cpu": {"used": 0.5, "free": 7.5, "total": 8},
    "memory_mb": {"used": 512, "free": 1536, "total": 2048},
}


def test_resources_are_flat_and_memory_is_in_bytes(bench):
    bench.cluster.resources = lambda: [RESOURCES]
    assert bench("cluster", "resources") == [
        {
            "name": "default",
            "dedicated": False,
            "gpus_used": 1,
            "gpus_free": 3,
            "gpus_total": 4,
            "cpus_used": 0.5,
            "cpus_free": 7.5,
            "cpus_total": 8,
            "memory_used_bytes": 512 * 1024**2,
            "memory_free_bytes": 1536 * 1024**2,
            "memory_total_bytes": 2048 * 1024**2,
        }
    ]


def test_resources_as_a_table_are_for_people(opai):
    opai.cluster.resources = lambda: [RESOURCES]
    heading, row = opai("cluster", "resources")[1].splitlines()
    assert heading.split("  ")[0] == "VIRTUAL CLUSTER"
    assert " ".join(row.split()) == "default 3 of 4 7.5 of 8 1.5 GiB of 2.0 GiB no"


# --- defaults -------------------------------------------------------------------------------------


@pytest.mark.parametrize("verb", ["add", "set"])
def test_defaults_are_kept_in_the_project_or_the_home(verb, tmp_path):
    project = str(tmp_path / "work" / ".openpai" / "defaults.json")
    home = str(tmp_path / "home" / "defaults.json")
    engine = Engine()
    assert engine.process(["default", verb, "cpu=2", "mem=4g"]) == [
        {"name": "cpu", "value": 2, "origin": project},
        {"name": "mem", "value": "4g", "origin": project},
    ]
    assert engine.process(["default", verb, "gpu=1", "--global"]) == [
        {"name": "gpu", "value": 1, "origin": home}
    ]
    listed = {item["name"]: (item["value"], item["origin"]) for item in engine.process(["default", "list"])}
    assert (listed["cpu"], listed["gpu"]) == ((2, project), (1, home))
    assert listed["image"] == ("python:3.11", "built-in")


@pytest.mark.parametrize("verb", ["remove", "unset"])
def test_a_default_that_is_removed_is_what_it_was(verb):
    Engine().process(["default", "add", "cpu=2"])
    assert Engine().process(["default", verb, "cpu"]) == [{"name": "cpu", "value": 1, "origin": "built-in"}]


def test_an_unknown_default_is_refused_with_the_nearest_name():
    with pytest.raises(UnknownSettingError, match="did you mean 'image'"):
        Engine().process(["default", "add", "imgae=x"])


def test_a_default_wants_a_value():
    with pytest.raises(UsageError, match="expected NAME=VALUE, got 'image'"):
        Engine().process(["default", "add", "image"])


def test_a_default_that_does_not_apply_is_warned_about(engine, monkeypatch):
    monkeypatch.setenv("PAI_SDK_CPU", "8")
    engine.process(["default", "add", "cpu=2"])
    assert "PAI_SDK_CPU goes first: cpu is 8" in err(engine)
