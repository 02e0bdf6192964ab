import sys

if sys.version_info < (3, 11):
    raise SystemExit(
        "This course needs Python 3.11 or newer, and this is Python %d.%d. "
        "Name a newer one: make step-01 PYTHON=python3.12" % sys.version_info[:2]
    )
