# SPDX-License-Identifier: MIT
"""Accounts, tokens and permits of the embedded cluster."""

from __future__ import annotations

import base64
import json
import sqlite3
import stat

import pytest

from openpaisdk.errors import UsageError
from openpaisdk.local.access import auth, users
from openpaisdk.local.access.sessions import PageSessions
from openpaisdk.local.access.users import APPLICATION, OWNER, USER, AccountStore
from openpaisdk.local.api_error import ApiError


@pytest.fixture
def store(tmp_path):
    store = AccountStore(str(tmp_path / "accounts.db"))
    store.ensure_owner("alice")
    yield store
    store.close()


def reopen(store: AccountStore, tmp_path) -> AccountStore:
    store.close()
    return AccountStore(str(tmp_path / "accounts.db"))


def payload(token: str) -> dict:
    part = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))


def identify(store: AccountStore, header: str | None) -> auth.Identity:
    return auth.identify(store, header)


def basic(user: str, token: str) -> str:
    return "Basic " + base64.b64encode(f"{user}:{token}".encode()).decode()


def test_the_owner_is_an_admin_with_a_generated_password(store, tmp_path):
    owner = store.account("alice")
    assert store.is_admin(owner)
    assert len(owner.generated_password) >= 20
    again = reopen(store, tmp_path)
    assert again.ensure_owner("alice") == owner
    again.close()


def test_the_file_is_open_to_its_owner_only(store, tmp_path):
    assert stat.S_IMODE((tmp_path / "accounts.db").stat().st_mode) == 0o600


def test_passwords_are_compared_whole(store):
    store.add_account("bob", "secret-of-bob")
    for name, password in (("alice", store.account("alice").generated_password), ("bob", "secret-of-bob")):
        account = store.account(name)
        assert store.password_fits(account, password)
        assert not store.password_fits(account, password + "x")
        assert not store.password_fits(account, "")


def test_a_chosen_password_is_kept_as_a_hash_only(store, tmp_path):
    store.add_account("bob", "secret-of-bob")
    assert b"secret-of-bob" not in (tmp_path / "accounts.db").read_bytes()
    assert b"secret-of-bob" not in (tmp_path / "accounts.db-wal").read_bytes()


def test_a_short_password_is_refused(store):
    with pytest.raises(UsageError, match="too short"):
        store.add_account("bob", "abc")


def test_a_token_is_a_jwt_that_says_what_a_real_one_says(store):
    claims = payload(store.issue("alice", USER))
    assert list(claims) == ["username", "application", "jobSpecific", "encodedFrameworkName", "iat", "exp"]
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600
    assert "exp" not in payload(store.issue("alice", APPLICATION))


def test_two_tokens_of_one_second_differ_and_are_revoked_apart(store):
    first, second = store.issue("alice", USER), store.issue("alice", USER)
    assert first != second
    store.revoke(first)
    assert store.find(first) is None
    assert store.find(second).user == "alice"


def test_only_hashes_of_tokens_are_kept(store, tmp_path):
    token = store.issue("alice", USER)
    content = (tmp_path / "accounts.db").read_bytes() + (tmp_path / "accounts.db-wal").read_bytes()
    assert token.encode() not in content


def test_tokens_outlive_the_server(store, tmp_path):
    owner = store.owner_token("alice")
    revoked = store.issue("alice", USER)
    store.revoke(revoked)
    again = reopen(store, tmp_path)
    assert again.owner_token("alice") == owner
    assert again.find(owner).kind == OWNER
    assert again.find(revoked) is None
    again.close()


def test_the_token_of_an_attempt_is_good_again_once_the_attempt_is_taken_up(store, tmp_path):
    attempt = store.issue_for_attempt("alice", "/user/alice/jobs/j")
    again = reopen(store, tmp_path)
    assert again.find(attempt) is None
    again.restore_for_attempt(attempt)
    assert again.find(attempt).path_prefix == "/user/alice/jobs/j"
    again.revoke(attempt)
    assert again.find(attempt) is None
    again.close()


@pytest.mark.parametrize("change", ["", "x", ".", "e30.x"])
def test_a_forged_token_of_an_attempt_is_not_made_good(store, change):
    signed, _, signature = store.issue_for_attempt("alice", "/user/alice").partition(".")
    forged = change or f"{signed[:-2]}AA.{signature}"
    store.restore_for_attempt(forged)
    assert store.find(forged) is None


def test_a_login_token_expires(store, tmp_path, monkeypatch):
    token = store.issue("alice", USER)
    now = users.time.time()
    monkeypatch.setattr(users.time, "time", lambda: now + 8 * 24 * 3600)
    assert store.find(token) is None
    assert store.texts("alice") == []
    again = reopen(store, tmp_path)
    rows = sqlite3.connect(tmp_path / "accounts.db")
    assert rows.execute("SELECT count(*) FROM tokens").fetchone() == (0,)
    rows.close()
    again.close()


def test_the_list_of_tokens_holds_those_of_logins_and_applications(store):
    login, application = store.issue("alice", USER), store.issue("alice", APPLICATION)
    store.issue("bob", USER)
    store.owner_token("alice")
    store.issue_for_attempt("alice", "/x")
    assert sorted(store.texts("alice")) == sorted([login, application])


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER"])
def test_a_bearer_token_tells_the_user(store, scheme):
    identity = identify(store, f"{scheme} {store.owner_token('alice')}")
    assert (identity.user, identity.admin) == ("alice", True)


def test_basic_takes_an_applications_token_of_that_user_only(store):
    store.add_account("bob", "secret-of-bob")
    application = store.issue("bob", APPLICATION)
    assert identify(store, basic("bob", application)).user == "bob"
    for header in (
        basic("alice", application),
        basic("bob", store.issue("bob", USER)),
        "Basic !!",
        "Basic ü",
    ):
        with pytest.raises(ApiError) as caught:
            identify(store, header)
        assert (caught.value.status, caught.value.message) == (401, "Your token is invalid.")


@pytest.mark.parametrize("header", ["abc", "Bearer garbage", "Bearer ", "Digest x"])
def test_what_is_no_token_is_refused(store, header):
    with pytest.raises(ApiError) as caught:
        identify(store, header)
    assert caught.value.body() == {"code": "UnauthorizedUserError", "message": "Your token is invalid."}


def test_guests_are_told_so(store):
    with pytest.raises(ApiError) as caught:
        identify(store, None)
    assert caught.value.message == "Guest is not allowed to do this operation."


def test_an_attempts_token_is_none_of_the_rest_api(store):
    with pytest.raises(ApiError):
        identify(store, f"Bearer {store.issue_for_attempt('alice', '/user/alice/jobs/j')}")


def test_a_tampered_token_is_refused(store):
    head, _, mark = store.issue("alice", USER).split(".")
    forged = base64.urlsafe_b64encode(json.dumps({"username": "alice"}).encode()).decode().rstrip("=")
    with pytest.raises(ApiError):
        identify(store, f"Bearer {head}.{forged}.{mark}")


def test_an_identity_does_not_show_its_token(store):
    token = store.owner_token("alice")
    assert token not in repr(identify(store, f"Bearer {token}"))


def test_admins_and_owners_may_change_a_job(store):
    store.add_account("bob", "secret-of-bob")
    admin = identify(store, f"Bearer {store.issue('alice', USER)}")
    bob = identify(store, f"Bearer {store.issue('bob', USER)}")
    assert admin.may_change("bob")
    assert bob.may_change("bob")
    assert not bob.may_change("alice")


# --- permits and links ------------------------------------------------------------------------
def test_a_permit_is_read_back_until_its_time_is_over(monkeypatch):
    permits = auth.Permits()
    text = permits.sign(["alice", 1], lifetime_s=120)
    assert permits.read(text) == ["alice", 1]
    monkeypatch.setattr(auth.time, "time", lambda: 0.0)  # a clock that is set does not count
    now = auth.time.monotonic()
    assert permits.read(text) == ["alice", 1]
    monkeypatch.setattr(auth.time, "monotonic", lambda: now + 121)
    assert permits.read(text) is None


@pytest.mark.parametrize("text", ["", "x", "ü", "AAAA", "a" * 200])
def test_what_was_not_signed_here_is_no_permit(text):
    assert auth.Permits().read(text) is None
    assert auth.Permits().read(auth.Permits().sign(1, lifetime_s=9)) is None


def test_a_link_works_once():
    sessions = PageSessions("http://127.0.0.1:4321")
    link = sessions.make_link("alice", "/jobs/alice~j")
    assert link.startswith("http://127.0.0.1:4321/jobs/alice~j?code=")
    code = link.rpartition("=")[2]
    session = sessions.redeem(code)
    assert sessions.redeem(code) is None
    assert sessions.user(f"other=1; {sessions.cookie_name}={session}") == "alice"
    assert sessions.cookie_name.endswith("4321")


def test_a_cookie_is_kept_from_scripts_and_other_sites():
    cookie = PageSessions("http://127.0.0.1:1").set_cookie("value")
    assert "HttpOnly" in cookie
    assert "SameSite=Strict" in cookie


def test_links_and_sessions_end(monkeypatch):
    from openpaisdk.local.access import sessions as module

    sessions = PageSessions("http://127.0.0.1:1")
    link, other = (sessions.make_link("alice", "/").rpartition("=")[2] for _ in range(2))
    session = sessions.redeem(link)
    now = module.time.monotonic()
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 601)
    assert sessions.redeem(other) is None
    assert sessions.user(f"{sessions.cookie_name}={session}") == "alice"
    monkeypatch.setattr(module.time, "monotonic", lambda: now + 13 * 3600)
    assert sessions.user(f"{sessions.cookie_name}={session}") is None


@pytest.mark.parametrize(
    "header", [None, "", "a=b", "openpai-local-1", "openpai-local-1=", "openpai-local-1=zzz"]
)
def test_other_cookies_let_nobody_in(header):
    assert PageSessions("http://127.0.0.1:1").user(header) is None


def test_old_links_are_forgotten_when_there_are_many(monkeypatch):
    from openpaisdk.local.access import sessions as module

    monkeypatch.setattr(module, "OPEN_LINKS_MAX", 2)
    sessions = PageSessions("http://127.0.0.1:1")
    codes = [sessions.make_link("alice", "/").rpartition("=")[2] for _ in range(3)]
    assert sessions.redeem(codes[0]) is None
    assert sessions.redeem(codes[1]) is not None
