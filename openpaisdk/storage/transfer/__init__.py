# SPDX-License-Identifier: MIT
"""Moving files and folders: many at once, whole or not at all, going on after a break, compared at the end.

Works on the primitives of ``Storage`` only, so that every storage has all of it.
"""
