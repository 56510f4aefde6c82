"""`python -m bench`: see README.md in this folder."""

import sys

from bench.command import main

sys.exit(main(sys.argv[1:]))
