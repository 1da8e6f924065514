"""README's table: every detector on every class and seed, each by one `ensemble-ad run` of its own process.

Command:  python benchmarks/headline.py --data out/data/flat_connector --seeds 0 1 2
Cost:     about half a minute per run on two cores; a run that is there is not repeated.
Prints:   a Markdown table, mean and standard deviation over the seeds; cost is that of the first seed.
"""

import argparse
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

DETECTORS = {
    "PatchCore alone": ("patchcore", "none"),
    "SimpleNet alone": ("simplenet", "none"),
    "both, global block": ("patchcore,simplenet", "global"),
    "both, individual blocks": ("patchcore,simplenet", "individual"),
}
METHODS = {
    "DRAEM alone": ("draem", "none"),
    "CS-Flow alone": ("cs_flow", "none"),
    "RD4AD alone": ("reverse_distillation", "none"),
    "AST alone": ("ast", "none"),
    "the four, global block": ("patchcore,draem,cs_flow,simplenet", "global"),
    "the four, individual blocks": ("patchcore,draem,cs_flow,simplenet", "individual"),
}
TYPES = ("logical_anomalies", "structural_anomalies")
HEADINGS = ("class", "detector", "AUROC logical", "AUROC structural", "AU-sPRO@0.05 logical", "AU-sPRO@0.05 structural")
COSTS = ("fit [s]", "ms/picture", "MiB")


def main() -> None:
    """Run what is missing, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, nargs="+", required=True, help="class folders")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--methods", action="store_true", help="the other methods and the fused four instead")
    parser.add_argument("--out", type=Path, default=Path("out/headline"))
    options = parser.parse_args()
    rows = list(table(options.data, METHODS if options.methods else DETECTORS, options.seeds, options.out))
    headings = (*HEADINGS, *COSTS)
    print("| " + " | ".join(headings) + " |")
    print("|" + "---|" * 2 + "---:|" * (len(headings) - 2))
    for row in rows:
        print("| " + " | ".join(row) + " |")


def table(
    classes: list[Path], detectors: dict[str, tuple[str, str]], seeds: list[int], out: Path
) -> Iterator[list[str]]:
    """One row of texts per class and detector."""
    for data in classes:
        for label, (extractors, combiner) in detectors.items():
            results = [result(data, extractors, combiner, seed, out) for seed in seeds]
            metrics = [("image_auroc", kind) for kind in TYPES] + [("au_spro", "0.05", kind) for kind in TYPES]
            cells = [spread([pick(result, *path) for result in results]) for path in metrics]
            first = results[0]
            fit = sum(seconds for name, seconds in first["seconds"].items() if is_fit(name))
            costs = (fit, first["ms_per_picture"], first["peak_memory_mb"])
            yield [data.name, label, *cells, *(f"{cost:.0f}" for cost in costs)]


def result(data: Path, extractors: str, combiner: str, seed: int, out: Path) -> dict:
    """The result.json of one run."""
    path = out / f"{data.name}-{extractors}-{combiner}-{seed}.json"
    if not path.exists():
        command = ["run", "--data", data, "--extractors", extractors, "--combiner", combiner, "--seed", seed]
        command += ["--json", path, "--out", path.with_suffix(""), "--cache", out / "cache"]
        print(" ".join(map(str, command)), file=sys.stderr)
        subprocess.run([sys.executable, "-m", "ensemble_ad", *map(str, command)], check=True, stdout=subprocess.DEVNULL)
    return json.loads(path.read_text())


def is_fit(stage: str) -> bool:
    """Whether a stage belongs to the fit: the extractors, their training features, the head."""
    return stage.startswith(("fit", "head")) or stage.endswith("on train")


def pick(content: dict, *path: str) -> float | None:
    """The value at a path of keys."""
    for key in path:
        content = content[key]
    return content


def spread(values: list[float | None]) -> str:
    """Mean and standard deviation over the seeds, or a dash."""
    if None in values:
        return "-"
    deviation = f" ± {statistics.stdev(values):.3f}" if len(values) > 1 else ""
    return f"{statistics.fmean(values):.3f}{deviation}"


if __name__ == "__main__":
    main()
