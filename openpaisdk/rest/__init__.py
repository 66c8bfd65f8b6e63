# SPDX-License-Identifier: MIT
"""How to talk to a rest-server: requests, replies, errors. Knows ``errors``, ``constants`` and ``spec``,
nothing above."""
