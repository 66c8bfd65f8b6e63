# SPDX-License-Identifier: MIT
"""OpenPAI's REST API over the jobs, its accounts and tokens, and the endpoints of our own client."""
