"""Scorers that know the whole picture: what is normal part by part may be wrong as a combination.

`SCORERS` is the one place where a name stands for a class. One more scorer is its module and a line here.
"""

from scorers.context_network import ContextNetwork
from scorers.context_regression import ContextRegression
from scorers.metrology import Metrology
from scorers.pooled_statistics import PooledStatistics
from scorers.set_features import SetFeatures
from scorers.word_histograms import WordHistograms

SCORERS = {
    "pooled_statistics": PooledStatistics,
    "context_network": ContextNetwork,
    "context_regression": ContextRegression,
    "metrology": Metrology,
    "set_features": SetFeatures,
    "word_histograms": WordHistograms,
}
"""Name in YAML and on the command line -> class; each is a GlobalScorer (scorers/protocol.py)."""
