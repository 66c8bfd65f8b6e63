# SPDX-License-Identifier: MIT
from __future__ import annotations

from openpaisdk.rest.transport import Request, Response, redirect_target, uses_plain_socket


def test_plain_sockets_serve_http_without_a_proxy() -> None:
    proxy = {"http_proxy": "http://proxy:3128"}
    assert uses_plain_socket("http://pai.example", {})
    assert uses_plain_socket("http://127.0.0.1:8000", proxy)
    assert not uses_plain_socket("http://pai.example", proxy)
    assert not uses_plain_socket("http://pai.example", {"ALL_PROXY": "socks5://proxy"})
    assert not uses_plain_socket("https://pai.example", {})


def test_a_gateway_that_moves_to_https_is_followed_with_credentials() -> None:
    request = Request("POST", "http://pai.example/a?b", headers={"Authorization": "Bearer x"}, body=b"1")
    target = redirect_target(request, Response(307, {"location": "https://pai.example/a?b"}))
    assert target is not None
    assert (target.method, target.url, target.body) == ("POST", "https://pai.example/a?b", b"1")
    assert target.headers["Authorization"] == "Bearer x"


def test_credentials_do_not_go_to_another_host() -> None:
    request = Request("GET", "https://pai.example/a", headers={"Authorization": "Bearer x"})
    target = redirect_target(request, Response(302, {"location": "https://evil.example/a"}))
    assert target is not None
    assert target.headers == {}


def test_nothing_is_followed_from_https_down_to_http() -> None:
    request = Request("GET", "https://pai.example/a")
    assert redirect_target(request, Response(302, {"location": "http://pai.example/a"})) is None


def test_a_post_is_not_turned_into_a_get() -> None:
    assert redirect_target(Request("POST", "http://h/a"), Response(302, {"location": "/b"})) is None


def test_a_relative_place_stays_on_the_host() -> None:
    target = redirect_target(Request("GET", "http://h:81/a"), Response(301, {"location": "/b?c=d"}))
    assert target is not None
    assert target.url == "http://h:81/b?c=d"


def test_the_shown_form_of_a_request_has_no_secrets() -> None:
    request = Request("GET", "http://h/a?token=abc", headers={"Authorization": "Bearer xyz"})
    assert "abc" not in repr(request)
    assert "xyz" not in repr(request)
