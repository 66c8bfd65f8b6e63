# SPDX-License-Identifier: MIT
"""Verdict, error and entrypoints of whole documents, against what a real server says to them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openpaisdk.spec.codec import job_spec_from_document
from openpaisdk.spec.validate import has_errors, server_error, validate_text

FIXTURES = Path(__file__).parents[2] / "fixtures" / "protocol"
CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "protocol"
OWN = json.loads((FIXTURES / "documents.json").read_text(encoding="utf-8"))
REFUSED_BY_US = {"090-docker-image-prototype-name-accepted.yaml", "131-render-prototype-property.yaml"}
"""Names that JavaScript's objects inherit: on the server they exist, here they do not (protocol-v2 §4)."""


def _corpus_cases():
    expected = CORPUS / "expected.json"
    if not expected.exists():
        return []
    cases = json.loads(expected.read_text(encoding="utf-8"))
    return sorted(item for item in cases.items() if item[0] not in REFUSED_BY_US)


def _assert_verdict(text, expected):
    document, problems = validate_text(text)
    if expected["ok"]:
        assert [problem for problem in problems if problem["severity"] == "error"] == []
        spec = job_spec_from_document(document)
        assert {role.name: role.entrypoint for role in spec.task_roles} == expected["entrypoints"]
        return
    assert has_errors(problems)
    error = server_error(problems, document)
    assert (error["status"], error["code"]) == (400, "InvalidProtocolError")
    assert expected["error_contains"] in error["message"]


@pytest.mark.parametrize("case", [pytest.param(case, id=case["name"].replace(" ", "-")) for case in OWN])
def test_a_document_is_judged_as_the_server_judges_it(case):
    _assert_verdict(case["text"], case)
    _assert_verdict(case["text"].encode(), case)


@pytest.mark.parametrize(("file", "expected"), [pytest.param(*case, id=case[0]) for case in _corpus_cases()])
def test_a_document_of_the_corpus_is_judged_as_the_server_judges_it(file, expected):
    _assert_verdict((CORPUS / file).read_bytes(), expected)


def test_names_that_every_javascript_object_has_do_not_exist():
    text = OWN[0]["text"]
    _assert_verdict(
        text.replace("dockerImage: img", "dockerImage: constructor"),
        {"ok": False, "error_contains": "Prerequisite constructor does not exist."},
    )
    command = "echo <% $parameters.a.toString %>"
    _assert_verdict(
        text.replace("[echo hi]", f"['{command}']") + "parameters: {a: {}}\n",
        {"ok": True, "entrypoints": {"worker": command}},
    )
