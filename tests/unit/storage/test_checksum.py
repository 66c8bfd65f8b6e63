# SPDX-License-Identifier: MIT
"""Checksums are compared with those that Hadoop 3.4.1 gave for the same files."""

from __future__ import annotations

import zlib

import pytest

from openpaisdk.storage.hdfs.checksum import FileChecksum, HadoopDigest

OF_HI = "000002000000000000000000aaf31dc03f453462b81e1e124427b88d00000000"


def crc32c(data: bytes) -> int:
    """Compute CRC32C bit by bit: slow, and needs no package."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = (crc >> 1) ^ (0x82F63B78 if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF


def answer(bytes_of_it: str, algorithm: str = "MD5-of-0MD5-of-512CRC32C") -> FileChecksum:
    return FileChecksum({"algorithm": algorithm, "bytes": bytes_of_it, "length": 28})


def test_it_is_what_hadoop_computes() -> None:
    digest = HadoopDigest(crc32c, 128 << 20)
    digest.update(memoryview(b"hi\n"))
    assert digest.matches(answer(OF_HI)) is True


def test_another_content_has_another_checksum() -> None:
    digest = HadoopDigest(crc32c, 128 << 20)
    digest.update(memoryview(b"ho\n"))
    assert digest.matches(answer(OF_HI)) is False


@pytest.mark.parametrize("step", [1, 511, 513, 2048, 5000])
def test_it_does_not_matter_in_which_pieces_the_bytes_pass(step: int) -> None:
    data = bytes(range(256)) * 20
    digests = []
    for size in (len(data), step):
        digest = HadoopDigest(zlib.crc32, 1024)
        for start in range(0, len(data), size):
            digest.update(memoryview(data)[start : start + size])
        digests.append(digest._finish())
    assert digests[0] == digests[1]


def test_a_piece_that_is_sent_again_is_counted_once() -> None:
    digest = HadoopDigest(zlib.crc32, 1024)
    digest.update(memoryview(b"a" * 700))
    before = digest.copy()
    digest.update(memoryview(b"broken off"))
    digest.take(before)
    digest.update(memoryview(b"b" * 900))
    straight = HadoopDigest(zlib.crc32, 1024)
    straight.update(memoryview(b"a" * 700 + b"b" * 900))
    assert digest._finish() == straight._finish()


@pytest.mark.parametrize(
    "other",
    [
        answer(OF_HI, "MD5-of-0MD5-of-512CRC32"),
        answer("000001000000000000000000aaf31dc03f453462b81e1e124427b88d00000000"),
    ],
)
def test_what_was_computed_in_another_way_is_not_compared(other: FileChecksum) -> None:
    digest = HadoopDigest(crc32c, 128 << 20)
    digest.update(memoryview(b"hi\n"))
    assert digest.matches(other) is None


def test_an_answer_of_another_kind_is_not_known() -> None:
    assert not answer("", "COMPOSITE-CRC32C").is_known
    assert not FileChecksum({}).is_known
