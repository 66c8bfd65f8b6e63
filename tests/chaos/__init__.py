# SPDX-License-Identifier: MIT
"""What no machine may do to the embedded cluster's jobs: killed servers, reboots, full disks."""
