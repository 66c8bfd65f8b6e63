# SPDX-License-Identifier: MIT
"""What things cost, as ratios against a baseline that runs in turn with them: ``make bench``."""
