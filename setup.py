# SPDX-License-Identifier: MIT
"""Metadata of the distribution; the build system and the tools' settings are in pyproject.toml."""

import re
from pathlib import Path

from setuptools import find_packages, setup

ROOT = Path(__file__).parent
VERSION = re.search(r'^VERSION = "(.+)"$', (ROOT / "openpaisdk" / "constants.py").read_text(), re.M)
assert VERSION is not None

FAST = ["google-crc32c>=1.5", "zstandard>=0.20"]
LOCAL = ["starlette>=0.40", "uvicorn>=0.30", "httptools>=0.6"]

setup(
    name="openpaisdk",
    version=VERSION.group(1),
    description="Python SDK and command line for OpenPAI, with a cluster of its own for your laptop",
    long_description=(ROOT / "README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="MIT",
    python_requires=">=3.10",
    packages=find_packages(include=["openpaisdk", "openpaisdk.*"]),
    include_package_data=True,
    package_data={
        "openpaisdk": ["py.typed"],
        "openpaisdk.spec": ["schemas/*.json"],
        "openpaisdk.runtime": ["*.sh"],
    },
    install_requires=["requests>=2.28", "hdfs>=2.7", "pyyaml>=6.0", "pathspec>=0.12"],
    extras_require={
        "local": LOCAL,
        # CRC32C and zstd in C: checksums of transfers without reading back, compressed archives
        "fast": FAST,
        # Not among the packages of the tests: it is compiled, against libkrb5 (make .venv/.kerberos).
        "kerberos": ["hdfs[kerberos]>=2.7"],
        "fsspec": ["fsspec>=2023.1"],
        "s3": ["fsspec>=2023.1", "s3fs>=2023.1"],
        "oss": ["fsspec>=2023.1", "ossfs>=2023.1"],
        "abfs": ["fsspec>=2023.1", "adlfs>=2023.1"],
        "gs": ["fsspec>=2023.1", "gcsfs>=2023.1"],
        "sftp": ["fsspec>=2023.1", "paramiko>=3"],
        "test": [
            *LOCAL,
            *FAST,
            "jsonschema>=4.17",
            "pytest>=8",
            "build",
            "fsspec",
            "schemathesis>=4",
        ],
        # Servers that speak to the extras above as the real ones do (make .venv/.stores).
        "stores": ["moto[server]>=5", "gcp-storage-emulator"],
        "dev": [
            "ruff==0.17.5",
            "mypy==2.4.1",
            "codespell==2.4.3",
            "types-requests",
            "types-PyYAML",
            "types-jsonschema",
        ],
    },
    entry_points={"console_scripts": ["opai=openpaisdk.cli.main:main"]},
    classifiers=[
        "Programming Language :: Python :: 3 :: Only",
        "Typing :: Typed",
    ],
)
