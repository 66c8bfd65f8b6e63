# SPDX-License-Identifier: MIT
"""``python -m openpaisdk.local serve`` is the embedded cluster's server process."""

from __future__ import annotations

import sys

from openpaisdk.local.daemon import main

if __name__ == "__main__":
    sys.exit(main())
