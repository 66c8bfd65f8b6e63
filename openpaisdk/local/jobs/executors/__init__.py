# SPDX-License-Identifier: MIT
"""How the tasks of the embedded cluster are run: one module for each kind of executor."""
