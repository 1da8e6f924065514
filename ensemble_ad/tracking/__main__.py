"""`python -m ensemble_ad.tracking HOME`: the background process that delivers what waits in HOME's outbox."""

import logging
import os
import sys
from pathlib import Path

from ensemble_ad.tracking.outbox import deliver

logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(message)s")
os.nice(10)
deliver(Path(sys.argv[1]))
