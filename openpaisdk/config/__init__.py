# SPDX-License-Identifier: MIT
"""Settings and known clusters, each value with where it comes from. Read when asked, never at import."""
