# SPDX-License-Identifier: MIT
"""What things cost: ratios against a baseline that runs in turn with them. ``make bench`` prints the table."""
