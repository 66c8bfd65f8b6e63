# SPDX-License-Identifier: MIT
"""Transfers to and from real Hadoop while something dies or breaks, at full size: counts, not seconds.

All that goes to and from data nodes passes relays that count it and at whose counts things happen. One large
file is moved by ``opai`` as a user would; ``BENCH_BYTES`` makes it smaller than 1 GiB.
"""

from __future__ import annotations

import contextlib
import filecmp
import json
import os
import random
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from openpaisdk.errors import StorageError
from openpaisdk.storage.hdfs.storage import HdfsStorage
from tests.benchmarks.storage import BYTES, FOLDER, ROOT, fill
from tests.benchmarks.timing import Row
from tests.faults import FaultChooser
from tests.hadoop.cluster import Hadoop
from tests.hadoop.high_availability import PairOfNameNodes
from tests.hadoop.process import Daemon
from tests.hadoop.relayed import Relayed

SEEDS = (1, 2, 3)
FILES = 200
FAULTS = 100
TIMEOUT_S = 900
_NEW = f"{FOLDER}/new"


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What came of one run."""

    is_finished: bool
    is_equal: bool
    blocks_again: float
    """How much was moved more than once, in blocks."""


class Bench:
    """One cluster, a large file, and ``opai`` on its way through relays."""

    def __init__(self, hadoop: Hadoop, folder: Path, large: Path) -> None:
        self.hadoop = hadoop
        self.large = large
        self.back = folder / "back.bin"
        self._home = folder / "home"
        self._home.mkdir(parents=True)
        hadoop.make_folder(FOLDER, owner="bench")
        self.block = HdfsStorage(hadoop.uri, user="bench").block_bytes
        self._put_undisturbed(f"{FOLDER}/undisturbed")
        self.checksum = self.checksum_of(f"{FOLDER}/undisturbed")

    def _put_undisturbed(self, path: str) -> None:
        """Store the large file by the two requests of the protocol."""
        address = f"{self.hadoop.uri}/webhdfs/v1{path}?op=CREATE&user.name=bench"
        first = self.hadoop.session.put(address, allow_redirects=False, timeout=TIMEOUT_S)
        with self.large.open("rb") as file:
            assert self.hadoop.session.put(first.headers["Location"], data=file, timeout=TIMEOUT_S).ok

    def checksum_of(self, path: str) -> object:
        """Return what Hadoop says."""
        return self.hadoop.call("GET", "GETFILECHECKSUM", path)["FileChecksum"]

    def clean(self) -> None:
        """Remove what the last run has left."""
        for info in HdfsStorage(self.hadoop.uri, user="bench").list(FOLDER):
            if info["name"] != "undisturbed":
                self.hadoop.call("DELETE", "DELETE", f"{FOLDER}/{info['name']}", recursive="true")
        for path in self.back.parent.glob("*.bin"):
            path.unlink()

    def start(self, relayed: Relayed, *words: object) -> subprocess.Popen[bytes]:
        """Start ``opai storage``; ``hdfs:`` stands before remote paths."""
        storage = {"uri": relayed.uri, "data_nodes": relayed.data_nodes, "default": True}
        book = {"bench": {"pai_uri": "http://pai.invalid", "user": "bench", "storages": {"main": storage}}}
        path = self._home / "clusters.json"
        path.write_text(json.dumps(book))
        path.chmod(0o600)
        return subprocess.Popen(
            [sys.executable, "-m", "openpaisdk", "storage", *map(str, words), "-a", "bench", "-q"],
            env={**os.environ, "PYTHONPATH": ROOT, "OPENPAI_HOME": str(self._home)},
            stdout=subprocess.DEVNULL,
        )

    def is_stored(self) -> bool:
        """Tell whether Hadoop has for the new file the checksum of an undisturbed one."""
        with contextlib.suppress(AssertionError):
            return self.checksum_of(_NEW) == self.checksum
        return False

    def is_fetched(self) -> bool:
        """Tell whether the local file is the large one."""
        return self.back.exists() and filecmp.cmp(self.back, self.large, shallow=False)

    def outcome(
        self, process: subprocess.Popen[bytes], moved: Callable[[], int], is_equal: Callable[[], bool]
    ) -> Outcome:
        """Wait for a process and look at what it has left and how many bytes it has moved."""
        try:
            is_finished = process.wait(TIMEOUT_S) == 0
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            is_finished = False
        again = max(0, moved() - self.large.stat().st_size)
        return Outcome(is_finished=is_finished, is_equal=is_equal(), blocks_again=again / self.block)


def measure_faults() -> Iterator[Row]:
    """Give the rows about faults of the table of step 3."""
    with tempfile.TemporaryDirectory(prefix="openpai-bench-") as name:
        folder = Path(name)
        large = folder / "large.bin"
        fill(large, BYTES)
        with Hadoop(
            folder / "hadoop", data_nodes=3, heap_mb=512, quick=False, properties={"dfs.replication": 2}
        ) as hadoop:
            bench = Bench(hadoop, folder / "one", large)
            yield _dying_data_node(bench, takes_it=True)
            yield _dying_data_node(bench, takes_it=False)
            yield _killed_upload(bench)
            yield _killed_download(bench)
            bench.clean()
            yield from _random_faults(hadoop, folder)
        shutil.rmtree(folder / "hadoop")
        with PairOfNameNodes(folder / "pair", data_nodes=2, heap_mb=512, quick=False) as pair:
            yield _failover(Bench(pair, folder / "two", large))


def _dying_data_node(bench: Bench, *, takes_it: bool) -> Row:
    """Kill the data node that is being sent to, or one that is not but holds replicas, or waits to answer."""
    outcomes = []
    for chance in map(random.Random, SEEDS):
        bench.clean()
        outcomes.append(_upload_and_kill(bench, chance, takes_it=takes_it))
        for node in bench.hadoop.data_nodes:
            if not node.is_running:
                node.start()
        bench.hadoop.wait_until_ready()
    which = "that takes it" if takes_it else "that does not take it"
    return _row(f"{_SIZE} up, the data node {which} killed at 40 to 60 %", outcomes)


def _upload_and_kill(bench: Bench, chance: random.Random, *, takes_it: bool) -> Outcome:
    nodes = bench.hadoop.data_nodes
    further = 0 if takes_it else chance.choice(range(1, len(nodes)))
    with Relayed(bench.hadoop) as relayed:

        def kill(node: Daemon) -> None:
            relayed.kill(nodes[(nodes.index(node) + further) % len(nodes)])

        relayed.when(int(chance.uniform(0.4, 0.6) * BYTES), kill)
        process = bench.start(relayed, "upload", bench.large, _NEW)
        return bench.outcome(process, lambda: relayed.sent, bench.is_stored)


def _killed_upload(bench: Bench) -> Row:
    return _killed(bench, "up", ("upload", bench.large, _NEW), bench.is_stored)


def _killed_download(bench: Bench) -> Row:
    words = ("download", f"{FOLDER}/undisturbed", bench.back)
    return _killed(bench, "down", words, bench.is_fetched)


def _killed(bench: Bench, label: str, words: Sequence[object], is_equal: Callable[[], bool]) -> Row:
    """Kill ``opai`` near the end, and give the same command again."""
    outcomes = []
    for chance in map(random.Random, SEEDS):
        bench.clean()
        outcomes.append(_kill_and_go_on(bench, label, words, is_equal, chance.uniform(0.85, 0.95)))
    row = _row(f"{_SIZE} {label}, opai killed at 85 to 95 %, the same command again", outcomes)
    return row if label == "up" else (*row[:2], "equal", "")


def _kill_and_go_on(
    bench: Bench, label: str, words: Sequence[object], is_equal: Callable[[], bool], share: float
) -> Outcome:
    with Relayed(bench.hadoop) as relayed:
        started: list[subprocess.Popen[bytes]] = []
        relayed.when(int(share * BYTES), lambda _: started[0].kill())
        started.append(bench.start(relayed, *words))
        assert started[0].wait(TIMEOUT_S) != 0, "it was through before it was killed"

        def moved() -> int:
            return relayed.sent if label == "up" else relayed.received

        return bench.outcome(bench.start(relayed, *words), moved, is_equal)


def _failover(bench: Bench) -> Row:
    pair = bench.hadoop
    assert isinstance(pair, PairOfNameNodes)
    with Relayed(pair) as relayed:
        failing_over = threading.Thread(target=pair.fail_over)
        relayed.when(BYTES // 2, lambda _: failing_over.start())
        process = bench.start(relayed, "upload", bench.large, _NEW)
        process.wait(TIMEOUT_S)
        if failing_over.ident is not None:
            failing_over.join()
        outcome = bench.outcome(process, lambda: relayed.sent, bench.is_stored)
    return _row(f"{_SIZE} up, the name node killed at half, the other takes over", [outcome])


def _row(label: str, outcomes: Sequence[Outcome]) -> Row:
    finished = sum(outcome.is_finished for outcome in outcomes)
    equal = sum(outcome.is_equal for outcome in outcomes)
    again = max(outcome.blocks_again for outcome in outcomes)
    measured = f"{finished} of {len(outcomes)} finish, {again:.2f} blocks again at most, {equal} equal"
    return label, measured, "<= 1 block, equal", ""


# --- random faults -------------------------------------------------------------------------------


def _random_faults(hadoop: Hadoop, folder: Path) -> Iterator[Row]:
    tree = folder / "tree"
    _make_tree(tree)
    direct = HdfsStorage(hadoop.uri, user="bench")
    up, down = Verdicts(), Verdicts()
    for seed in SEEDS:
        remote, back, fetched = f"{FOLDER}/tree-{seed}", folder / f"tree-{seed}", folder / f"stored-{seed}"
        error = _error_under_faults(hadoop, seed, "upload", str(tree), remote)
        if direct.exists(remote):
            direct.download(remote, str(fetched), verify=False)
        up.add(tree, fetched, error)
        if not direct.exists(remote):
            direct.upload(str(tree), remote)
        error = _error_under_faults(hadoop, seed + len(SEEDS), "download", remote, str(back))
        down.add(tree, back, error)
    label = f"{FAULTS} random faults over {FILES} files"
    yield f"{label} up, {len(SEEDS)} times", up.text, "right or reported", ""
    yield f"{label} down, {len(SEEDS)} times", down.text, "right or reported", ""


def _error_under_faults(
    hadoop: Hadoop, seed: int, verb: str, source: str, target: str
) -> StorageError | None:
    """Move a tree while things go wrong, and return what was reported."""
    chooser = FaultChooser(seed, count=FAULTS, rate=0.25, stall_s=4)
    error = None
    with Relayed(hadoop, chooser) as relayed:
        storage = HdfsStorage(relayed.uri, user="bench", timeout=(2, 2), data_nodes=relayed.data_nodes)
        try:
            getattr(storage, verb)(source, target)
        except StorageError as exc:
            error = exc
    assert len(chooser.happened) == FAULTS, f"only {len(chooser.happened)} faults happened"
    return error


class Verdicts:
    """Counts what became of the files."""

    def __init__(self) -> None:
        self._right = self._reported = self._wrong = 0

    def add(self, tree: Path, other: Path, error: StorageError | None) -> None:
        """Compare the files of two folders; what is not there must have been said."""
        for path in (path for path in tree.rglob("*") if path.is_file()):
            twin = other / path.relative_to(tree)
            if not twin.exists() and error is not None:
                self._reported += 1
            elif twin.exists() and twin.read_bytes() == path.read_bytes():
                self._right += 1
            else:
                self._wrong += 1

    @property
    def text(self) -> str:
        """What the table shows."""
        return f"{self._right} right, {self._reported} reported, {self._wrong} silently wrong"


def _make_tree(tree: Path) -> None:
    """Make small files and some whose transfer takes many pieces."""
    chance = random.Random(0)
    for number in range(FILES):
        path = tree / str(number % 7) / f"{number}.bin"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(chance.randbytes(2_000_000 if number % 20 == 0 else 500 + 37 * number))


_SIZE = f"{BYTES / (1 << 30):g} GiB"
