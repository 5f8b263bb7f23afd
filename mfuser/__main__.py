"""`python -m mfuser`: see `mfuser.cli`."""

from __future__ import annotations

import sys

from mfuser.cli import main

if __name__ == "__main__":
    sys.exit(main())
