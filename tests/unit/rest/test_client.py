# SPDX-License-Identifier: MIT
from __future__ import annotations

from typing import Any

import pytest

from openpaisdk._secret import Secret
from openpaisdk.errors import AuthenticationError, ClusterConnectionError, ClusterError, JobNotFoundError
from openpaisdk.rest.transport import Response


def test_the_gateway_is_asked_below_its_prefix_with_the_token(
    client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.recorded("detail, succeeded"))
    assert client.job_detail("admin~pytorch_mnist")["name"] == "pytorch_mnist"
    assert transport.sent == ["GET http://pai.example/rest-server/api/v2/jobs/admin~pytorch_mnist"]
    assert transport.requests[0].headers["Authorization"] == "Bearer a-token"


@pytest.mark.parametrize(
    ("uri", "asked", "gateway"),
    [
        ("http://h", "http://h/rest-server/api/v2/info", "http://h"),
        ("http://h/", "http://h/rest-server/api/v2/info", "http://h"),
        ("https://h/rest-server", "https://h/rest-server/api/v2/info", "https://h"),
        ("http://h/rest-server/api/v2/", "http://h/rest-server/api/v2/info", "http://h"),
        ("http://h:9186", "http://h:9186/api/v2/info", "http://h"),
        ("http://h:81/pai", "http://h:81/pai/rest-server/api/v2/info", "http://h:81/pai"),
    ],
)
def test_every_form_of_address_leads_to_the_api(
    make_client: Any, transport: Any, answers: Any, uri: str, asked: str, gateway: str
) -> None:
    transport.will_answer(answers.recorded("info"))
    client = make_client(uri)
    assert client.info()["version"] == "v1.8.1"
    assert transport.requests[0].url == asked
    assert "Authorization" not in transport.requests[0].headers
    assert client.gateway == gateway


def test_a_rest_server_on_an_unusual_port_is_recognised(client: Any, transport: Any, answers: Any) -> None:
    refusal = {"code": "NoApiError", "message": "API /rest-server/api/v2/info is not found."}
    transport.will_answer(answers.reply(refusal, 404), answers.recorded("info"))
    assert client.info()["name"] == "PAI RESTful API"
    assert transport.requests[1].url == "http://pai.example/api/v2/info"


def test_a_missing_feature_is_not_taken_for_a_wrong_prefix(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("no such api"))
    with pytest.raises(ClusterError, match="does not have this feature"):
        client.sku_types()


def test_a_password_is_traded_for_a_token_when_one_is_needed(
    make_client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.recorded("login"), answers.recorded("list?limit=2"))
    client = make_client(password=Secret("secret-password"))
    assert len(client.list_jobs(limit=2)) == 2
    assert transport.sent == [
        "POST http://pai.example/rest-server/api/v2/authn/basic/login",
        "GET http://pai.example/rest-server/api/v2/jobs?limit=2",
    ]
    assert transport.requests[1].headers["Authorization"] == "Bearer <token:admin0>"


def test_a_fresh_token_that_is_not_known_yet_is_tried_again(
    make_client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    unknown = answers.recorded("garbage token")
    transport.will_answer(answers.recorded("login"), unknown, answers.recorded("garbage token"))
    transport.will_answer(answers.reply([]))
    assert make_client(password=Secret("secret-password")).list_jobs() == []
    assert pauses == [0.05, 0.1]


def test_an_expired_token_is_renewed_once(make_client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("garbage token"), answers.recorded("login"), answers.reply([]))
    client = make_client(password=Secret("secret-password"), token=Secret("old"))
    assert client.list_jobs() == []
    assert transport.requests[2].headers["Authorization"] == "Bearer <token:admin0>"


def test_a_token_without_a_password_cannot_be_renewed(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("garbage token"))
    with pytest.raises(AuthenticationError) as caught:
        client.list_jobs()
    assert "opai cluster login" in str(caught.value.hint)


@pytest.mark.parametrize("name", ["login, wrong password", "login, unknown user"])
def test_a_refused_login_is_an_authentication_error(
    make_client: Any, transport: Any, answers: Any, name: str
) -> None:
    transport.will_answer(answers.recorded(name))
    with pytest.raises(AuthenticationError):
        make_client(password=Secret("secret-password")).list_jobs()


def test_a_cluster_with_an_identity_provider_says_so(make_client: Any, transport: Any, answers: Any) -> None:
    missing = answers.reply(
        {"code": "NoApiError", "message": "API /api/v2/authn/basic/login is not found."}, 404
    )
    transport.will_answer(missing, answers.reply({"authnMethod": "OIDC"}))
    with pytest.raises(AuthenticationError, match="identity provider"):
        make_client(password=Secret("secret-password")).login()


def test_an_old_cluster_is_logged_in_to_its_own_way(make_client: Any, transport: Any, answers: Any) -> None:
    missing = answers.reply(
        {"code": "NoApiError", "message": "API /api/v2/authn/basic/login is not found."}, 404
    )
    transport.will_answer(missing, answers.reply({"authnMethod": "basic"}), answers.recorded("login"))
    assert make_client(password=Secret("secret-password")).login() == {"user": "admin", "admin": True}
    assert transport.requests[2].url == "http://pai.example/rest-server/api/v1/token"


def test_nothing_known_to_log_in_with_is_an_authentication_error(make_client: Any) -> None:
    with pytest.raises(AuthenticationError, match="neither a token nor user and password"):
        make_client(password=None).list_jobs()


def test_secrets_are_in_no_text(make_client: Any, transport: Any, answers: Any) -> None:
    lines: list[str] = []
    client = make_client(password=Secret("secret-password"))
    client.trace = lines.append
    transport.will_answer(answers.recorded("login"), answers.reply([]), answers.reply({"message": "revoke"}))
    client.list_jobs()
    client.revoke_token(Secret("other-token"))
    shown = repr(client) + "".join(lines) + "".join(map(repr, transport.requests))
    for secret in ("secret-password", "<token:admin0>", "other-token"):
        assert secret not in shown
    assert len(lines) == 3


def test_an_unreachable_cluster_is_named_with_host_and_port(
    make_client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.broken("dns", sent=False))
    with pytest.raises(
        ClusterConnectionError, match=r"cannot reach cluster 'prod': pai\.example:80"
    ) as caught:
        make_client(label="cluster 'prod'").list_jobs()
    assert "host name" in str(caught.value.hint)


def test_a_cluster_that_is_not_there_is_revived(make_client: Any, transport: Any, answers: Any) -> None:
    reasons: list[str] = []

    def revive(because: str) -> tuple[str, Secret]:
        reasons.append(because)
        return "http://127.0.0.1:5", Secret("new-token")

    transport.will_answer(answers.broken("refused", sent=False), answers.reply([]))
    client = make_client("http://127.0.0.1:4", revive=revive)
    assert client.list_jobs() == []
    assert reasons == ["refused"]
    assert transport.requests[1].url.startswith("http://127.0.0.1:5/")
    assert transport.requests[1].headers["Authorization"] == "Bearer new-token"


def test_a_cluster_that_dies_over_and_over_is_given_up(
    make_client: Any, transport: Any, answers: Any
) -> None:
    reasons: list[str] = []

    def revive(because: str) -> tuple[str, Secret]:
        reasons.append(because)
        return "http://127.0.0.1:4", Secret("a-token")

    transport.will_answer(*[answers.broken("refused", sent=False) for _ in range(9)])
    with pytest.raises(ClusterConnectionError):
        make_client("http://127.0.0.1:4", revive=revive).list_jobs()
    assert reasons == ["refused"] * 8


def test_a_cluster_that_may_not_be_started_is_reported(
    make_client: Any, transport: Any, answers: Any
) -> None:
    reasons: list[str] = []
    transport.will_answer(answers.broken("refused", sent=False))
    client = make_client("http://127.0.0.1:4", revive=reasons.append)
    with pytest.raises(ClusterConnectionError, match="was stopped in the meantime"):
        client.extension("GET", "/status", may_start=False)
    assert reasons == ["lost"]


def test_a_post_that_only_looks_is_sent_again(
    client: Any, transport: Any, answers: Any, pauses: list[float]
) -> None:
    transport.will_answer(answers.broken(), answers.reply({"done": True}))
    assert client.extension("POST", "/wait", {}, only_looks=True) == {"done": True}
    transport.will_answer(answers.broken())
    with pytest.raises(ClusterConnectionError):
        client.extension("POST", "/shutdown", {})
    assert len(pauses) == 1


def test_a_changed_token_of_the_embedded_cluster_is_taken_up(
    make_client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.recorded("garbage token"), answers.reply([]))
    client = make_client("http://127.0.0.1:4", revive=lambda because: ("http://127.0.0.1:4", Secret("next")))
    assert client.list_jobs() == []
    assert transport.requests[1].headers["Authorization"] == "Bearer next"


def test_an_unchanged_token_that_is_refused_is_an_error(
    make_client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.recorded("garbage token"))
    client = make_client(
        "http://127.0.0.1:4", revive=lambda because: ("http://127.0.0.1:4", Secret("a-token"))
    )
    with pytest.raises(AuthenticationError):
        client.list_jobs()


def test_a_page_instead_of_json_is_an_error(client: Any, transport: Any) -> None:
    transport.will_answer(Response(200, {}, b"<html>welcome</html>"))
    with pytest.raises(ClusterError, match="not JSON"):
        client.info()


def test_a_document_is_posted_as_yaml_text(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("submit a marketplace job"))
    assert client.submit_job("name: ü", job="ü")["status"] == 202
    request = transport.requests[0]
    assert (request.headers["Content-Type"], request.body) == ("text/yaml", "name: ü".encode())


def test_json_labelled_yaml_is_read(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("config"))
    assert client.job_config("admin~pytorch_mnist")["protocolVersion"] == 2


def test_a_tag_is_deleted_with_a_body(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.reply({"status": 200}))
    client.delete_tag("alice~j", "t")
    assert (transport.requests[0].method, transport.requests[0].body) == ("DELETE", b'{"value": "t"}')


def test_a_null_body_with_404_is_a_missing_job(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.recorded("job attempts, unknown job"))
    with pytest.raises(JobNotFoundError):
        client.job_attempts("admin~nope")


def test_a_total_count_is_unwrapped(client: Any, transport: Any, answers: Any) -> None:
    transport.will_answer(answers.reply({"totalCount": 1, "data": [{"name": "j"}]}))
    assert client.list_jobs(withTotalCount="true") == [{"name": "j"}]


def test_a_log_is_read_at_the_gateway_without_the_token(
    make_client: Any, transport: Any, answers: Any
) -> None:
    transport.will_answer(answers.recorded("log content, tail mode"))
    client = make_client("http://pai.example:9186")
    client.read_log("/log-manager/10.0.0.1:9103/api/v1/logs/user-all?token=x", start=5)
    request = transport.requests[0]
    assert request.url.startswith("http://pai.example/log-manager/")
    assert request.headers["Range"] == "bytes=5-"
    assert "Authorization" not in request.headers
