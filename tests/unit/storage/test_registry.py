# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk.errors import ConfigError, UsageError
from openpaisdk.storage.registry import Registry, split_uri, web_address


class Opened:
    """Stands for a storage and keeps what it was opened with."""

    def __init__(self, uri: str, **options: Any) -> None:
        self.uri = uri
        self.options = options


@pytest.mark.parametrize(
    ("uri", "address", "user"),
    [
        ("http://h:9870", "http://h:9870", None),
        ("https://h/gateway/webhdfs/v1", "https://h/gateway/webhdfs/v1", None),
        ("webhdfs://alice@h:50070/data/x", "http://h:50070", "alice"),
        ("swebhdfs://h:9871/x", "https://h:9871", None),
        ("hdfs://h:9000/x", "http://h:9870", None),
        ("hdfs://alice@h/x", "http://h:9870", "alice"),
        ("hdfs://h:1234", "http://h:1234", None),
    ],
)
def test_the_web_interface_behind_an_address_is_found(uri: str, address: str, user: str | None) -> None:
    assert web_address(uri) == (address, user)


def test_a_full_address_is_split_into_storage_and_path() -> None:
    assert split_uri("webhdfs://a@h:1/data/x y") == ("webhdfs://a@h:1", "/data/x y")
    assert split_uri("hdfs://h") == ("hdfs://h", "/")


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


def test_a_user_in_the_address_is_preferred(monkeypatch: pytest.MonkeyPatch) -> None:
    import openpaisdk.storage.hdfs as hdfs

    monkeypatch.setattr(hdfs, "HdfsStorage", Opened)
    opened: Any = Registry().open("webhdfs://bob@h:1/x", user="alice")
    assert (opened.uri, opened.options["user"]) == ("http://h:1", "bob")
