# SPDX-License-Identifier: MIT
"""Transfers to and from real Hadoop on loopback, beside curl, hdfscli, the ``hdfs`` package and fsspec.

Each figure is a whole process. ``BENCH_BYTES`` and ``BENCH_FILES`` make it smaller than 1 GiB, 5,000 files.
"""

from __future__ import annotations

import math
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from tests.benchmarks.timing import Row
from tests.hadoop.cluster import Hadoop

BYTES = int(os.environ.get("BENCH_BYTES", "1073741824"))
FILES = int(os.environ.get("BENCH_FILES", "5000"))
FILE_BYTES = 4096
RUNS = 3
TOO_SLOW = 5
ROOT = str(Path(__file__).parents[2])
HDFSCLI = str(Path(sys.executable).with_name("hdfscli"))
FOLDER = "/user/bench"

OURS = """
import sys
from openpaisdk.storage.hdfs.storage import HdfsStorage
uri, verb, source, target, verify, archive = sys.argv[1:]
getattr(HdfsStorage(uri, user="bench"), verb)(source, target, verify=verify == "1", archive=archive == "1")
print(next(line for line in open("/proc/self/status") if line.startswith("VmHWM")).split()[1])
"""
HDFS_PACKAGE = """
import sys
from hdfs import InsecureClient
uri, verb, source, target, threads = sys.argv[1:]
client = InsecureClient(uri, user="bench")
if verb == "upload":
    client.upload(target, source, n_threads=int(threads))
else:
    client.download(source, target, n_threads=int(threads))
"""
FSSPEC = """
import sys
import fsspec
host, port, verb, source, target = sys.argv[1:]
files = fsspec.filesystem("webhdfs", host=host, port=int(port), user="bench")
(files.put if verb == "upload" else files.get)(source, target)
"""


class Bench:
    """One cluster, the local files, and the ways to move them."""

    def __init__(self, hadoop: Hadoop, folder: Path) -> None:
        self.hadoop = hadoop
        self.folder = folder
        self.large = folder / "large.bin"
        self.small = folder / "small"
        self.back = folder / "back"
        self.peak_kib = 0
        fill(self.large, BYTES)
        self.small.mkdir()
        for number in range(FILES):
            (self.small / f"{number:05d}").write_bytes(os.urandom(FILE_BYTES))
        hadoop.make_folder(FOLDER, owner="bench")

    def clean(self) -> None:
        """Remove what the last run has left."""
        self.hadoop.call("DELETE", "DELETE", f"{FOLDER}/new", recursive="true")
        if self.back.is_dir():
            shutil.rmtree(self.back)
        self.back.unlink(missing_ok=True)

    def time(self, command: list[str], limit_s: float = math.inf) -> float:
        """Run a command and return its seconds; infinitely many when a peer fails or is too slow."""
        self.clean()
        begin = time.perf_counter()
        try:
            done = subprocess.run(
                command,
                env={**os.environ, "PYTHONPATH": ROOT},
                stdout=subprocess.PIPE,
                stderr=None if OURS in command else subprocess.DEVNULL,
                text=True,
                check=OURS in command,
                timeout=None if math.isinf(limit_s) else limit_s,
            )
        except subprocess.TimeoutExpired:
            return math.inf
        seconds = time.perf_counter() - begin if done.returncode == 0 else math.inf
        self.peak_kib = int(done.stdout or 0) if OURS in command else 0
        return seconds

    def ours(
        self, verb: str, source: object, target: object, *, verify: bool, archive: bool = False
    ) -> float:
        flags = [str(int(verify)), str(int(archive))]
        return self.time(
            [sys.executable, "-c", OURS, self.hadoop.uri, verb, str(source), str(target), *flags]
        )

    def package(
        self, verb: str, source: object, target: object, threads: int = 1, limit_s: float = math.inf
    ) -> float:
        words = [self.hadoop.uri, verb, str(source), str(target), str(threads)]
        return self.time([sys.executable, "-c", HDFS_PACKAGE, *words], limit_s)

    def best_package(self, verb: str, source: object, target: object) -> float:
        """Return the seconds with the number of threads that suits this machine best."""
        best = math.inf
        for threads in (16, 4, 1):
            best = min(best, self.package(verb, source, target, threads, limit_s=best))
        return best

    def fsspec(self, verb: str, source: object, target: object) -> float:
        host, _, port = self.hadoop.uri.rpartition("/")[2].partition(":")
        return self.time([sys.executable, "-c", FSSPEC, host, port, verb, str(source), str(target)])

    def hdfscli(self, verb: str, source: object, target: object) -> float:
        configuration = self.folder / "hdfscli.cfg"
        configuration.write_text(
            f"[global]\ndefault.alias = b\n[b.alias]\nurl = {self.hadoop.uri}\nuser = bench\n"
        )
        os.environ["HDFSCLI_CONFIG"] = str(configuration)
        return self.time([HDFSCLI, verb, "--silent", str(source), str(target)])

    def curl_up(self) -> float:
        """Send the large file by curl in the two steps of a PUT."""
        url = f"{self.hadoop.uri}/webhdfs/v1{FOLDER}/new?op=CREATE&user.name=bench"
        ask = f"curl -s -o /dev/null -w '%{{redirect_url}}' -X PUT '{url}'"
        return self.time(["sh", "-c", f'exec curl -s -o /dev/null -T "{self.large}" "$({ask})"'])

    def curl_down(self) -> float:
        url = f"{self.hadoop.uri}/webhdfs/v1{FOLDER}/large?op=OPEN&user.name=bench"
        return self.time(["curl", "-s", "-L", "-o", str(self.back), url])


def measure_storage() -> Iterator[Row]:
    """Give the rows of the table of step 3."""
    place = "/dev/shm" if os.path.isdir("/dev/shm") else None
    with tempfile.TemporaryDirectory(prefix="openpai-bench-", dir=place) as name:
        folder = Path(name)
        with Hadoop(folder / "hadoop", data_nodes=1, heap_mb=512, quick=False) as hadoop:
            bench = Bench(hadoop, folder)
            yield from _large_up(bench)
            yield from _large_down(bench)
            yield from _small_up(bench)
            yield from _small_down(bench)


def _large_up(bench: Bench) -> Iterator[Row]:
    new, size = f"{FOLDER}/new", f"{BYTES / (1 << 30):g} GiB"
    ways: dict[str, Callable[[], float]] = {
        "curl": bench.curl_up,
        "unverified": lambda: bench.ours("upload", bench.large, new, verify=False),
        "verified": lambda: bench.ours("upload", bench.large, new, verify=True),
        "hdfscli": lambda: bench.hdfscli("upload", bench.large, new),
        "hdfs package": lambda: bench.package("upload", bench.large, new),
        "fsspec": lambda: bench.fsspec("upload", bench.large, new),
    }
    seconds, peak = _in_turn(bench, ways, "verified")
    curl = seconds["curl"]
    yield f"{size} up, unverified", _ratio(seconds["unverified"], curl, "curl"), "<= 1.05 x", "<= 0.95 x"
    yield f"{size} up, verified", _ratio(seconds["verified"], curl, "curl"), "<= 1.3 x", "<= 1.05 x"
    yield f"  peers, {size} up", _others(seconds, "hdfscli", "hdfs package", "fsspec"), "", ""
    yield f"peak memory of {size} up", f"{peak / 1024:.0f} MiB", "<= 60 MB", "<= 35 MB"


def _large_down(bench: Bench) -> Iterator[Row]:
    large, size = f"{FOLDER}/large", f"{BYTES / (1 << 30):g} GiB"
    bench.ours("upload", bench.large, large, verify=False)
    ways: dict[str, Callable[[], float]] = {
        "curl": bench.curl_down,
        "unverified": lambda: bench.ours("download", large, bench.back, verify=False),
        "verified": lambda: bench.ours("download", large, bench.back, verify=True),
        "hdfscli": lambda: bench.hdfscli("download", large, bench.back),
        "hdfs package": lambda: bench.package("download", large, bench.back),
        "fsspec": lambda: bench.fsspec("download", large, bench.back),
    }
    seconds, peak = _in_turn(bench, ways, "verified")
    for which in ("unverified", "verified"):
        measured = _ratio(seconds[which], seconds["curl"], "curl")
        yield f"{size} down to a new file, {which}", measured, "<= 1.0 x", "<= 0.75 x"
    yield f"  peers, {size} down", _others(seconds, "hdfscli", "hdfs package", "fsspec"), "", ""
    yield f"peak memory of {size} down", f"{peak / 1024:.0f} MiB", "<= 60 MB", "<= 35 MB"


def _small_up(bench: Bench) -> Iterator[Row]:
    new, label = f"{FOLDER}/new", f"{FILES:,} files of 4 KiB up"
    package = bench.best_package("upload", bench.small, new)
    archive = bench.ours("upload", bench.small, f"{new}/a.tar", verify=True, archive=True)
    ours = bench.ours("upload", bench.small, new, verify=True)
    yield f"{label}, verified", _ratio(ours, package, "hdfs package"), "<= 0.35 x", "<= 0.15 x"
    yield f"{label}, --archive", _ratio(archive, package, "hdfs package"), "<= 0.15 x", "<= 0.08 x"


def _small_down(bench: Bench) -> Iterator[Row]:
    """Measure what ``_small_up`` has stored last."""
    kept, packed, label = f"{FOLDER}/kept", f"{FOLDER}/kept.tar", f"{FILES:,} files of 4 KiB down"
    bench.hadoop.call("PUT", "RENAME", f"{FOLDER}/new", destination=kept)
    bench.ours("upload", bench.small, packed, verify=False, archive=True)
    package = bench.best_package("download", kept, bench.back)
    for verify in (False, True):
        ours = statistics.median(bench.ours("download", kept, bench.back, verify=verify) for _ in range(RUNS))
        which = "verified" if verify else "unverified"
        yield f"{label}, {which}", _ratio(ours, package, "hdfs package"), "<= 0.35 x", "<= 0.15 x"
    archive = bench.ours("download", packed, bench.back, verify=True, archive=True)
    yield f"{label}, --archive", _ratio(archive, package, "hdfs package"), "<= 0.15 x", "<= 0.08 x"


def _in_turn(
    bench: Bench, ways: dict[str, Callable[[], float]], watched: str
) -> tuple[dict[str, float], int]:
    """Return the median seconds of each way, all run in turn, and the peak memory of one of them."""
    seconds: dict[str, list[float]] = {name: [] for name in ways}
    peak = 0
    for _ in range(RUNS):
        for name, way in ways.items():
            if seconds[name] and seconds[name][0] > TOO_SLOW * seconds["curl"][0]:
                continue  # once is enough to tell
            seconds[name].append(way())
            peak = max(peak, bench.peak_kib) if name == watched else peak
    return {name: statistics.median(found) for name, found in seconds.items()}, peak


def _ratio(seconds: float, other: float, name: str) -> str:
    return f"{seconds / other:.2f} x {name} ({seconds:.2f} s)"


def _others(seconds: dict[str, float], *names: str) -> str:
    shown = {name: f"{seconds[name] / seconds['curl']:.2f} x curl" for name in names}
    return ", ".join(f"{name} {'fails' if math.isinf(seconds[name]) else shown[name]}" for name in names)


def fill(path: Path, size: int) -> None:
    piece = os.urandom(1 << 20)
    with path.open("wb") as file:
        while size > 0:
            file.write(os.urandom(16) + piece[16:size])
            size -= len(piece)
