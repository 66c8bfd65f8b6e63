# SPDX-License-Identifier: MIT
from __future__ import annotations

from argparse import SUPPRESS, ArgumentTypeError

import pytest

from openpaisdk.cli import options
from openpaisdk.cli.parser import HelpAskedError, Parser
from openpaisdk.errors import UsageError


@pytest.fixture
def parser():
    parser = Parser("opai job demo", description="demonstrate", examples=("opai job demo x",))
    parser.add_argument("-j", "--job-name", metavar="NAME")
    parser.add_argument("--gpu", type=options.whole_number(0))
    parser.add_argument("-p", "--package", action="extend", type=options.comma_list)
    parser.add_argument("--mem", type=options.memory_mb)
    parser.add_argument("--gup", help=SUPPRESS)
    options.add_waiting(parser)
    options.add_common(parser)
    return parser


def read_fast(parser, *words):
    parser.add_command_line()
    return parser.read(words)


def test_every_word_from_the_first_of_the_command_belongs_to_it(parser):
    args = read_fast(parser, "-j", "x", "--wait", "python", "train.py", "-j", "y", "--", "-o", "json")
    assert (args.job_name, args.wait, args.format) == ("x", True, None)
    assert args.command == ["python", "train.py", "-j", "y", "--", "-o", "json"]


@pytest.mark.parametrize(
    "command",
    [
        ["python", "--unknown", "-z", "--wait=1", "-h"],
        ["a", "--", "--", "b"],
        ["", " ", "-j", "a=b"],
        ["--", "x"],
        ["--version", "-q"],
        ["-"],
    ],
)
@pytest.mark.parametrize("before", [["-q"], ["--gpu", "2", "--job-name=x"], ["-qj", "x"]])
def test_two_dashes_begin_a_command_that_is_left_alone(parser, command, before):
    assert read_fast(parser, *before, "--", *command).command == command


def test_a_command_may_be_missing_for_the_command_to_complain(parser):
    assert read_fast(parser, "--wait").command == []


def test_words_and_options_may_be_mixed(parser):
    parser.add_argument("names", nargs="+")
    args = parser.read(["a", "-o", "json", "b", "--gpu=2", "c"])
    assert (args.names, args.format, args.gpu) == (["a", "b", "c"], "json", 2)


def test_words_that_may_be_missing_can_stand_on_both_sides_of_an_option(parser):
    parser.add_argument("job", nargs="?")
    parser.add_argument("part", nargs="?")
    args = parser.read(["good", "-o", "json", "config"])
    assert (args.job, args.part, args.format) == ("good", "config", "json")


def test_after_two_dashes_a_word_may_begin_with_a_dash(parser):
    parser.add_argument("names", nargs="+")
    assert parser.read(["a", "--", "-b", "--gpu"]).names == ["a", "-b", "--gpu"]


def test_a_single_dash_is_a_word(parser):
    parser.add_argument("file")
    assert parser.read(["-"]).file == "-"


@pytest.mark.parametrize(
    ("words", "value"),
    [
        (["-j", "x"], "x"),
        (["-jx"], "x"),
        (["-j=x"], "x"),
        (["--job-name", "x"], "x"),
        (["--job-name=x=y"], "x=y"),
        (["--job-name="], ""),
        (["-qj", "x"], "x"),
        (["-j", "-1"], "-1"),
        (["-j", "a", "-j", "b"], "b"),
    ],
)
def test_values_are_joined_or_apart(parser, words, value):
    assert parser.read(words).job_name == value


def test_packages_are_split_at_commas_and_add_up(parser):
    assert parser.read(["-p", "a, b", "-p", "c"]).package == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("words", "message", "hint"),
    [
        (["--gqu", "1"], "unknown option '--gqu'", "did you mean --gpu?"),
        (["--gqu=1"], "unknown option '--gqu'", "did you mean --gpu?"),
        (["-z"], "unknown option '-z'", "opai job demo -h"),
        (["-qz"], "unknown option '-qz'", "opai job demo -h"),
        (["-j"], "-j/--job-name: expected one argument", "opai job demo -h"),
        (["-j", "--"], "-j/--job-name: expected one argument", "opai job demo -h"),
        (["-j", "--wait"], "-j/--job-name: expected one argument", "opai job demo -h"),
        (["--wait=1"], "--wait: ignored explicit argument '1'", "opai job demo -h"),
        (["--gpu", "two"], "--gpu: expected a whole number, at least 0; got 'two'", "opai job demo -h"),
        (["--gpu", "-1"], "--gpu: expected a whole number, at least 0; got '-1'", "opai job demo -h"),
        (["--mem", "much"], "--mem: ", "opai job demo -h"),
        (["-o", "xml"], "-o/--format: invalid choice: 'xml'", "opai job demo -h"),
        (["--wait", "--follow"], "--follow: not allowed with argument --wait", "opai job demo -h"),
        (["word"], "unrecognized arguments: word", "opai job demo -h"),
        (["--job"], "unknown option '--job'", "opai job demo -h"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(parser, words, message, hint):
    with pytest.raises(UsageError) as caught:
        parser.read(words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_word_is_named(parser):
    options.add_job(parser)
    with pytest.raises(UsageError, match="required: <job-name>"):
        parser.read([])


@pytest.mark.parametrize("words", [["-h"], ["--gpu", "1", "--help"], ["-qh"], ["a", "-h", "b", "c"]])
def test_help_wins_over_words_that_are_missing_or_too_many(parser, words, monkeypatch):
    options.add_job(parser)
    with pytest.raises(HelpAskedError) as caught:
        parser.read(words)
    assert caught.value.text == parser.format_help()
    assert "demonstrate" in caught.value.text
    assert "--gup" not in caught.value.text
    assert caught.value.text.endswith("examples:\n  opai job demo x\n")


@pytest.mark.parametrize(
    ("read", "text", "value"),
    [
        (options.pair, "K=V=W", ("K", "V=W")),
        (options.pair, "K=", ("K", "")),
        (options.port, "http=2", ("http", 2)),
        (options.path_and_value, "taskRoles.worker.instances=2", ("taskRoles.worker.instances", "2")),
        (options.path_and_value, "defaults::virtualCluster=a::b", ("defaults::virtualCluster", "a::b")),
        (options.memory_mb, "4g", 4096),
        (options.memory_mb, "4096", 4096),
        (options.memory_mb, "512m", 512),
        (options.seconds, "0.5", 0.5),
    ],
)
def test_values_are_read(read, text, value):
    assert read(text) == value


@pytest.mark.parametrize(
    ("read", "text"),
    [
        (options.pair, "K"),
        (options.pair, "=V"),
        (options.port, "http=0"),
        (options.port, "http=x"),
        (options.path_and_value, "x"),
        (options.path_and_value, "=x"),
        (options.memory_mb, "much"),
        (options.seconds, "-1"),
        (options.seconds, "nan"),
        (options.seconds, "soon"),
    ],
)
def test_values_that_cannot_be_read_are_refused(read, text):
    with pytest.raises(ArgumentTypeError):
        read(text)
