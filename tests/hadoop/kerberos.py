# SPDX-License-Identifier: MIT
"""HDFS that asks who is there: Kerberos with a key distribution center (KDC) of our own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import quote, urlencode

from tests.hadoop.cluster import Hadoop
from tests.hadoop.jars import HadoopMissingError
from tests.hadoop.process import SUPERUSER, free_ports

REALM = "TEST.LOCAL"
HOST = "localhost"
PROGRAMS = {"krb5kdc": "krb5-kdc", "kadmin.local": "krb5-admin-server", "kinit": "krb5-user", "curl": "curl"}
_SYSTEM_PATH = f"{os.environ['PATH']}:/usr/sbin:/sbin"


class Kdc:
    """A KDC on a port of loopback; use it in ``with``.

    Args:
        folder: Where it keeps its database and keys.

    Raises:
        HadoopMissingError: Kerberos is not installed.
    """

    def __init__(self, folder: Path) -> None:
        for program, package in PROGRAMS.items():
            if shutil.which(program, path=_SYSTEM_PATH) is None:
                raise HadoopMissingError(f"there is no {program!r} (Debian package {package})")
        self.folder = folder
        self.configuration = folder / "krb5.conf"
        (port,) = free_ports(1)
        self.configuration.write_text(
            f"[libdefaults]\n default_realm = {REALM}\n dns_lookup_kdc = false\n dns_lookup_realm = false\n"
            " rdns = false\n dns_canonicalize_hostname = false\n udp_preference_limit = 1\n"
            f"[realms]\n {REALM} = {{\n  kdc = 127.0.0.1:{port}\n }}\n"
            f"[domain_realm]\n {HOST} = {REALM}\n"
        )
        (folder / "kdc.conf").write_text(
            f"[realms]\n {REALM} = {{\n"
            f"  database_name = {folder}/principal\n  key_stash_file = {folder}/stash\n"
            f"  kdc_listen = 127.0.0.1:{port}\n  kdc_tcp_listen = 127.0.0.1:{port}\n"
            "  max_renewable_life = 7d\n }\n"
            f"[logging]\n kdc = FILE:{folder}/kdc.log\n"
        )
        self.environment = {
            **os.environ,
            "PATH": _SYSTEM_PATH,
            "KRB5_CONFIG": str(self.configuration),
            "KRB5_KDC_PROFILE": str(folder / "kdc.conf"),
        }
        self.run("kdb5_util", "create", "-s", "-r", REALM, "-P", "of-this-test-only")

    def run(self, *command: str, **more: str) -> str:
        """Run a program of Kerberos, or one that uses it."""
        done = subprocess.run(
            command,
            check=False,
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert done.returncode == 0, f"{command[0]}: {done.stdout}{done.stderr}"
        return done.stdout

    def keytab(self, name: str, *principals: str) -> Path:
        """Make principals and return the file with their keys."""
        keytab = self.folder / f"{name}.keytab"
        for principal in principals:
            self.run("kadmin.local", "-r", REALM, "-q", f"addprinc -randkey {principal}")
            self.run("kadmin.local", "-r", REALM, "-q", f"ktadd -k {keytab} {principal}")
        return keytab

    def login(self, user: str) -> dict[str, str]:
        """Return the variables with which a program logs in as a user by itself."""
        keytab = self.folder / f"{user}.keytab"
        if not keytab.exists():
            self.keytab(user, user)
        return self.client_environment(keytab)

    def client_environment(self, keytab: Path) -> dict[str, str]:
        """Return the variables with which a program logs in by itself."""
        return {
            "KRB5_CONFIG": str(self.configuration),
            "KRB5_CLIENT_KTNAME": str(keytab),
            "KRB5CCNAME": f"FILE:{keytab}.cache",
        }

    def __enter__(self) -> Kdc:
        self._process = subprocess.Popen(
            ["krb5kdc", "-n", "-P", str(self.folder / "pid")],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait(30)


class KerberosHadoop(Hadoop):
    """A cluster whose clients show a ticket or a delegation token.

    Args:
        folder: Where it keeps everything.
        kdc: Running; it gets the keys of the servers.
        options: As of ``Hadoop``.
    """

    host = HOST

    def __init__(self, folder: Path, *, kdc: Kdc, **options: Any) -> None:
        self.kdc = kdc
        self._keytab = kdc.keytab("service", f"{SUPERUSER}/{HOST}", f"HTTP/{HOST}")
        super().__init__(folder, **options)

    def java_options(self) -> tuple[str, ...]:
        """Return where Java finds the KDC."""
        return (f"-Djava.security.krb5.conf={self.kdc.configuration}",)

    def core_properties(self) -> dict[str, object]:
        """Return the shared settings, who may come in among them."""
        return {
            **super().core_properties(),
            "hadoop.security.authentication": "kerberos",
            "hadoop.http.authentication.type": "kerberos",
            "hadoop.http.authentication.kerberos.principal": f"HTTP/{HOST}@{REALM}",
            "hadoop.http.authentication.kerberos.keytab": self._keytab,
            "hadoop.http.authentication.kerberos.endpoint.whitelist": "/jmx",
        }

    def hdfs_properties(self) -> dict[str, object]:
        """Return the shared settings, the servers' own names among them."""
        own: dict[str, object] = {
            "dfs.block.access.token.enable": "true",
            "ignore.secure.ports.for.testing": "true",
        }
        for server in ("namenode", "datanode"):
            own[f"dfs.{server}.kerberos.principal"] = f"{SUPERUSER}/{HOST}@{REALM}"
            own[f"dfs.{server}.keytab.file"] = self._keytab
        return {**super().hdfs_properties(), **own}

    def admin(self, *words: str) -> str:
        """Run ``hdfs dfsadmin`` with a ticket of the superuser."""
        cache = f"FILE:{self.kdc.folder}/admin.cache"
        self.kdc.run("kinit", "-k", "-t", str(self._keytab), f"{SUPERUSER}/{HOST}", KRB5CCNAME=cache)
        return self.java.run(self.name_node.configuration, "tools.DFSAdmin", *words, KRB5CCNAME=cache)

    def call(self, method: str, op: str, path: str, **values: object) -> Any:
        """Send an operation to the name node as the superuser; refusals raise."""
        return self._call(self.kdc.client_environment(self._keytab), method, op, path, values)

    def call_as(self, user: str, method: str, op: str, path: str, **values: object) -> Any:
        """Send an operation to the name node as a user; refusals raise."""
        return self._call(self.kdc.login(user), method, op, path, values)

    def delegation_token(self, user: str) -> str:
        """Return a token with which a client needs no ticket."""
        return str(self.call_as(user, "GET", "GETDELEGATIONTOKEN", "/")["Token"]["urlString"])

    def _call(self, login: dict[str, str], method: str, op: str, path: str, values: dict[str, object]) -> Any:
        address = f"{self.uri}/webhdfs/v1{quote(path)}?{urlencode({'op': op, **values})}"
        command = ["curl", "-s", "-S", "--fail-with-body", "--negotiate", "-u", ":", "-X", method, address]
        text = self.kdc.run(*command, **login)
        return json.loads(text) if text else None
