"""ensemble-ad: heterogeneous feature-level ensembles for logical anomalies.

This package puts the parts together and is the only one that knows all others. Its siblings have plain names that
another distribution could also use, so importing it makes sure that Python found ours.
"""

from ensemble_ad._siblings import check_siblings, is_command

__version__ = "0.7.0"

if not is_command():
    check_siblings()
