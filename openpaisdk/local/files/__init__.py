# SPDX-License-Identifier: MIT
"""The storage of the embedded cluster: folders of this machine, spoken to as WebHDFS."""
