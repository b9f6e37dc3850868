"""The methods side by side: trains every run of a suite, then writes the tables of the docs.

    python -m benchmarks.methods --suite animals5 --data ROOT
    python -m benchmarks.methods --suite animals5 --data ROOT --speed
    python -m benchmarks.methods --table

A run is a process of its own and ends as one file ``OUTPUT/SUITE/NAME_seedS.json``. What is there
is skipped, and what was interrupted goes on from its last checkpoint: start the same command again.
A run that fails does not stop the others.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import keras_wsss
from benchmarks.tables import markdown, put
from keras_wsss.config import load_config, stage_digests
from keras_wsss.run_folder import RunDirectory

RESULTS = Path("benchmarks/results")
PAGE = Path("docs/results.md")
REPEATED = (1, 2, 3)
PUBLISHED_C2S = "losses.c2s.form=bce"
# The published mean over animals5's five classes and the background becomes their sum.
SUMMED_C2S = "losses.c2s.weight=4.2"
NO_GATE = "heads.object_gate=false"


@dataclass(frozen=True)
class Row:
    """A row of a table: a configuration with overrides, trained once for each of its seeds."""

    name: str
    label: str
    config: str
    overrides: tuple[str, ...] = ()
    seeds: tuple[int, ...] = (1,)

    def all_overrides(self, data, *more):
        """``more``, the row's own and the folder of the data, if it needs any."""
        return [*more, *self.overrides, *([f"data.root={data}"] if data else [])]


def comparison(data):
    """Every method with the same network, steps and rates."""
    return (
        Row("supervised", "with masks: the upper bound", f"{data}_supervised"),
        Row("tscd", "TSCD", f"{data}_tscd", seeds=REPEATED),
        Row("bmp", "BMP", f"{data}_bmp", seeds=REPEATED),
        Row(
            "bmp_bce", "BMP, published form of C2S", f"{data}_bmp", (PUBLISHED_C2S,), seeds=REPEATED
        ),
        Row("afa", "AFA", f"{data}_afa"),
        Row("sgn", "SGN", f"{data}_sgn"),
        Row("rrm", "RRM", f"{data}_rrm"),
    )


def ablation(method, settings, *changes):
    """The method in full, then one change a row: name, label, override.

    In half the steps of the comparison: all runs of a method are to fit into an evening.

    Args:
        settings: overrides of all rows: the steps at which something begins, and what differs from
            the configuration.
    """
    half = ("training.steps=240", "training.validate_every=240", "optimizer.warmup_steps=15")
    short = (*half, *settings)
    full = Row("full", f"{method.upper()} in full", f"animals5_{method}", short)
    return (full, *(Row(name, label, full.config, (*short, over)) for name, label, over in changes))


SUITES = {
    "animals5": (
        *comparison("animals5"),
        Row("bmp_no_gate", "BMP, no gate", "animals5_bmp", (NO_GATE,)),
        Row(
            "bmp_bce_no_gate",
            "BMP, published form of C2S, no gate",
            "animals5_bmp",
            (PUBLISHED_C2S, NO_GATE),
        ),
        Row(
            "bmp_bce_weight",
            "BMP, published form of C2S, six times its weight",
            "animals5_bmp",
            (PUBLISHED_C2S, SUMMED_C2S),
        ),
    ),
    "voc20": comparison("voc20"),
    # Saliency maps say where the object is, so these stand apart; "saliency x tag" learns nothing.
    "saliency": (
        Row("i2crc", "I²CRC", "voc20_i2crc"),
        Row("saliency_tag", "saliency x tag", "voc20_supervised"),
        Row("saliency_tag_animals5", "saliency x tag, on animals5", "animals5_supervised"),
    ),
    "animals5_ablation_tscd": ablation(
        "tscd",
        [
            f"losses.{name}.start_step=60"
            for name in ("segmentation", "affinity", "correspondence", "equivariance", "energy")
        ],
        ("no_correspondence", "without correspondence", "losses.correspondence=null"),
        ("no_equivariance", "without equivariance", "losses.equivariance=null"),
        ("no_energy", "without energy", "losses.energy=null"),
        ("no_affinity", "without affinity", "losses.affinity=null"),
        ("par", "PAR instead of VARM", "pseudo_label.refiner=par"),
        ("parity", "as the released code (parity)", "parity=true"),
    ),
    "animals5_ablation_bmp": ablation(
        "bmp",
        [
            PUBLISHED_C2S,
            "pseudo_label.propagation_start=90",
            *(f"losses.{name}.start_step=60" for name in ("c2s", "s2c", "affinity")),
        ],
        ("propagation_none", "labels from PAR alone", "pseudo_label.propagation=none"),
        ("propagation_afa", "AFA's random walk", "pseudo_label.propagation=random_walk"),
        ("no_s2c", "without S2C", "losses.s2c=null"),
        ("c2s_ce", "C2S as cross-entropy", "losses.c2s.form=ce"),
        ("c2s_weight", "C2S with six times the weight", SUMMED_C2S),
        ("s2c_bce", "S2C as binary cross-entropy", "losses.s2c.form=bce"),
        ("no_gate", "without the object gate", NO_GATE),
    ),
    "animals5_ablation_sgn": ablation(
        "sgn",
        ["losses.segmentation.start_step=60", "sgn.mix_start=120", "sgn.mix_end=180"],
        ("no_mixing", "without the decoder's prediction (w = 0)", "sgn.mix=0"),
        ("average_pooling", "average instead of maximum pooling", "heads.pooling=average"),
        ("localization", "labels from the class maps (M0)", "sgn.labels_from=localization"),
        ("affinity", "labels from the random walk (M1)", "sgn.labels_from=affinity"),
        (
            "agreement",
            "agreement loss instead of the walk",
            "losses.agreement={weight: 0.05, start_step: 60}",
        ),
    ),
}


# ---- running ---------------------------------------------------------------------------------


def result_file(output, suite, row, seed):
    """Where the result of a run lies."""
    return Path(output) / suite / f"{row.name}_seed{seed}.json"


def run_suite(suite, data, output, work, only=(), seeds=()):
    """Makes the results of a suite that are not there yet; returns the names of failed runs."""
    failed = []
    for row in SUITES[suite]:
        if only and row.name not in only:
            continue
        for seed in seeds or row.seeds:
            target = result_file(output, suite, row, seed)
            name = f"{target.parent.name}/{target.stem}"
            if target.exists():
                todays = result_is_todays(target, row, seed, data)
                stale = "" if todays else ", of another configuration: delete it to train anew"
                print(f"{name}: is there{stale}", flush=True)
                continue
            run = saliency_times_tag if row.name.startswith("saliency_tag") else train
            result = run(row, seed, data, Path(work) / name)
            if result is None:
                failed.append(name)
                continue
            facts = {"suite": target.parent.name, "name": row.name, "seed": seed, **result}
            RunDirectory(output).write_json(target, facts)
            print(f"{name}: done", flush=True)
    return failed


def result_is_todays(target, row, seed, data):
    """Whether a result is what its row would give today, but for the code; a rule has no hash."""
    made_by = json.loads(target.read_text()).get("config_hash")
    config = load_config(row.config, row.all_overrides(data, f"seed={seed}"))
    *_, digest = stage_digests(config).values()
    return made_by in (None, digest)


def train_command(row, data, *overrides):
    """Arguments of Python that train a row, on the data in a folder if it needs any."""
    overrides = row.all_overrides(data, *overrides)
    sets = [part for override in overrides for part in ("--set", override)]
    return ["-m", "keras_wsss.train", "--config", row.config, *sets]


def train(row, seed, data, folder):
    """Trains a row in a process of its own, or goes on with it; None where that failed."""
    # For the reader, without the folders of this machine.
    shown = " ".join(["python", *train_command(row, data and "X", f"seed={seed}")])
    command = [*train_command(row, data, f"seed={seed}"), "--run-dir", str(folder)]
    resumed = any(folder.rglob("last.safetensors"))
    if resumed:
        command.append("--resume")
    elif folder.exists():
        shutil.rmtree(folder)  # it was stopped before its first checkpoint

    summary, log = RunDirectory(folder).summary_file, folder.with_suffix(".log")
    if not summary.exists():
        print(f"{folder.parent.name}/{folder.name}: training, see {log}", flush=True)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("a") as file:
            subprocess.run([sys.executable, *command], stdout=file, stderr=subprocess.STDOUT)
    if not summary.exists():
        lines = log.read_text().splitlines() or ["no output"]
        print(f"{folder.parent.name}/{folder.name}: FAILED, {lines[-1]}", file=sys.stderr)
        return None
    return {
        "command": f"{shown} --run-dir D",
        "resumed": resumed,  # then "seconds" are those after the last interruption
        **circumstances(),
        **json.loads(summary.read_text()),
    }


def saliency_times_tag(row, seed, data, folder):
    """No learning: salient pixels get the image's tag, the first in the list of classes if several.

    A pixel is salient from half of the range of the map (127.5 of 255).
    """
    import numpy as np

    from keras_wsss.data import load_split
    from keras_wsss.metrics import MeanIoU

    config = load_config(row.config, [f"data.root={data}"])
    split = load_split(config.data, "val", require_masks=True, require_saliency=True)
    score = MeanIoU(len(split.class_names) + 1)
    for position, tags in enumerate(split.labels):
        salient = split.saliency(position) >= 127.5
        score.update_state(split.mask(position), np.where(salient, np.argmax(tags) + 1, 0))
    miou = round(100 * float(score.result()), 2)
    return {
        "command": f"python -m benchmarks.methods --suite saliency --only {row.name} --data X",
        "protocol": {"list": split.name, "images": len(split), "tags_used": "yes, and saliency"},
        "pseudo_label": {"miou": miou, "tags_used": True},
        **circumstances(),
    }


def measure_speed(suite, data, output, rounds=3):
    """Dry runs of a suite's rows in turn, each in a process of its own; writes ``speed.json``.

    To be called while nothing else runs: the trainings themselves may have shared their machine.
    """
    seconds = {}
    for _ in range(rounds):
        for row in SUITES[suite]:
            command = [sys.executable, *train_command(row, data), "--dry-run", "--json"]
            answer = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
            facts = json.loads(answer.stdout)
            seconds.setdefault(row.name, []).append(facts["seconds_per_step"])
            print(f"{suite}/{row.name}: {facts['seconds_per_step']} s a step", flush=True)
    rows = {name: {"seconds_per_step": statistics.median(s)} for name, s in seconds.items()}
    facts = {
        "command": f"python -m benchmarks.methods --suite {suite} --data X --speed",
        "rounds": rounds,
        **circumstances(),
        "rows": rows,
    }
    RunDirectory(output).write_json(Path(output) / suite / "speed.json", facts)


def circumstances():
    """Hardware and versions."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(gpu).get("device_name", "GPU")
        for gpu in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0))
    return {
        "hardware": f"{cores} CPU cores, {platform.machine()}, {', '.join(gpus) or 'no GPU'}",
        "versions": {
            "python": platform.python_version(),
            "keras_wsss": keras_wsss.__version__,
            **{package: version(package) for package in ("tensorflow", "keras", "numpy")},
        },
    }


# ---- tables ----------------------------------------------------------------------------------


def load_results(output, suite, row):
    """Results of a row by seed."""
    paths = result_file(output, suite, row, 0).parent.glob(f"{row.name}_seed*.json")
    results = [json.loads(path.read_text()) for path in sorted(paths)]
    return {result["seed"]: result for result in results}


def stages_of(result):
    """Summaries of the stages of a result, if it has any."""
    return result.get("stages", {}).values()


def value(result, *keys):
    """What a result, or else one of its stages, says under ``keys``; None where none does."""
    for part in (result, *stages_of(result)):
        for key in keys:
            part = (part or {}).get(key)
        if part is not None:
            return part
    return None


SCORES = {
    "decoder": ("decoder", "miou"),
    "CAM": ("cam", "miou"),
    "pseudo label": ("pseudo_label", "miou"),
}


def mean(results, *keys):
    """Mean over the results that say something under ``keys``; None where none does."""
    values = [value(result, *keys) for result in results]
    values = [number for number in values if number is not None]
    return statistics.mean(values) if values else None


def shown(number, digits=1):
    """A number of a table; a dash for None."""
    return "–" if number is None else f"{number:.{digits}f}"


def with_deviation(results, *keys):
    """Mean ± standard deviation over seeds, or the one value."""
    values = [value(result, *keys) for result in results]
    if len(values) < 2 or None in values:
        return shown(mean(results, *keys))
    return f"{statistics.mean(values):.1f} ± {statistics.stdev(values):.1f}"


def comparison_table(suite, output):
    """One row a method: scores, share of the upper bound on the same data, cost."""
    header = ["method", "decoder", "% of the bound", *list(SCORES)[1:], "classifier F1"]
    header += ["seconds a step", "peak memory, GB", "seeds"]
    speed_file = Path(output) / suite / "speed.json"
    speed = json.loads(speed_file.read_text())["rows"] if speed_file.exists() else {}
    rows = []
    for row in SUITES[suite]:
        results = load_results(output, suite, row)
        several = list(results.values())
        data = row.config.split("_")[0]
        bound = load_results(output, data, Row("supervised", "", row.config)).values()
        best, decoder = mean(bound, *SCORES["decoder"]), mean(several, *SCORES["decoder"])
        share = 100 * decoder / best if best and decoder is not None else None
        seconds = speed.get(row.name, {}).get("seconds_per_step")
        parts = [part for result in several for part in (result, *stages_of(result))]
        memory = max((part.get("peak_memory_mb", 0) for part in parts), default=0)
        rows.append(
            [
                row.label,
                with_deviation(several, *SCORES["decoder"]),
                shown(share, 0),
                with_deviation(several, *SCORES["CAM"]),
                with_deviation(several, *SCORES["pseudo label"]),
                shown(mean(several, "classifier", "f1"), 3),
                shown(seconds, 2),
                shown(memory / 1024 or None),
                ", ".join(map(str, results)) or "not yet run",
            ]
        )
    return markdown(header, rows)


def ablation_table(suite, output):
    """The full method, then what each change makes of its scores, over the seeds both have."""
    full, *changes = SUITES[suite]
    reference = load_results(output, suite, full)
    scores = [shown(mean(reference.values(), *keys)) for keys in SCORES.values()]
    rows = [[full.label, *scores, ", ".join(map(str, reference)) or "not yet run"]]
    for row in changes:
        results = load_results(output, suite, row)
        common = sorted(set(results) & set(reference))
        cells = []
        for keys in SCORES.values():
            changed = mean([results[seed] for seed in common], *keys)
            before = mean([reference[seed] for seed in common], *keys)
            known = changed is not None and before is not None
            cells.append(f"{changed - before:+.1f}" if known else "–")
        rows.append([row.label, *cells, ", ".join(map(str, common)) or "not yet run"])
    return markdown(["", *SCORES, "seeds"], rows)


def write_tables(page, output):
    """Puts the tables of all suites between their markers in ``page``; returns them."""
    tables = []
    for suite in SUITES:
        table = (ablation_table if "_ablation_" in suite else comparison_table)(suite, output)
        if put(page, f"methods:{suite}", table):
            tables.append(table)
    return "\n\n".join(tables)


def main(arguments=None):
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.methods",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--suite", choices=SUITES, help="train what is missing of this suite")
    parser.add_argument("--data", help="folder of the data set (data.root)")
    parser.add_argument("--output", type=Path, default=RESULTS, help=f"default: {RESULTS}")
    parser.add_argument("--work", type=Path, default=Path("runs/bench"), help="folder of the runs")
    parser.add_argument("--only", nargs="+", default=(), metavar="NAME", help="rows of the suite")
    parser.add_argument("--seeds", nargs="+", type=int, default=(), help="default: of the row")
    parser.add_argument("--speed", action="store_true", help="only time the steps of the suite")
    parser.add_argument("--table", action="store_true", help=f"write the tables of {PAGE}")
    parser.add_argument("--page", type=Path, default=PAGE, help=argparse.SUPPRESS)
    options = parser.parse_args(arguments)
    if not options.suite and not options.table:
        parser.error("what to do? --suite NAME, --table or both")
    unknown = set(options.only) - {row.name for row in SUITES.get(options.suite, ())}
    if unknown:
        parser.error(f"--only {' '.join(sorted(unknown))}: not in the suite {options.suite}")

    failed = []
    if options.suite and options.speed:
        measure_speed(options.suite, options.data, options.output)
    elif options.suite:
        failed = run_suite(
            options.suite, options.data, options.output, options.work, options.only, options.seeds
        )
    if options.table:
        print(write_tables(options.page, options.output))
    if failed:
        raise SystemExit(f"failed: {', '.join(failed)}")


if __name__ == "__main__":
    main()
