# SPDX-License-Identifier: MIT
"""Object stores and SFTP on loopback for tests: programs of others that speak as the real ones do."""
