# SPDX-License-Identifier: MIT
"""How to talk to a rest-server: requests, replies, errors. Knows L0 and ``spec`` only."""
