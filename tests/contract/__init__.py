# SPDX-License-Identifier: MIT
"""Suites that every implementation of a seam passes: a test class inherits one, and supplies fixtures."""
