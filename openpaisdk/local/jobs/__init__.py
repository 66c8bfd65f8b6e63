# SPDX-License-Identifier: MIT
"""The jobs of the embedded cluster: decided, stored, run, watched, taken up again; knows nothing of HTTP."""
