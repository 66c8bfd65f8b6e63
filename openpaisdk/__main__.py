# SPDX-License-Identifier: MIT
"""``python -m openpaisdk`` is ``opai``."""

from openpaisdk.cli.main import main

if __name__ == "__main__":
    main()
