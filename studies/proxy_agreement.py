"""Question  Does quality on synthetic anomalies rank settings like quality on the test split, class by class?

Command   python studies/proxy_agreement.py FIGURE.svg STUDY_DIR...
Cost      nothing beyond `ensemble-ad tune studies/8_proxy.yaml --data CLASS_DIR --out STUDY_DIR` for each class
Expected  points along a rising line; each panel says Spearman's rank correlation

The test split is looked at when a study is over; what is drawn upwards is an oracle.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

import matplotlib.pyplot as plt
import pandas as pd
from matplotlib.figure import Figure
from scipy.stats import spearmanr


def agreement(trials: pd.DataFrame) -> float:
    """Spearman's rank correlation between the two qualities, over the finished trials of a study's `trials.csv`."""
    return float(spearmanr(trials["quality"], trials["oracle_test_quality"]).statistic)


def drawn(studies: Sequence[tuple[str, pd.DataFrame]]) -> Figure:
    """A panel for each study, a name and its finished trials."""
    figure, panels = plt.subplots(1, len(studies), figsize=(3 * len(studies), 2.9), layout="constrained", squeeze=False)
    for panel, (name, trials) in zip(panels[0], studies):
        panel.plot(trials["quality"], trials["oracle_test_quality"], "o", markersize=3.5, color="#0072b2")
        panel.set_title(f"{name}, rank correlation {agreement(trials):.2f}", fontsize=10, loc="left")
        panel.set_xlabel("quality by the proxy")
        panel.spines[["top", "right"]].set_visible(False)
    panels[0, 0].set_ylabel("quality on the test split")
    return figure


def finished(study: Path) -> pd.DataFrame:
    """Return the finished trials of a study's folder."""
    if not (study / "trials.csv").exists():
        sys.exit(f"{study}: expected the folder of a finished study, there is no trials.csv in it")
    trials = pd.read_csv(study / "trials.csv")
    if "oracle_test_quality" not in trials:
        sys.exit(f"{study / 'trials.csv'}: expected a column oracle_test_quality, which `check_on_test: true` makes")
    return trials[trials["state"] == "finished"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("figure", type=Path, metavar="FIGURE")
    parser.add_argument("studies", type=Path, nargs="+", metavar="STUDY_DIR", help="its name is the panel's")
    given = parser.parse_args()
    plt.rcParams["svg.hashsalt"] = "ensemble-ad"
    drawn([(study.name.replace("_", " "), finished(study)) for study in given.studies]).savefig(
        given.figure, metadata={"Date": None} if given.figure.suffix == ".svg" else None
    )
