# SPDX-License-Identifier: MIT
"""The command line. One unit with ``openpaisdk.engine``: it may import anything, nothing below imports it.

``table`` names the commands as text, ``parser`` reads words, ``commands`` holds one class per command,
``output`` shows values and errors, ``main`` picks the exit code.
"""
