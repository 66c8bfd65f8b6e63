# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import ConfigError, MissingExtraError, UsageError
from openpaisdk.storage.hdfs.addresses import split_uri, web_addresses
from openpaisdk.storage.registry import Registry


class Opened:
    """Stands for a storage and keeps what it was opened with."""

    def __init__(self, uri: str, **options: Any) -> None:
        self.uri = uri
        self.options = options


@pytest.mark.parametrize(
    ("uri", "bases", "user"),
    [
        ("http://h:9870", ["http://h:9870/webhdfs/v1"], None),
        ("https://h/gateway/webhdfs/v1/", ["https://h/gateway/webhdfs/v1"], None),
        ("http://pai/webhdfs/api/v1", ["http://pai/webhdfs/api/v1"], None),
        ("webhdfs://alice@h:50070/data/x", ["http://h:50070/webhdfs/v1"], "alice"),
        ("webhdfs://h", ["http://h:9870/webhdfs/v1"], None),
        ("swebhdfs://h:9871/x", ["https://h:9871/webhdfs/v1"], None),
        ("hdfs://h:9000/x", ["http://h:9870/webhdfs/v1"], None),
        ("hdfs://alice@h/x", ["http://h:9870/webhdfs/v1"], "alice"),
        ("hdfs://h:1234", ["http://h:1234/webhdfs/v1"], None),
        (
            "webhdfs://bob@n1:9870,n2:9870/x",
            ["http://n1:9870/webhdfs/v1", "http://n2:9870/webhdfs/v1"],
            "bob",
        ),
        ("http://n1:1;http://n2:2", ["http://n1:1/webhdfs/v1", "http://n2:2/webhdfs/v1"], None),
        ("webhdfs://[::1]:9870", ["http://[::1]:9870/webhdfs/v1"], None),
        ("webhdfs://[::1]", ["http://[::1]:9870/webhdfs/v1"], None),
    ],
)
def test_the_web_interface_behind_an_address_is_found(uri: str, bases: list[str], user: str | None) -> None:
    assert web_addresses(uri) == (bases, user)


def test_a_full_address_is_split_into_storage_and_path() -> None:
    assert split_uri("webhdfs://a@h:1/data/x y") == ("webhdfs://a@h:1", "/data/x y")
    assert split_uri("hdfs://h") == ("hdfs://h", "/")
    assert split_uri("file:///a/b") == ("file://", "/a/b")
    assert split_uri("s3://bucket/a/b") == ("s3://bucket", "/a/b")
    assert split_uri("http://h:1/webhdfs/v1/a/b") == ("http://h:1/webhdfs/v1", "/a/b")


@pytest.mark.parametrize("uri", ["gopher://h/x", "/plain/path", ""])
def test_an_unknown_scheme_is_refused(uri: str) -> None:
    with pytest.raises(UsageError, match="not the address of a storage"):
        Registry().open(uri)


def test_a_scheme_is_not_taken_over_unless_told() -> None:
    registry = Registry()
    with pytest.raises(ConfigError, match="served already"):
        registry.register("webhdfs", "x:Y")
    registry.register("webhdfs", f"{__name__}:Opened", replace=True)


def test_a_registered_implementation_is_loaded_and_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("my_storages")
    module.Opened = Opened  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "my_storages", module)
    registry = Registry()
    registry.register("mine", "my_storages:Opened")
    opened: Any = registry.open("mine://x/y", user="alice")
    assert (opened.uri, opened.options["user"]) == ("mine://x/y", "alice")


def test_an_entry_point_serves_a_scheme_of_another_package(monkeypatch: pytest.MonkeyPatch) -> None:
    import importlib.metadata
    import sys
    import types

    module = types.ModuleType("their_storages")
    module.Opened = Opened  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "their_storages", module)
    found = importlib.metadata.EntryPoint("theirs", "their_storages:Opened", "openpaisdk.storages")
    monkeypatch.setattr(
        importlib.metadata, "entry_points", lambda **wanted: [found] if wanted["name"] == "theirs" else []
    )
    opened: Any = Registry().open("theirs://x")
    assert opened.uri == "theirs://x"


def test_a_missing_package_is_named_with_its_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    import sys

    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(MissingExtraError) as caught:
        Registry().open("s3://bucket")
    assert caught.value.hint == "pip install 'openpaisdk[s3]'"
