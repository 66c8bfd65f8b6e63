# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.cli import layout

ROWS = [{"name": "a", "state": "RUNNING"}, {"name": "much-longer", "state": None}]
COLUMNS = (("NAME", "name"), ("STATE", "state"))


def test_columns_stand_under_each_other_and_lines_have_no_blanks_at_the_end():
    assert layout.table(ROWS, COLUMNS) == "NAME         STATE\na            RUNNING\nmuch-longer  -\n"


def test_without_columns_every_key_is_shown():
    assert layout.table([{"size_bytes": 1}, {"name": "x"}]).splitlines()[0] == "SIZE BYTES  NAME"


def test_free_text_gives_when_the_terminal_is_narrow():
    lines = layout.table([{"name": "n" * 60, "state": "RUNNING"}], COLUMNS, width=30).splitlines()
    assert lines[1] == "n" * 20 + "…  RUNNING"


def test_the_last_columns_go_when_nothing_is_left_to_cut():
    row = {"name": "n" * 60, "state": "RUNNING", "user": "u" * 20, "tags": "t" * 20}
    lines = layout.table([row], width=40).splitlines()
    assert lines[0].split() == ["NAME", "STATE", "USER"]
    assert max(map(len, lines)) == 40


def test_nothing_is_cut_without_a_terminal():
    assert "n" * 500 in layout.table([{"name": "n" * 500}])


def test_wide_characters_take_two_columns():
    lines = layout.table(
        [{"name": "数据", "state": "X"}, {"name": "abcd", "state": "Y"}], COLUMNS
    ).splitlines()
    assert [layout.display_width(line) for line in lines[1:]] == [7, 7]
    assert layout.cut("数据数据", 5) == "数据…"


def test_colours_do_not_move_columns():
    text = layout.table([{"state": "RUNNING", "z": 1}], paint=lambda state: f"<{state}>")
    assert text.splitlines()[1] == "<RUNNING>  1"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "-"),
        ("", "-"),
        (0, "0"),
        (True, "yes"),
        ([], "-"),
        (["a", "b"], "a, b"),
        ({"http": [1, 2]}, "http=1, 2"),
        ("a\x1b[31mb\n", "a\\x1b[31mb\\n"),
    ],
)
def test_a_cell_is_one_line_of_plain_text(value, text):
    assert layout.cell(value) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "-"), (0, "0s"), (61.5, "1m 1s"), (3600, "1h 0m"), (200000, "2d 7h")]
)
def test_durations_have_two_units(seconds, text):
    assert layout.duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"), [(None, "-"), (0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**40, "1.0 TiB")]
)
def test_sizes_have_the_unit_of_a_person(size, text):
    assert layout.size(size) == text


def test_a_dict_is_lines_of_key_and_value():
    assert layout.pairs({"name": "x", "exit_code": None}) == "name:      x\nexit code: -\n"


def test_moments_lose_their_letters():
    assert layout.moment("2026-11-21T01:02:03.123Z") == "2026-11-21 01:02:03"
    assert layout.moment(None) == "-"
