"""MLflow tracking: record folders are the truth, MLflow mirrors them, and nobody waits for it.

`mirroring` hands finished record folders to a background process; `mirror` is what that process, and `ensemble-ad track
sync`, do with each. Only mirror.py imports mlflow, and only when it is called.
"""

from ensemble_ad.tracking.outbox import mirroring, overdue
from ensemble_ad.tracking.place import Tracking, chosen, home_of

__all__ = ["Tracking", "chosen", "home_of", "mirroring", "overdue"]
