"""`python -m recbole_fair` is the console script."""

import sys

from recbole_fair.cli import main

sys.exit(main())
