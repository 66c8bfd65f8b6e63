# SPDX-License-Identifier: MIT
"""The embedded cluster: OpenPAI's REST API and WebHDFS on loopback, jobs as processes of this machine.

May import only the errors, constants and file helpers, ``spec`` and ``storage``; clients meet it on the wire.
"""
