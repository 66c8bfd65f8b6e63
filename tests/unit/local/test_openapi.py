# SPDX-License-Identifier: MIT
"""The API's description of itself: it says of every route what it is, and of nothing else."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from jsonschema import Draft202012Validator

from openpaisdk.local.access.users import AccountStore
from openpaisdk.local.api import bodies
from openpaisdk.local.api.openapi import OPERATIONS, build_document, operation_key
from openpaisdk.local.api.reply_schemas import SCHEMAS
from openpaisdk.local.api.shapes import Patch, ProblemError, Shape
from openpaisdk.local.app import api_routes
from openpaisdk.local.records import Machine
from openpaisdk.local.services import Services

SHAPES = {name: value for name, value in vars(bodies).items() if isinstance(value, (Shape, Patch))}


@pytest.fixture(scope="module")
def routes(tmp_path_factory):
    accounts = AccountStore(str(tmp_path_factory.mktemp("home") / "accounts.db"))
    machine = Machine(cpu=1, memory_mb=1)
    services = Services(
        home=None, scheduler=SimpleNamespace(), accounts=accounts, machine=machine, owner="me", port=1
    )
    yield api_routes(services)
    accounts.close()


def test_every_route_is_described_and_everything_described_is_a_route(routes):
    keys = [operation_key(route) for route in routes]
    assert sorted(keys) == sorted(set(keys))
    assert set(keys) == set(OPERATIONS)


def test_the_document_names_all_that_it_refers_to(routes):
    document = build_document(routes)
    text = str(document)
    for name, schema in SCHEMAS.items():
        Draft202012Validator.check_schema(schema)
        assert f"#/components/schemas/{name}'" in text, name
    for path, methods in document["paths"].items():
        for operation in methods.values():
            assert operation["summary"].endswith((".", ":")) or operation["summary"], path


@pytest.mark.parametrize("name", SHAPES)
def test_what_a_body_may_be_is_checked_as_it_is_described(name):
    """The checks and the schema of a body come from one declaration: they must agree on what fits."""
    shape = SHAPES[name]
    validator = Draft202012Validator(shape.schema())
    values = {
        "username": "bob",
        "groupname": "g",
        "email": "a@example.com",
        "password": "secret-1",
        "newPassword": "secret-2",
        "oldPassword": "secret-1",
        "description": "d",
        "externalName": "e",
        "extension": {"a": 1},
        "virtualCluster": ["default"],
        "grouplist": ["default"],
        "admin": True,
        "value": "STOP",
        "vcStatus": "stopped",
        "vcCapacity": 1,
        "data": {"any": ["thing"]},
    }
    fields = shape.fields if isinstance(shape, Shape) else None
    whole = {key: values[key] for key in (fields or shape.fields) if key in values}
    fits = whole if fields is not None else {"patch": False, "data": whole}
    if name.startswith("_"):
        return
    shape.read(fits)
    validator.validate(fits)
    for wrong in ({**fits, "surplus!": 1} if fields is None or not shape.open else 5, [], None, "text"):
        with pytest.raises(ProblemError):
            shape.read(wrong)
        assert not validator.is_valid(wrong)
