# SPDX-License-Identifier: MIT
"""One class per command, one module per group; each is loaded only when its command is called."""
