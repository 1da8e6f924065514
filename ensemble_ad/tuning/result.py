"""What a study leaves beside its trials: best.yaml, trials.csv, figures, summary.md and the same as index.html."""

from pathlib import Path

import pandas as pd
from matplotlib import rc_context

from ensemble_ad.errors import ConfigError
from ensemble_ad.report.document import write_document
from ensemble_ad.tuning.figures import STYLE, agreement_figure, figures
from ensemble_ad.tuning.found import Found
from ensemble_ad.tuning.summary import summary
from ensemble_ad.tuning.trials import Trial, table
from ensemble_ad.whole import adding_to


def write_result(found: Found, out: Path, command: str) -> Path:
    """Write all files anew and return best.yaml; every name says `oracle` where the test labels were the judge.

    Raises ConfigError when no finished trial keeps the constraints.
    """
    leader, suffix = found.best("search"), found.suffix
    if leader is None:
        limits = ", ".join(f"{name} <= {limit:g}" for name, limit in found.study.constraints.items())
        raise ConfigError(f"{found.study.where}: constraints: no finished trial keeps {limits}; raise the limits")
    with adding_to(out) as folder:
        (folder / f"best{suffix}.yaml").write_text(_experiment(found, leader))
        _table(found).to_csv(folder / f"trials{suffix}.csv", index=False)
        names = _draw(found, folder / "figures")
        text = summary(found, command, names)
        (folder / f"summary{suffix}.md").write_text(text)
        write_document(text, folder / f"index{suffix}.html")
    return out / f"best{suffix}.yaml"


def _experiment(found: Found, leader: Trial) -> str:
    value = f"{found.name} {leader.measured[found.name]:.4f}"
    judge = "ORACLE: chosen on test labels, " if found.study.objective == "oracle" else ""
    heading = f"# {judge}trial {leader.number} of the study {found.study.name}: {value} ({found.study.objective})\n"
    return heading + found.study.space.experiment(leader.point).to_yaml()


def _table(found: Found) -> pd.DataFrame:
    parts = []
    for label, some in found.trials.items():
        rows = table(some)
        rows.insert(0, "study", label)
        if label in found.on_test:
            rows["oracle_test_quality"] = rows["trial"].map(found.on_test[label])
        parts.append(rows)
    return pd.concat(parts, ignore_index=True)


def _draw(found: Found, folder: Path) -> list[str]:
    folder.mkdir()
    drawn = figures(found.trials, found.importance, found.study)
    if any(found.on_test.values()):
        drawn["agreement"] = agreement_figure(found.trials, found.on_test)
    for name, figure in drawn.items():
        with rc_context(STYLE):
            figure.savefig(folder / f"{name}{found.suffix}.svg", bbox_inches="tight")
    return [f"{name}{found.suffix}" for name in drawn]
