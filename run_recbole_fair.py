"""Run recbole_fair from a checkout: python run_recbole_fair.py --model=AlphaRec --dataset=ml-100k."""

import sys

from recbole_fair.cli import main

sys.exit(main())
