# SPDX-License-Identifier: MIT
"""HDFS by its web interface: addresses, operations, senders of requests, and the storage made of them."""
