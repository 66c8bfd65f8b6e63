# SPDX-License-Identifier: MIT
from __future__ import annotations

import pytest

from openpaisdk.cli import options
from openpaisdk.cli.parser import Parser
from openpaisdk.errors import UsageError


@pytest.fixture
def parser():
    parser = Parser("opai job demo", examples=("opai job demo x",))
    parser.option("-j", "--job-name", metavar="NAME")
    parser.option("--gpu", read=options.whole_number(0))
    parser.option("-p", "--package", action="extend", read=options.comma_list)
    parser.option("--wait", action="set")
    parser.option("--follow", action="set")
    parser.exclusive("--wait", "--follow")
    options.add_common(parser)
    return parser


def read_fast(parser, *words):
    parser.command_line()
    return parser.read(list(words))


def test_every_word_from_the_first_of_the_command_belongs_to_it(parser):
    args = read_fast(parser, "-j", "x", "--wait", "python", "train.py", "-j", "y", "--", "-o", "json")
    assert (args.job_name, args.wait, args.format) == ("x", True, None)
    assert args.command == ["python", "train.py", "-j", "y", "--", "-o", "json"]


def test_two_dashes_begin_a_command_that_looks_like_an_option(parser):
    assert read_fast(parser, "-q", "--", "--version", "-q").command == ["--version", "-q"]


def test_a_command_may_be_missing_for_the_command_to_complain(parser):
    assert read_fast(parser, "--wait").command == []


def test_words_and_options_may_be_mixed(parser):
    parser.word("names", "NAME", count="+")
    args = parser.read(["a", "-o", "json", "b", "--gpu=2", "c"])
    assert (args.names, args.format, args.gpu) == (["a", "b", "c"], "json", 2)


def test_after_two_dashes_a_word_may_begin_with_a_dash(parser):
    parser.word("names", "NAME", count="+")
    assert parser.read(["a", "--", "-b", "--gpu"]).names == ["a", "-b", "--gpu"]


def test_a_single_dash_is_a_word(parser):
    parser.word("file", "FILE")
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
        (["-z"], "unknown option '-z'", "opai job demo -h"),
        (["-j"], "option -j wants a value", "opai job demo -h"),
        (["-j", "--wait"], "option -j wants a value", "opai job demo -h"),
        (["--wait=1"], "option --wait takes no value, got '1'", "opai job demo -h"),
        (["--gpu", "two"], "--gpu: expected a whole number, at least 0; got 'two'", "opai job demo -h"),
        (["--gpu", "-1"], "--gpu: expected a whole number, at least 0; got '-1'", "opai job demo -h"),
        (["-o", "xml"], "--format: expected one of table, json, yaml; got 'xml'", "opai job demo -h"),
        (["--wait", "--follow"], "--wait and --follow exclude each other", "opai job demo -h"),
        (["word"], "unexpected word 'word'", "opai job demo -h"),
        (["--job"], "unknown option '--job'", "opai job demo -h"),
    ],
)
def test_what_makes_no_sense_is_a_usage_error(parser, words, message, hint):
    with pytest.raises(UsageError, match=r"(?s).*") as caught:
        parser.read(words)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_missing_word_is_named(parser):
    parser.word("job_name", "<job-name>")
    with pytest.raises(UsageError, match="missing <job-name>"):
        parser.read([])


def test_help_wins_over_errors(parser):
    parser.word("job_name", "<job-name>")
    assert parser.read(["-h"]).help


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
    with pytest.raises(UsageError):
        read(text)
