# SPDX-License-Identifier: MIT
"""Real Hadoop on loopback for tests and benchmarks: jars from Maven Central, processes of our own."""
