# SPDX-License-Identifier: MIT
"""Who may use the embedded cluster: accounts, tokens, and the sessions of browsers."""
