# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.local.api.places import Places


def test_places_are_read_as_a_client_sends_them():
    places = Places.parse("1,worker.0.2.4096,ps.10.0.0")
    assert (places.job_attempt, places.of_tasks) == (1, {("worker", 0): (2, 4096), ("ps", 10): (0, 0)})


def test_a_client_is_told_where_it_begins():
    places = Places(1, {("worker", 0): (2, 4096)})
    assert places.event() == {"type": "begin", "job_attempt": 1, "tasks": [["worker", 0, 2, 4096]]}


@pytest.mark.parametrize("text", ["", "x", "0,", "0,worker.0.1", "0,worker.0.1.-5", "0,worker.0.1.1e3", "-1"])
def test_places_of_another_form_are_refused(text):
    with pytest.raises(ValueError):
        Places.parse(text)
