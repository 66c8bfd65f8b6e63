# SPDX-License-Identifier: MIT
"""What travels with a job, handed over as data by ``openpaisdk.job``: ``prelude.sh`` among its commands,
``start.sh`` and ``bootstrap.py`` in its archive.

Files here run inside the job: standard library only, Python 3.6, nothing of ours is imported.
"""
