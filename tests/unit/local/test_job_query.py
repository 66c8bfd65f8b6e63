# SPDX-License-Identifier: MIT
"""The query of a list of jobs."""

from __future__ import annotations

import pytest

from openpaisdk.local.api.routes.job_query import ORDER_FIELDS, parse_job_query
from openpaisdk.local.api_error import ApiError
from openpaisdk.local.records import JobQuery


def test_nothing_asked_for_is_the_default():
    assert parse_job_query(b"") == JobQuery()
    assert parse_job_query(b"unknown=1&limit=") == JobQuery()


def test_choices_are_split_at_commas():
    query = parse_job_query(
        b"username=alice,bob&vc=default&state=FAILED,STOPPED&tagsContain=a,b&tagsNotContain=c&jobPriority=default"
    )
    assert query.users == ("alice", "bob")
    assert query.virtual_clusters == ("default",)
    assert query.states == ("FAILED", "STOPPED")
    assert (query.tags_contain, query.tags_not_contain) == (("a", "b"), ("c",))
    assert query.priorities == ("default",)


def test_a_keyword_is_decoded():
    assert parse_job_query(b"keyword=a%20%25b").keyword == "a %b"


@pytest.mark.parametrize("field", ORDER_FIELDS)
def test_orders_that_are_known_are_taken(field):
    query = parse_job_query(f"order={field},ASC".encode())
    assert (query.order_by, query.descending) == (field, False)


@pytest.mark.parametrize("order", ["nope,ASC", "jobName", "jobName,asc", "jobName,DESC,x", ""])
def test_other_orders_fall_back_to_the_newest_first(order):
    query = parse_job_query(f"order={order}".encode())
    assert (query.order_by, query.descending) == ("submissionTime", True)


@pytest.mark.parametrize(("text", "wanted"), [("true", True), ("false", False), ("1", False), ("", False)])
def test_only_true_asks_for_the_total(text, wanted):
    assert parse_job_query(f"withTotalCount={text}".encode()).with_total_count is wanted


@pytest.mark.parametrize("query", [b"limit=abc", b"limit=-1", b"offset=-1", b"offset=1.5", b"limit=%C2%B2"])
def test_what_a_real_server_answers_by_500_is_a_mistake_of_the_user(query):
    with pytest.raises(ApiError) as caught:
        parse_job_query(query)
    assert (caught.value.status, caught.value.api_code) == (400, "InvalidParametersError")


def test_a_parameter_given_twice_is_refused():
    with pytest.raises(ApiError, match="given twice"):
        parse_job_query(b"username=alice&username=bob")


def test_the_largest_limit_is_that_of_a_real_server():
    assert parse_job_query(b"limit=50000").limit == 50000
    with pytest.raises(ApiError, match=r"Limit exceeds max number 50000\."):
        parse_job_query(b"limit=50001")


def test_an_offset_beyond_all_numbers_is_no_error():
    assert parse_job_query(b"offset=99999999999999999999999").offset < 2**63
