# SPDX-License-Identifier: MIT
"""What travels inside a job: ``prelude.sh`` and ``bootstrap.py``, handed over as data by ``openpaisdk.job``.

Files here run inside the job: standard library only, Python 3.6, nothing of ours is imported.
"""
