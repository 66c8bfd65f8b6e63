# SPDX-License-Identifier: MIT
"""References in commands, credentials and secrets."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from openpaisdk.spec import references
from openpaisdk.spec.references import TemplateError, javascript_number

FIXTURES = Path(__file__).parents[2] / "fixtures" / "protocol"
TEMPLATES = json.loads((FIXTURES / "templates.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize(
    ("text", "expected"), TEMPLATES["cases"], ids=[repr(case[0]) for case in TEMPLATES["cases"]]
)
def test_a_template_is_rendered_as_the_server_renders_it(text, expected):
    if "error" in expected:
        with pytest.raises(TemplateError) as caught:
            references.render(text, TEMPLATES["scope"])
        assert caught.value.message == expected["error"]
    else:
        assert references.render(text, TEMPLATES["scope"]) == expected["value"]


@pytest.mark.parametrize(
    ("number", "text"),
    [
        (0, "0"),
        (-0.0, "0"),
        (1.0, "1"),
        (1.5, "1.5"),
        (-1e3, "-1000"),
        (1e-6, "0.000001"),
        (1e-7, "1e-7"),
        (1.25e-9, "1.25e-9"),
        (1e20, "100000000000000000000"),
        (1e21, "1e+21"),
        (1.5e300, "1.5e+300"),
        (12345678901234567890, "12345678901234567000"),
        (2**53 + 1, "9007199254740992"),
        (10**400, "Infinity"),
        (-(10**400), "-Infinity"),
        (float("nan"), "NaN"),
        (5e-324, "5e-324"),
    ],
)
def test_numbers_are_written_as_javascript_does(number, text):
    assert javascript_number(number) == text


@pytest.mark.parametrize(
    ("command", "shown"),
    [
        ("<% $secrets.a %>", "p&amp;ss&lt;w&gt;&quot;&#x27;"),
        ("<%& $secrets.a %>", "p&ss<w>\"'"),
        ("<% $secrets.l.0 %> <% $secrets.l[1] %>", "x True"),
        ("<% $secrets.n %><% $secrets.zz %><% $parameters.zz %>", "None"),
        ("<% $secrets.f %> <% $secrets.o.k %>", "2 v"),
        ("no reference %>", "no reference %>"),
    ],
)
def test_secrets_are_put_in_as_the_container_does(command, shown):
    secrets = {"a": "p&ss<w>\"'", "l": ["x", True], "n": None, "f": 2.0, "o": {"k": "v"}}
    assert references.render_secrets(command, secrets) == shown


def test_without_secrets_nothing_is_put_in():
    assert references.render_secrets("echo <% $parameters.zz %>", {}) == "echo <% $parameters.zz %>"


def test_credentials_are_rendered_and_completed(minimal):
    minimal["prerequisites"][0]["auth"] = {"password": "<% $secrets.p %>", "other": None}
    minimal["secrets"] = {"p": "a&b"}
    assert references.render_auth(minimal, "img") == {
        "username": "",
        "password": "a&b",
        "registryuri": "https://index.docker.io/v1/",
        "other": "",
    }
    assert references.render_auth(minimal, "none") is None


def test_references_are_listed():
    assert references.list_references("<% $a[0].b %> <%! c %> <%# d %><% e %><%/ d %>") == ["$a.0.b"]
