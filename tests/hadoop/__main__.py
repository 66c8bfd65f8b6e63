# SPDX-License-Identifier: MIT
"""Run Hadoop in the foreground, to try things by hand; Ctrl-C ends it."""

from __future__ import annotations

import signal
import tempfile
from pathlib import Path

from tests.hadoop.cluster import Hadoop


def main() -> None:
    """Start a cluster, say where it is, and wait."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)  # in the background a shell has them ignored
    with tempfile.TemporaryDirectory() as folder, Hadoop(Path(folder), quick=False) as cluster:
        print(f"WebHDFS: {cluster.uri}/webhdfs/v1/?op=LISTSTATUS&user.name=hdfs", flush=True)
        try:
            signal.pause()
        except KeyboardInterrupt:
            print("ending")


if __name__ == "__main__":
    main()
