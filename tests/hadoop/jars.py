# SPDX-License-Identifier: MIT
"""Hadoop's jars, fetched once by Maven into a folder outside of the checkout."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import tempfile
from pathlib import Path

POM = Path(__file__).parent / "pom.xml"
FETCH_TIMEOUT_S = 600


class HadoopMissingError(Exception):
    """Hadoop cannot run here; the text says what is missing."""


def cache_folder() -> Path:
    """Return where test parts that are fetched are kept: ``$OPENPAI_TEST_CACHE``, or below ``~/.cache``."""
    named = os.environ.get("OPENPAI_TEST_CACHE")
    return Path(named) if named else Path.home() / ".cache" / "openpaisdk-tests"


def fetch_jars() -> Path:
    """Return the folder with the jars of ``pom.xml``; the first call fetches them.

    The folder is named by the pom's content and comes into place whole; of two callers one fetches and the
    other waits.

    Raises:
        HadoopMissingError: There is no Java or Maven, or Maven fails.
    """
    for program, package in (("java", "default-jre-headless"), ("mvn", "maven")):
        if shutil.which(program) is None:
            raise HadoopMissingError(f"there is no {program!r} (Debian package {package})")
    cache = cache_folder()
    cache.mkdir(parents=True, exist_ok=True)
    jars = cache / f"hadoop-{hashlib.sha256(POM.read_bytes()).hexdigest()[:12]}"
    with open(cache / "hadoop.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not jars.is_dir():
            _fetch(jars)
    return jars


def _fetch(jars: Path) -> None:
    with tempfile.TemporaryDirectory(dir=jars.parent, prefix="fetching-") as aside:
        command = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies"]
        options = [f"-DoutputDirectory={aside}/lib", "-DincludeScope=runtime"]
        try:
            done = subprocess.run(
                [*command, *options],
                check=False,
                cwd=aside,
                capture_output=True,
                text=True,
                timeout=FETCH_TIMEOUT_S,
            )
        except subprocess.TimeoutExpired as exc:
            raise HadoopMissingError(f"Maven did not fetch the jars in {FETCH_TIMEOUT_S} s") from exc
        if done.returncode:
            raise HadoopMissingError(f"Maven cannot fetch the jars: {(done.stdout + done.stderr)[-1000:]}")
        os.rename(f"{aside}/lib", jars)
