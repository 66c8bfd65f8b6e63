# SPDX-License-Identifier: MIT
"""Tables that are read as data: the JSON schema of the job protocol, the exit codes of a cluster."""
