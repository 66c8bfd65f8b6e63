# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.errors import ConfigError
from openpaisdk.http.urls import encode_query, is_loopback, quote, split_url, without_secrets


@pytest.mark.parametrize(
    ("text", "scheme", "host", "port", "path"),
    [
        ("http://pai.example", "http", "pai.example", 80, "/"),
        ("https://pai.example:8443/base/?a=b#c", "https", "pai.example", 8443, "/base/?a=b"),
        ("10.0.0.1:9186", "http", "10.0.0.1", 9186, "/"),
        ("http://[::1]:81/x", "http", "::1", 81, "/x"),
        ("http://pai.example?q=1", "http", "pai.example", 80, "/?q=1"),
    ],
)
def test_an_address_is_taken_apart(text: str, scheme: str, host: str, port: int, path: str) -> None:
    url = split_url(text)
    assert (url.scheme, url.host, url.port, url.path) == (scheme, host, port, path)


@pytest.mark.parametrize("text", ["", "ftp://x", "http://", "http://h:0", "http://h:port", "http://h:99999"])
def test_what_is_not_an_address_is_refused(text: str) -> None:
    with pytest.raises(ConfigError):
        split_url(text)


def test_an_address_with_a_password_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError) as caught:
        split_url("http://alice:hunter2@pai.example")
    assert "hunter2" not in str(caught.value)


def test_the_authority_leaves_out_the_usual_port_and_brackets_ipv6() -> None:
    assert split_url("https://h:443").authority == "h"
    assert split_url("http://[::1]:81").origin == "http://[::1]:81"


def test_text_is_encoded_for_a_path() -> None:
    assert quote("alice~job_1.a-b") == "alice~job_1.a-b"
    assert quote("a b/ü") == "a%20b%2F%C3%BC"


def test_a_query_leaves_out_what_is_none() -> None:
    assert encode_query([("a", 1), ("b", None), ("state", "FAILED,STOPPED")]) == "?a=1&state=FAILED,STOPPED"
    assert encode_query([("b", None)]) == ""


def test_tokens_are_not_shown() -> None:
    shown = without_secrets("http://h/log?user=a&token=abc&delegation=def")
    assert shown == "http://h/log?user=a&token=***&delegation=***"
    assert without_secrets("http://h/api/v2/tokens/ey.jwt") == "http://h/api/v2/tokens/***"
    assert without_secrets("http://h/api/v2/tokens/check") == "http://h/api/v2/tokens/check"


def test_this_machine_is_known_by_its_names() -> None:
    assert all(is_loopback(host) for host in ("localhost", "127.0.0.1", "127.8.9.1", "::1"))
    assert not any(is_loopback(host) for host in ("127.evil.example", "10.0.0.1", "pai.example"))
