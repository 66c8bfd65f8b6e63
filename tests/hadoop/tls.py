# SPDX-License-Identifier: MIT
"""HDFS that speaks TLS only, with a certificate of a certificate authority (CA) of our own."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

from tests.hadoop.cluster import Hadoop
from tests.hadoop.process import write_properties

HOST = "localhost"
_PASSWORD = "of-this-test-only"


class KeyStore:
    """Keys in a file as Java reads it: of a CA, and of a server that it vouches for.

    Args:
        folder: Where the files are made; ``ca`` is the certificate of the CA.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path = folder / "keys.p12"
        self.ca = folder / "ca.pem"
        self._make_key("ca", "-dname", "CN=Test CA", "-ext", "bc:c", "-ext", "ku:c=keyCertSign")
        self._make_key("server", "-dname", f"CN={HOST}", "-signer", "ca", "-ext", f"san=dns:{HOST}")
        self._run("-exportcert", "-alias", "ca", "-rfc", "-file", str(self.ca))
        self._run("-delete", "-alias", "ca")  # a server shows the first key that it finds

    def _make_key(self, alias: str, *options: str) -> None:
        self._run("-genkeypair", "-alias", alias, "-keyalg", "EC", "-groupname", "secp256r1", *options)

    def _run(self, *words: str) -> None:
        command = ["keytool", *words, "-keystore", str(self.path), "-storetype", "PKCS12"]
        done = subprocess.run(
            [*command, "-storepass", _PASSWORD], check=False, capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stdout + done.stderr

    def server_properties(self) -> dict[str, object]:
        """Return the settings of ``ssl-server.xml``."""
        return {
            "ssl.server.keystore.location": self.path,
            "ssl.server.keystore.type": "PKCS12",
            "ssl.server.keystore.password": _PASSWORD,
            "ssl.server.keystore.keypassword": _PASSWORD,
        }


class TlsHadoop(Hadoop):
    """A cluster whose servers prove by a certificate that they are ``localhost``, and no other name.

    Args:
        folder: Where it keeps everything.
        options: As of ``Hadoop``.
    """

    host = HOST
    scheme = "https"

    def __init__(self, folder: Path, **options: Any) -> None:
        keys = KeyStore(folder / "keys")
        self.ca = keys.ca
        super().__init__(folder, **options)
        self.session.verify = str(self.ca)
        write_properties(folder / "web" / "ssl-server.xml", keys.server_properties())

    def hdfs_properties(self) -> dict[str, object]:
        """Return the shared settings, TLS among them."""
        return {**super().hdfs_properties(), "dfs.http.policy": "HTTPS_ONLY"}
