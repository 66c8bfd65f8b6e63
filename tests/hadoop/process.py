# SPDX-License-Identifier: MIT
"""One Java process of Hadoop: its configuration folder, its class path, its life and its faults."""

from __future__ import annotations

import os
import random
import signal
import socket
import subprocess
from collections.abc import Mapping
from pathlib import Path
from xml.sax.saxutils import escape

from tests.hadoop.jars import fetch_jars

SUPERUSER = "hdfs"
"""Who the servers run as, whatever the account of the tests is called; owns ``/``, may do everything."""
END_TIMEOUT_S = 30

_LOGGING = """\
log4j.rootLogger = WARN, console
log4j.appender.console = org.apache.log4j.ConsoleAppender
log4j.appender.console.target = System.err
log4j.appender.console.layout = org.apache.log4j.PatternLayout
log4j.appender.console.layout.ConversionPattern = %d{ISO8601} %p %c{1}: %m%n
"""


_PORTS = range(20000, 32000)
"""Below those that Linux gives to outgoing connections, one of which could take a port before its server."""
_given: set[int] = set()


def free_ports(count: int) -> list[int]:
    """Return ports of loopback that nobody listens on; none is given twice by one process of tests."""
    ports: list[int] = []
    while len(ports) < count:
        port = random.choice(_PORTS)
        if port not in _given and not listens(port):
            _given.add(port)
            ports.append(port)
    return ports


def listens(port: int) -> bool:
    """Tell whether something takes connections on a port."""
    try:
        socket.create_connection(("127.0.0.1", port), timeout=10).close()
    except OSError:
        return False
    return True


def write_configuration(folder: Path, core: Mapping[str, object], hdfs: Mapping[str, object]) -> None:
    """Write the files that Hadoop reads its settings from."""
    folder.mkdir(parents=True, exist_ok=True)
    write_properties(folder / "core-site.xml", core)
    write_properties(folder / "hdfs-site.xml", hdfs)
    (folder / "log4j.properties").write_text(_LOGGING)


def write_properties(path: Path, values: Mapping[str, object]) -> None:
    """Write settings as Hadoop reads them."""
    rows = "".join(
        f"<property><name>{escape(key)}</name><value>{escape(str(value))}</value></property>\n"
        for key, value in values.items()
    )
    path.write_text(f"<configuration>\n{rows}</configuration>\n")


def write_web_folder(folder: Path) -> None:
    """Make the empty web pages without which the servers do not start; the jars have none."""
    for name in ("hdfs", "datanode", "static", "logs"):
        (folder / "webapps" / name / "WEB-INF").mkdir(parents=True, exist_ok=True)
        (folder / "webapps" / name / "WEB-INF" / "web.xml").write_text("<web-app/>\n")


class JavaSettings:
    """How Java is called.

    Args:
        web: Folder of ``write_web_folder``.
        heap_mb: Largest heap of a server.
        quick: Whether it is to start fast rather than to run fast; benchmarks want the latter.
        options: More options, such as ``-Djava.security.krb5.conf=…``.
    """

    def __init__(self, web: Path, *, heap_mb: int = 256, quick: bool = True, options: tuple[str, ...] = ()):
        self._web = web
        self._options = [f"-Xmx{heap_mb}m", "-XX:+UseSerialGC", "-XX:-UsePerfData"]
        self._options += ["--add-opens", "java.base/java.lang=ALL-UNNAMED"]  # else WebHDFS answers 500
        self._options += ["-Djava.net.preferIPv4Stack=true", *options]
        if quick:
            self._options.append("-XX:TieredStopAtLevel=1")

    def command(self, configuration: Path, main_class: str, *words: str) -> list[str]:
        """Return the command of a main class below ``org.apache.hadoop.hdfs``."""
        class_path = f"{configuration}:{self._web}:{fetch_jars()}/*"
        return ["java", *self._options, "-cp", class_path, f"org.apache.hadoop.hdfs.{main_class}", *words]

    def run(self, configuration: Path, main_class: str, *words: str, **variables: str) -> str:
        """Run a main class to its end and return what it wrote.

        Raises:
            RuntimeError: It failed.
        """
        done = subprocess.run(
            self.command(configuration, main_class, *words),
            env={**environment(), **variables},
            check=False,
            capture_output=True,
            text=True,
            timeout=120,
        )
        if done.returncode:
            raise RuntimeError(f"{main_class} {' '.join(words)}: {(done.stdout + done.stderr)[-3000:]}")
        return done.stdout


def environment() -> dict[str, str]:
    """Return the variables of Hadoop's processes."""
    return {**os.environ, "HADOOP_USER_NAME": SUPERUSER}


class Daemon:
    """A NameNode or DataNode.

    Args:
        name: Names its log, too.
        java: How Java is called.
        configuration: Its folder of settings.
        main_class: Below ``org.apache.hadoop.hdfs``.
        http_port: Where it serves the web.
    """

    def __init__(
        self, name: str, java: JavaSettings, configuration: Path, main_class: str, http_port: int
    ) -> None:
        self.name = name
        self.http_port = http_port
        self.log = configuration.parent / f"{name}.log"
        self.configuration = configuration
        self._command = java.command(configuration, main_class)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def process(self) -> subprocess.Popen[bytes]:
        """The running process, or the last one."""
        assert self._process is not None, f"{self.name} was never started"
        return self._process

    def start(self) -> None:
        """Start it; being up is another matter."""
        with open(self.log, "ab") as log:
            self._process = subprocess.Popen(
                self._command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment()
            )

    @property
    def is_running(self) -> bool:
        """Whether there is a process."""
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """End it as a crash of its machine would."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """Ask it to end, and see to it."""
        self._end(signal.SIGTERM)

    def _end(self, number: signal.Signals) -> None:
        if self._process is None:
            return
        self._process.send_signal(signal.SIGCONT)
        self._process.send_signal(number)
        try:
            self._process.wait(END_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait(END_TIMEOUT_S)

    def suspend(self) -> None:
        """Let it hang: connections are taken by the system, and nothing is answered."""
        self.process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on after ``suspend``."""
        self.process.send_signal(signal.SIGCONT)

    def last_words(self) -> str:
        """Return the end of its log."""
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""
