# SPDX-License-Identifier: MIT
"""The page that a browser shows of the embedded cluster: read-only, without scripts."""
