"""`python -m azubi` is the same as `azubi`."""

import sys

from azubi.cli import main

sys.exit(main())
