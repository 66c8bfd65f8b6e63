# SPDX-License-Identifier: MIT
"""The endpoints of OpenPAI's REST API, one module for each noun."""
