# SPDX-License-Identifier: MIT
"""What a job is: pure data and rules of the protocol, no network; imports only ``errors`` and ``constants``.

Nothing is loaded here, because ``names`` and ``wire`` are wanted by commands that have to start quickly.
"""
