# SPDX-License-Identifier: MIT
"""One interface for files on a storage, whatever stands behind it."""
