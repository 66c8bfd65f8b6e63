# SPDX-License-Identifier: MIT
"""What every client here shares: addresses, and HTTP/1.1 over plain sockets that are kept alive."""
