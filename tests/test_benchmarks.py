"""The comparison benchmark: what is skipped, resumed and reported, and the tables it writes."""

import json
import statistics
from pathlib import Path

import numpy as np
import pytest
from conftest import tiny_config
from data_folder import write_voc
from PIL import Image

from benchmarks import methods
from benchmarks.methods import RESULTS, SUITES, Row, ablation, main, result_is_todays
from keras_wsss.config import load_config, stage_digests

REPOSITORY = Path(__file__).resolve().parents[1]


def result(seed=1, decoder=60.0, cam=50.0, label=55.0, **more):
    return {
        "seed": seed,
        "decoder": {"miou": decoder},
        "cam": {"miou": cam},
        "pseudo_label": {"miou": label},
        "classifier": {"f1": 0.9},
        **more,
    }


@pytest.fixture
def write(tmp_path):
    def write(suite, name, **facts):
        facts = result(**facts)
        path = tmp_path / "results" / suite / f"{name}_seed{facts['seed']}.json"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps(facts))

    return write


def table(tmp_path, suite):
    page = tmp_path / "page.md"
    begin, end = (f"<!-- methods:{suite} {edge} -->" for edge in ("begin", "end"))
    page.write_text(f"before\n{begin}\nold\n{end}\nafter\n")
    main(["--table", "--page", str(page), "--output", str(tmp_path / "results")])
    text = page.read_text()
    assert text.startswith(f"before\n{begin}\n|") and text.endswith(f"|\n{end}\nafter\n")
    main(["--table", "--page", str(page), "--output", str(tmp_path / "results")])
    assert page.read_text() == text  # writing again changes nothing
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


# ---- tables ----------------------------------------------------------------------------------


def test_comparison_table(tmp_path, write):
    write("animals5", "supervised", decoder=80.0)
    for seed, score in ((1, 59.0), (2, 60.0), (3, 64.0)):
        write("animals5", "tscd", seed=seed, decoder=score, peak_memory_mb=1024 * seed)
    cost = {"seconds_per_step": 2.5}
    path = tmp_path / "results/animals5/speed.json"
    path.write_text(json.dumps({"rows": {"tscd": cost}}))
    rows = {row[0]: row[1:] for row in table(tmp_path, "animals5")}
    mean, deviation = statistics.mean((59, 60, 64)), statistics.stdev((59, 60, 64))
    assert rows["TSCD"] == [
        *(f"{mean:.1f} ± {deviation:.1f}", "76", "50.0 ± 0.0", "55.0 ± 0.0"),
        *("0.900", "2.50", "3.0", "1, 2, 3"),
    ]
    assert rows["with masks: the upper bound"][:2] == ["80.0", "100"]
    assert rows["AFA"] == ["–"] * 7 + ["not yet run"]


def test_ablation_table_compares_common_seeds(tmp_path, write):
    for seed, score in ((1, 59.0), (2, 70.0)):
        write("animals5_ablation_tscd", "full", seed=seed, decoder=score)
    write("animals5_ablation_tscd", "no_energy", decoder=57.5, cam=51.0)
    rows = {row[0]: row[1:] for row in table(tmp_path, "animals5_ablation_tscd")}
    assert rows["TSCD in full"] == ["64.5", "50.0", "55.0", "1, 2"]
    assert rows["without energy"] == ["-1.5", "+1.0", "+0.0", "1"]
    assert rows["without affinity"] == ["–", "–", "–", "not yet run"]


def test_saliency_table_takes_the_bound_of_its_data(tmp_path, write):
    write("voc20", "supervised", decoder=50.0)
    write("saliency", "i2crc", decoder=40.0, cam=None)
    path = tmp_path / "results/saliency/i2crc_seed1.json"
    staged = json.loads(path.read_text()) | {"cam": None, "stages": {"one": result(cam=33.0)}}
    path.write_text(json.dumps(staged))
    write("saliency", "saliency_tag", label=43.7)
    path = tmp_path / "results/saliency/saliency_tag_seed1.json"
    path.write_text(json.dumps({"seed": 1, "pseudo_label": {"miou": 43.7}}))
    rows = {row[0]: row[1:] for row in table(tmp_path, "saliency")}
    assert rows["I²CRC"][:3] == ["40.0", "80", "33.0"]
    assert rows["saliency x tag"] == ["–", "–", "–", "43.7", "–", "–", "–", "1"]


# ---- suites ----------------------------------------------------------------------------------


def test_rows_are_valid_configurations():
    for suite, rows in SUITES.items():
        names = [row.name for row in rows]
        assert len(set(names)) == len(names), suite
        for row in rows:
            full = load_config(row.config, ["data.root=X"])
            changed = load_config(row.config, ["data.root=X", *row.overrides])
            assert (changed != full) == bool(row.overrides), row
    assert {row.seeds for row in SUITES["animals5"] if row.name in ("tscd", "bmp")} == {(1, 2, 3)}


def test_every_row_of_an_ablation_has_the_same_budget():
    full, change = ablation("tscd", ["losses.energy.start_step=60"], ("par", "PAR", "a.b=par"))
    assert change.config == full.config and change.overrides == (*full.overrides, "a.b=par")
    assert {"training.steps=240", "losses.energy.start_step=60"} < set(full.overrides)


# ---- running ---------------------------------------------------------------------------------


@pytest.fixture
def suite(tmp_path, monkeypatch):
    """A suite of one run of four steps and one that cannot be started."""
    small = ("data.crop_size=64", "data.shapes.image_size=64", "data.shapes.val_images=2")
    steps = ("training.steps=4", "training.validate_every=2")
    config = tiny_config(*small, *steps, "cam.scales=[1.0]", config="shapes_supervised")
    path = tmp_path / "shapes_tiny.yaml"
    path.write_text(config.to_yaml())
    rows = (
        Row("broken", "", str(path), ("training.stepz=3",)),
        Row("tiny", "", str(path), ("training.log_every=1",), seeds=(2,)),
    )
    monkeypatch.setitem(SUITES, "tiny", rows)
    folders = ["--output", str(tmp_path / "results"), "--work", str(tmp_path / "work")]
    return lambda *more: main(["--suite", "tiny", *folders, *more])


def test_a_run_is_reported_resumed_and_skipped(suite, tmp_path, capsys):
    with pytest.raises(SystemExit, match="failed: tiny/broken_seed1"):
        suite()
    output = capsys.readouterr()
    assert "did you mean training.steps?" in output.err
    path = tmp_path / "results/tiny/tiny_seed2.json"
    report = json.loads(path.read_text())
    assert (report["suite"], report["name"], report["seed"]) == ("tiny", "tiny", 2)
    assert report["step"] == 4 and 0 <= report["decoder"]["miou"] <= 100
    assert report["peak_memory_mb"] > 100
    assert set(report["versions"]) == {"python", "keras_wsss", "tensorflow", "keras", "numpy"}
    assert "CPU cores" in report["hardware"] and str(tmp_path / "work") not in json.dumps(report)
    assert "--set training.log_every=1" in report["command"]

    suite("--only", "tiny")
    assert "tiny_seed2: is there\n" in capsys.readouterr().out
    path.write_text(json.dumps(report | {"config_hash": "of before"}))
    suite("--only", "tiny")
    assert "tiny_seed2: is there, of another configuration" in capsys.readouterr().out

    # Stopped before the result was written: nothing is trained again.
    path.unlink()
    suite("--only", "tiny")
    again = json.loads(path.read_text())
    assert again == report | {"resumed": True}

    # Stopped in its final evaluation: it goes on from its last checkpoint.
    path.unlink()
    folder = tmp_path / "work/tiny/tiny_seed2"
    (folder / "summary.json").unlink()
    metrics = (folder / "metrics.jsonl").read_text()
    suite("--only", "tiny")
    assert (folder / "metrics.jsonl").read_text() == metrics
    again = json.loads(path.read_text())
    assert again["decoder"] == report["decoder"] and again["resumed"]


def test_speed_is_measured_in_dry_runs(suite, tmp_path, monkeypatch):
    monkeypatch.setitem(SUITES, "tiny", SUITES["tiny"][1:])
    suite("--speed")
    cost = json.loads((tmp_path / "results/tiny/speed.json").read_text())["rows"]["tiny"]
    assert 0 < cost["seconds_per_step"] < 60
    assert not (tmp_path / "work").exists()


def test_unknown_row_and_nothing_to_do_are_messages(suite, capsys):
    for arguments in (["--only", "tscdd"], []):
        with pytest.raises(SystemExit) as end:
            suite(*arguments) if arguments else main([])
        assert end.value.code == 2
    output = capsys.readouterr().err
    assert "tscdd: not in the suite tiny" in output and "what to do?" in output


def test_saliency_times_tag(tmp_path):
    """Against a count by hand: image n has the tag n % 3 + 1; salient is its upper half."""
    root = write_voc(tmp_path / "data")
    (root / "Saliency").mkdir()
    hits, union = np.zeros(4), np.zeros(4)
    for number in range(6):
        mask = np.array(Image.open(root / f"SegmentationClass/image_{number}.png"))
        saliency = np.full(mask.shape, 127, np.uint8)
        saliency[: len(mask) // 2] = 128
        Image.fromarray(saliency).save(root / f"Saliency/image_{number}.png")
        predicted = np.where(saliency == 128, number % 3 + 1, 0)
        for label in range(4):
            one, two = (mask == label) & (mask != 255), (predicted == label) & (mask != 255)
            hits[label] += np.sum(one & two)
            union[label] += np.sum(one | two)
    path = tmp_path / "c.yaml"
    overrides = ["data.kind=voc", f"data.root={root}", "data.val_list=val"]
    path.write_text(tiny_config(*overrides, config="shapes_supervised").to_yaml())
    report = methods.saliency_times_tag(Row("saliency_tag", "", str(path)), 1, root, tmp_path)
    assert report["pseudo_label"]["miou"] == round(100 * np.mean(hits / union), 2)
    assert "decoder" not in report


def test_saliency_times_tag_on_photographs(shared):
    """The numbers measured when the data were made."""
    for row, expected in ((SUITES["saliency"][1], 43.7), (SUITES["saliency"][2], 76.3)):
        report = methods.saliency_times_tag(row, 1, shared / "data", None)
        assert abs(report["pseudo_label"]["miou"] - expected) < 0.05


def test_published_results_are_of_the_configurations_of_today():
    found = 0
    for suite, rows in SUITES.items():
        for row in rows:
            for path in sorted((REPOSITORY / RESULTS / suite).glob(f"{row.name}_seed*.json")):
                seed = json.loads(path.read_text())["seed"]
                assert result_is_todays(path, row, seed, "X"), path.relative_to(REPOSITORY)
                found += 1
    assert found > 30


def test_recorded_commands_train_what_was_trained():
    """What a result says of its making, typed again, is the same run."""
    found = 0
    for path in sorted((REPOSITORY / RESULTS).rglob("*_seed*.json")):
        result = json.loads(path.read_text())
        words = result["command"].split(" --")
        if words[0] != "python -m keras_wsss.train":
            continue
        arguments = [word.split(" ", 1) for word in words[1:]]
        config = dict(arguments)["config"]
        config = load_config(config, [value for name, value in arguments if name == "set"])
        digests = stage_digests(config)
        assert config.seed == result["seed"], path.relative_to(REPOSITORY)
        assert result["config_hash"] == list(digests.values())[-1], path.relative_to(REPOSITORY)
        for stage, summary in result.get("stages", {}).items():
            assert summary["config_hash"] == digests[stage], (path.name, stage)
        found += 1
    assert found > 30
