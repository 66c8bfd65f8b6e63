# SPDX-License-Identifier: MIT
"""Learn to read the handwritten digits of scikit-learn; leave a model, its metrics and a picture."""

from __future__ import annotations

import argparse
import json
import struct
import time
import zlib
from pathlib import Path

import joblib
import numpy as np
from sklearn.datasets import load_digits
from sklearn.metrics import accuracy_score, confusion_matrix
from sklearn.model_selection import train_test_split
from sklearn.svm import SVC

CELL = 24
"""Width of a cell of the picture, in pixels."""


def main() -> None:
    """Train, measure, and write model.joblib, metrics.json and confusion.png."""
    options = parse_options()
    digits = load_digits()
    images, test_images, labels, test_labels = train_test_split(
        digits.data / 16.0, digits.target, test_size=0.25, random_state=options.seed, stratify=digits.target
    )
    print(f"data: {len(images)} images to learn from, {len(test_images)} to be asked about", flush=True)

    begun = time.monotonic()
    for share in (0.25, 0.5, 1.0):
        count = int(len(images) * share)
        model = SVC(C=options.c, gamma=options.gamma).fit(images[:count], labels[:count])
        answers = model.predict(test_images)
        print(f"step: images={count} accuracy={accuracy_score(test_labels, answers):.4f}", flush=True)

    table = confusion_matrix(test_labels, answers)
    metrics = {
        "accuracy": float(accuracy_score(test_labels, answers)),
        "c": options.c,
        "gamma": options.gamma,
        "seed": options.seed,
        "train_images": len(images),
        "test_images": len(test_images),
        "train_seconds": round(time.monotonic() - begun, 3),
    }
    folder = Path(options.output)
    folder.mkdir(parents=True, exist_ok=True)
    joblib.dump(model, folder / "model.joblib")
    (folder / "metrics.json").write_text(json.dumps(metrics, indent=2) + "\n")
    (folder / "confusion.png").write_bytes(draw(table))
    print(f"done: accuracy={metrics['accuracy']:.4f} in {metrics['train_seconds']} s", flush=True)


def parse_options() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--c", type=float, default=10.0, help="how much a wrong answer costs")
    parser.add_argument("--gamma", type=float, default=0.05, help="how near images must be to be alike")
    parser.add_argument("--seed", type=int, default=0, help="which images are kept for the test")
    parser.add_argument("--output", default=".", metavar="DIR", help="where the results go")
    return parser.parse_args()


def draw(table: np.ndarray) -> bytes:
    """Return a PNG of a confusion matrix: rows are true digits, columns are answers, dark is often."""
    shares = table / np.maximum(table.sum(axis=1, keepdims=True), 1)
    light = (255 * (1 - np.sqrt(shares))).astype(np.uint8)
    pixels = np.kron(light, np.ones((CELL, CELL), dtype=np.uint8))
    pixels[::CELL, :] = pixels[:, ::CELL] = 200
    height, width = pixels.shape
    # each row of a PNG begins with its filter, 0 is none
    rows = np.hstack([np.zeros((height, 1), dtype=np.uint8), pixels]).tobytes()
    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in parts
    )


if __name__ == "__main__":
    main()
