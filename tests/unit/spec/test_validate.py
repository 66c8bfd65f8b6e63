# SPDX-License-Identifier: MIT
"""Problems of documents: where, what, and the next step."""

from __future__ import annotations

import copy
import json
import random
from pathlib import Path

import jsonschema
import pytest

from openpaisdk.errors import SpecError
from openpaisdk.spec._structure import load_schema, structural_faults
from openpaisdk.spec.validate import (
    check_document,
    has_errors,
    server_error,
    validate_document,
    validate_text,
)
from openpaisdk.spec.wire import dump_wire
from openpaisdk.spec.yaml12 import YamlError, dump_yaml, load_yaml

CORPUS = Path(__file__).parents[4] / "shared" / "corpus" / "protocol"
OWN_DOCUMENTS = Path(__file__).parents[2] / "fixtures" / "protocol" / "documents.json"


def _found(document):
    return [(p["path"], p["severity"], p["message"], p["hint"]) for p in validate_document(document)]


def test_a_good_document_has_no_problem(minimal):
    assert validate_document(minimal) == []
    assert check_document(minimal) is minimal
    assert check_document(dump_wire(minimal)) == check_document(dump_yaml(minimal).encode()) == minimal


def test_all_problems_are_told_with_their_places(minimal):
    minimal["taskRoles"]["worker"]["resourcePerInstance"]["gpu"] = "two"
    minimal["jobRetrycount"] = 1
    del minimal["name"]
    text = dump_yaml(minimal)
    _, problems = validate_text(text, file="job.yaml")
    assert [(p["path"], p["line"], p["column"]) for p in problems] == [
        ("jobRetrycount", 17, 1),
        ("name", 1, 1),
        ("taskRoles.worker.resourcePerInstance.gpu", 14, 12),
    ]
    assert problems[0]["hint"] == "did you mean 'jobRetryCount'?"
    assert problems[2]["message"] == "expected an integer; got 'two'"
    assert {p["file"] for p in problems} == {"job.yaml"}
    assert {p["severity"] for p in problems} == {"error"}
    assert [p["keyword"] for p in problems] == ["additionalProperties", "required", "type"]


def test_a_refused_document_raises_with_every_problem(minimal):
    minimal["taskRoles"]["worker"]["dockerImage"] = "imgs"
    minimal["defaults"] = {"deployment": "prod"}
    with pytest.raises(SpecError) as caught:
        check_document(minimal, file="job.yaml")
    assert [problem["path"] for problem in caught.value.problems] == [
        "taskRoles.worker.dockerImage",
        "defaults.deployment",
    ]
    assert "'job.yaml' has 2 problems" in caught.value.message
    assert caught.value.problems[0]["hint"] == "did you mean 'img'?"


@pytest.mark.parametrize("text", ["a: [", "", "- 1", "name: x"])
def test_text_that_is_no_document_raises(text):
    with pytest.raises(SpecError):
        check_document(text)


def test_of_a_prerequisite_only_the_shape_meant_is_told(minimal):
    minimal["prerequisites"] += [
        {"type": "dockerimage", "name": "b", "plugin": "x", "uri": 5},
        {"type": "dockerimag", "name": "c"},
        {"name": "d"},
        "e",
    ]
    assert [(path, message) for path, _, message, _ in _found(minimal)] == [
        ("prerequisites[1].plugin", "unknown key 'plugin'"),
        ("prerequisites[1].uri", "expected text; got 5"),
        ("prerequisites[2].type", "expected one of script, output, data, dockerimage; got 'dockerimag'"),
        ("prerequisites[3].type", "is missing; expected one of script, output, data, dockerimage"),
        ("prerequisites[4]", "expected a mapping; got 'e'"),
    ]


def test_nothing_secret_stands_in_a_problem(minimal):
    minimal["secrets"] = "hunter2"
    minimal["prerequisites"][0]["auth"] = "hunter2"
    minimal["prerequisites"].append(
        {"type": "dockerimage", "name": "b", "uri": "u", "auth": {"password": ["hunter2"]}}
    )
    minimal["prerequisites"].append(
        {"type": "dockerimage", "name": "c", "uri": "u", "auth": {"username": 771}}
    )
    problems = validate_document(minimal)
    assert len(problems) >= 4
    assert "hunter2" not in json.dumps(problems)
    assert "771" not in json.dumps(problems)
    assert "hunter2" not in server_error(problems, minimal)["message"]


@pytest.mark.parametrize(
    ("change", "path", "part"),
    [
        (
            lambda d: d["taskRoles"].update(ps_server=d["taskRoles"]["worker"]),
            "taskRoles.ps_server",
            "'psserver'",
        ),
        (lambda d: d["taskRoles"].update(_=d["taskRoles"]["worker"]), "taskRoles._", "would fail"),
        (lambda d: d["taskRoles"].update(Worker=d["taskRoles"]["worker"]), "taskRoles.Worker", "same name"),
        (
            lambda d: d["taskRoles"].update({"w" * 64: d["taskRoles"]["worker"]}),
            "taskRoles." + "w" * 64,
            "would fail",
        ),
        (lambda d: d["taskRoles"]["worker"].pop("instances"), "taskRoles.worker.instances", "missing"),
        (lambda d: d["taskRoles"]["worker"].update(instances=10001), "taskRoles.worker.instances", "10000"),
        (
            lambda d: d["taskRoles"]["worker"].update(completion={"minFailedInstances": -5}),
            "taskRoles.worker.completion.minFailedInstances",
            "below -1",
        ),
        (
            lambda d: d["taskRoles"]["worker"]["resourcePerInstance"].update(cpu=0),
            "taskRoles.worker.resourcePerInstance.cpu",
            "a number from 1 on",
        ),
        (
            lambda d: d["taskRoles"]["worker"]["resourcePerInstance"].update(gpu=-1),
            "taskRoles.worker.resourcePerInstance.gpu",
            "a number from 0 on",
        ),
        (
            lambda d: d["taskRoles"]["worker"]["resourcePerInstance"].update(ports=None),
            "taskRoles.worker.resourcePerInstance.ports",
            "no effect",
        ),
        (
            lambda d: d["taskRoles"]["worker"].update(commands=["<% $parameters.lr %>"]),
            "taskRoles.worker.commands",
            "names nothing and stays",
        ),
        (
            lambda d: (
                d["taskRoles"]["worker"].update(commands=["<% $secrets.a %>"]),
                d.update(secrets={"a": "x&y"}),
            ),
            "taskRoles.worker.commands",
            "which clusters change",
        ),
        (
            lambda d: (
                d["taskRoles"]["worker"].update(commands=["<% $secrets.b %>"]),
                d.update(secrets={"a": "x"}),
            ),
            "taskRoles.worker.commands",
            "names no secret",
        ),
        (
            lambda d: d.update(extras={"hivedScheduler": {"jobPriorityClass": "crit"}}),
            "extras.hivedScheduler.jobPriorityClass",
            "'crit' is refused",
        ),
        (
            lambda d: d.update(extras={"gangAllocation": "no"}),
            "extras.gangAllocation",
            "only the boolean false",
        ),
        (
            lambda d: d.update(deployments=[{"name": "d", "taskRoles": {"worker": {}}}]),
            "deployments",
            "none is selected",
        ),
    ],
)
def test_what_is_accepted_but_will_not_do_is_a_warning(minimal, change, path, part):
    change(minimal)
    problems = validate_document(minimal)
    assert not has_errors(problems)
    assert [p["path"] for p in problems if part in p["message"]] == [path]


def test_a_list_of_plugins_is_wanted_unless_storages_are_given(minimal):
    minimal["extras"] = {"com.microsoft.pai.runtimeplugin": {}}
    problems = validate_document(minimal)
    assert has_errors(problems)
    assert "is not iterable" in server_error(problems, minimal)["message"]
    minimal["extras"]["storages"] = []
    assert not has_errors(validate_document(minimal))


@pytest.mark.parametrize(
    ("line", "warned"), [("secrets: {a: b}", 0), ("'secrets': {a: b}", 1), ("secrets : {a: b}", 1)]
)
def test_secrets_that_a_server_would_not_mask_are_a_warning(minimal, line, warned):
    _, problems = validate_text(dump_yaml(minimal) + line + "\n")
    assert len([p for p in problems if p["path"] == "secrets"]) == warned
    assert not has_errors(problems)


def test_server_errors_are_those_of_its_validator(minimal):
    minimal["type"] = "jobs"
    minimal["taskRoles"]["worker"]["x y"] = 1
    assert json.loads(server_error(validate_document(minimal), minimal)["message"]) == [
        {
            "keyword": "enum",
            "dataPath": ".type",
            "schemaPath": "#/properties/type/enum",
            "params": {"allowedValues": ["job"]},
            "message": "should be equal to one of the allowed values",
        },
        {
            "keyword": "additionalProperties",
            "dataPath": ".taskRoles['worker']",
            "schemaPath": "#/properties/taskRoles/patternProperties/"
            "%5E%5Ba-zA-Z_%5D%5Ba-zA-Z0-9_%5D*%24/additionalProperties",
            "params": {"additionalProperty": "x y"},
            "message": "should NOT have additional properties",
        },
    ]


VALUES = [
    None,
    True,
    0,
    1,
    -1,
    2.0,
    1.5,
    "x",
    "2",
    "",
    [],
    {},
    ["a"],
    [1],
    {"a": 1},
    {"x-y": 2},
    "dockerimage",
    "a\n",
]
KEYS = [
    "name",
    "type",
    "uri",
    "auth",
    "instances",
    "commands",
    "foo",
    "5",
    "completion",
    "ports",
    "deployments",
]


def _mutated(document, rnd):
    document = copy.deepcopy(document)
    for _ in range(rnd.randint(1, 3)):
        node = document
        while isinstance(node, (dict, list)) and node:
            key = rnd.choice(list(node) if isinstance(node, dict) else range(len(node)))
            if rnd.random() < 0.4:
                node[key] = copy.deepcopy(rnd.choice(VALUES))
                break
            if rnd.random() < 0.2 and isinstance(node, dict):
                del node[key]
                node[rnd.choice(KEYS)] = copy.deepcopy(rnd.choice(VALUES))
                break
            node = node[key]
    return document


def _library_validator():
    # a dollar of Python's expressions matches before a final line break, one of JavaScript's does not
    schema = json.loads(json.dumps(load_schema()).replace('$"', '(?!\\\\n)$"'))
    jsonschema.Draft7Validator.check_schema(schema)
    return jsonschema.Draft7Validator(schema)


def test_the_published_schema_and_the_own_check_agree(minimal):
    validator = _library_validator()
    minimal["deployments"] = [{"name": "d", "taskRoles": {"worker": {"preCommands": ["a"]}}}]
    minimal["prerequisites"] += [{"type": "data", "name": "d", "uri": ["u"]}, {"type": "script", "name": "s"}]
    minimal["taskRoles"]["worker"]["completion"] = {"minFailedInstances": None}
    rnd = random.Random(1)
    verdicts = set()
    for _ in range(1500):
        document = _mutated(minimal, rnd)
        accepted = not structural_faults(document)
        assert accepted == validator.is_valid(document), document
        verdicts.add(accepted)
    assert verdicts == {True, False}


def test_the_published_schema_and_the_own_check_agree_on_all_known_documents():
    validator = _library_validator()
    texts = [path.read_text(encoding="utf-8") for path in sorted(CORPUS.glob("*.yaml"))]
    texts += [case["text"] for case in json.loads(OWN_DOCUMENTS.read_text(encoding="utf-8"))]
    rnd = random.Random(2)
    verdicts = set()
    for text in texts:
        try:
            document, _ = load_yaml(text)
            json.dumps(document, allow_nan=False)
        except (YamlError, TypeError, ValueError):
            continue  # no YAML, or with moments and infinities, of which JSON schema knows nothing
        for candidate in (document, *(_mutated(document, rnd) for _ in range(10))):
            accepted = not structural_faults(candidate)
            assert accepted == validator.is_valid(candidate), candidate
            verdicts.add(accepted)
    assert verdicts == {True, False}


def test_an_infinite_number_counts_as_integer_as_it_does_on_the_server(minimal):
    minimal["jobRetryCount"] = float("inf")
    assert not has_errors(validate_document(minimal))


@pytest.mark.parametrize("huge", [float("inf"), 10**400])
def test_numbers_beyond_any_cluster_are_a_warning(minimal, huge):
    minimal["taskRoles"]["worker"]["resourcePerInstance"]["memoryMB"] = huge
    problems = validate_document(minimal)
    assert [p["path"] for p in problems] == ["taskRoles.worker.resourcePerInstance.memoryMB"]
    assert not has_errors(problems)


def test_the_wire_form_is_judged_like_any_other_text(minimal):
    minimal["secrets"] = {"a": "b"}
    assert validate_text(dump_wire(minimal)) == (minimal, [])
    assert [p["path"] for p in validate_text(json.dumps(minimal))[1]] == ["secrets"]
    del minimal["taskRoles"]["worker"]["instances"]
    _, problems = validate_text(dump_wire(minimal))
    assert [(p["path"], p["line"]) for p in problems] == [("taskRoles.worker.instances", 6)]


def test_a_misspelt_reference_is_told_beside_structural_faults():
    document = {
        "protocolVersion": 2,
        "name": "my.job",
        "type": "job",
        "prerequisites": [
            {"type": "dockerimage", "name": "tf_gpu", "uri": "x"},
            {"type": "dockerimage", "name": "broken"},
        ],
        "taskRoles": {
            "a": {"dockerImage": "tf-gpu", "resourcePerInstance": {"cpu": 1, "memoryMB": 1}},
            "b": {
                "dockerImage": "broken",
                "resourcePerInstance": {"cpu": 1, "memoryMB": 1, "gpu": 0},
                "commands": ["<% oops"],
            },
        },
    }
    told = {problem["path"]: problem for problem in validate_document(document)}
    assert told["taskRoles.a.dockerImage"]["hint"] == "did you mean 'tf_gpu'?"
    assert "taskRoles.b.dockerImage" not in told, "what it names is there, and has a fault of its own"
    assert {"name", "prerequisites[1].uri", "taskRoles.a.commands", "taskRoles.b.commands"} <= set(told)


@pytest.mark.parametrize(
    "change",
    [
        {"taskRoles": {}},
        {"taskRoles": None},
        {"taskRoles": {"1a": {"dockerImage": [1]}}},
        {"prerequisites": 5},
        {"prerequisites": [None, {"name": []}]},
        {"deployments": [{"taskRoles": 3}, None], "defaults": {"deployment": []}},
        {"extras": []},
    ],
)
def test_odd_documents_have_problems_and_no_more(change):
    document = {"protocolVersion": 2, "name": "j", "type": "job", "taskRoles": {"a": None}, **change}
    assert has_errors(validate_document(document))
