# SPDX-License-Identifier: MIT
"""Documents to begin with."""

from __future__ import annotations

import pytest


@pytest.fixture
def minimal():
    return {
        "protocolVersion": 2,
        "name": "hello",
        "type": "job",
        "prerequisites": [{"type": "dockerimage", "name": "img", "uri": "ubuntu:18.04"}],
        "taskRoles": {
            "worker": {
                "instances": 1,
                "dockerImage": "img",
                "resourcePerInstance": {"cpu": 1, "memoryMB": 1024, "gpu": 0},
                "commands": ["echo hi"],
            }
        },
    }
