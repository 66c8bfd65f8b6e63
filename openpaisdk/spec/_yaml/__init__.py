# SPDX-License-Identifier: MIT
"""A YAML reader that takes, refuses and understands text as a rest-server does; only for ``spec.yaml12``."""
