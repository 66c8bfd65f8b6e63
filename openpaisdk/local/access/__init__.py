# SPDX-License-Identifier: MIT
"""Who may use the embedded cluster, and how often: accounts, tokens, sessions of browsers, rate limits."""
