"""What a configuration file may say, and the one message for what it may not."""

import dataclasses
import json
import math
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest
import yaml

from keras_wsss import registry
from keras_wsss.config import (
    CamConfig,
    DataConfig,
    LossConfig,
    Method,
    PropagatedLabelConfig,
    PseudoLabelConfig,
    Reader,
    Section,
    Term,
    check_propagation,
    config_class,
    decisive,
    digest,
    identity,
    known_keys,
    load_config,
    load_run_config,
    merge,
    shipped_configs,
    stage_configs,
    stage_digests,
)
from keras_wsss.config.identity import default_values, flat
from keras_wsss.errors import ConfigError
from keras_wsss.registry import METHODS

REPOSITORY = Path(__file__).resolve().parents[1]
ROOT = "data.root=photos"

MINIMAL = """
method: tscd
data: {kind: shapes}
losses:
  classification: {weight: 1.0}
  energy: {weight: 0.01, stride: 2}
"""


@pytest.fixture
def write(tmp_path):
    def write(text, name="mine.yaml"):
        path = tmp_path / name
        path.write_text(text)
        return path

    return write


def message_of(*arguments):
    with pytest.raises(ConfigError) as caught:
        load_config(*arguments)
    return str(caught.value)


# ---- shipped files ---------------------------------------------------------------------------


CONFIGS = REPOSITORY / "configs"


def head_of(path):
    """The comment with which a file begins, on one line."""
    lines = path.read_text().splitlines()
    first = next(i for i, line in enumerate(lines) if not line.startswith("#"))
    return " ".join(line.removeprefix("#").strip() for line in lines[:first])


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_load_and_state_their_claim(name):
    config = load_config(name, [ROOT])
    assert config.name == name and config.method in METHODS
    if (CONFIGS / f"{name}.yaml").exists():
        head = head_of(CONFIGS / f"{name}.yaml")
        for claim in ("Command:", "Hardware:", "Time:", "Scores:", f"--config {name}"):
            assert claim in head, claim
    else:  # its two parts say how they are joined
        data, _, method = name.rpartition("_")
        assert f"as DATA_{method}" in head_of(CONFIGS / "methods" / f"{method}.yaml")
        assert f"as {data}_METHOD" in head_of(CONFIGS / "data" / f"{data}.yaml")


def test_issue_promises_these_configurations():
    assert {"shapes_tscd", "voc_tscd", "coco_tscd", "animals5_tscd"} <= set(shipped_configs())
    assert not any(name.endswith("_base") for name in shipped_configs())


def test_every_method_can_be_trained_on_every_data_set():
    data = {path.stem for path in (CONFIGS / "data").glob("*.yaml")}
    assert {"shapes", "voc", "coco", "animals5", "voc20", "photos"} <= data
    joined = {f"{each}_{method}" for each in data for method in METHODS}
    assert set(shipped_configs()) == joined | {"photos", "demo"}


@pytest.mark.parametrize(
    ("name", "steps", "start", "batch", "validate"),
    [("voc_tscd", 20000, 2001, 4, 2000), ("coco_tscd", 80000, 5001, 8, 5000)],
)
def test_published_recipe(name, steps, start, batch, validate):
    """Network, objective, schedule and optimiser of TSCD."""
    config = load_config(name, [ROOT])
    weights = {term: settings.weight for term, settings in config.losses.items()}
    starts = {term: config.start_of(term) for term in config.losses}
    late = ("segmentation", "affinity", "correspondence", "equivariance")
    assert weights == {"classification": 1.0, "energy": 0.01} | dict.fromkeys(late, 0.1)
    assert starts == {"classification": 0, "energy": start} | dict.fromkeys(late, start)
    assert (config.training.steps, config.training.validate_every) == (steps, validate)
    assert (config.data.crop_size, config.data.batch_size, config.data.scale) == (
        512,
        batch,
        (0.5, 2.0),
    )
    optimizer = config.optimizer
    assert (optimizer.learning_rate, optimizer.head_multiplier) == (6e-5, 10.0)
    assert (optimizer.warmup_steps, optimizer.warmup_ratio, optimizer.power) == (1500, 1e-6, 1.0)
    assert (optimizer.weight_decay, optimizer.beta_2) == (0.01, 0.999)
    assert config.cam.scales == (1.0, 0.5, 1.5)
    label = config.pseudo_label
    assert (label.refiner, label.iterations, label.high, label.low) == ("varm", 10, 0.55, 0.35)
    assert config.backbone.strides == (4, 2, 2, 1) and config.backbone.name == "mit_b1"
    assert config.seed == 1 and not config.parity


@pytest.mark.parametrize(
    ("name", "images", "epochs", "drops", "segmentation"),
    [("voc_i2crc", 10582, 30, (5, 10), 20000), ("coco_i2crc", 82081, 6, (2, 4), 40000)],
)
def test_published_recipe_of_i2crc(name, images, epochs, drops, segmentation):
    """Networks, objective and training recipe of I2CRC, and its reference value 10."""
    (_, classifier), (_, first), (_, second) = stage_configs(load_config(name, [ROOT]))
    epoch = math.ceil(images / 5)
    assert classifier.training.steps == epochs * epoch
    assert name != "voc_i2crc" or (epoch, classifier.training.steps) == (2117, 63510)
    optimizer = classifier.optimizer
    assert optimizer.milestones == tuple(epoch * drop for drop in drops)
    assert (optimizer.kind, optimizer.momentum, optimizer.nesterov) == ("sgd", 0.9, True)
    assert (optimizer.learning_rate, optimizer.weight_decay) == (1e-3, 5e-4)
    assert (optimizer.head_multiplier, optimizer.bias_multiplier) == (10.0, 2.0)
    assert {term: settings.weight for term, settings in classifier.losses.items()} == {
        "classification": 1.0,
        "object_distance": 0.01,
        "background_distance": 0.025,
        "class_distance": 0.1,
    }
    data = classifier.data
    assert (data.warp, data.crop_size, data.batch_size, data.flip) == (True, 256, 5, 0.0)
    assert set(data.jitter.model_dump().values()) == {0.3, 0.1} and data.jitter.hue == 0.1
    assert (classifier.backbone.name, classifier.heads.pooling) == ("vgg16", "average")
    for stage, source in ((first, "classifier"), (second, "segmentation")):
        assert (stage.method, stage.labels_stage) == ("supervised", source)
        assert (stage.backbone.name, stage.heads.decoder) == ("resnet101", "deeplabv2")
        optimizer = stage.optimizer
        assert (optimizer.learning_rate, optimizer.power, optimizer.step_size) == (2.5e-4, 0.9, 10)
        assert (optimizer.weight_decay, optimizer.nesterov, optimizer.milestones) == (
            5e-4,
            False,
            (),
        )
        assert optimizer.head_multiplier == optimizer.bias_multiplier == 1.0
        assert (stage.training.steps, stage.data.batch_size) == (segmentation, 10)
        assert stage.losses["segmentation"].extra_scales == (0.75, 0.5)
        assert (stage.evaluation.scales, stage.evaluation.crf) == ((1.0, 0.75, 0.5), True)
        assert not stage.data.warp and set(stage.data.jitter.model_dump().values()) == {0.0}
    assert [stage.writes for stage in (classifier, first, second)] == [
        "saliency_labels",
        "object_guided_labels",
        "none",
    ]


# What a configuration has only because a term learns from what the network finds.
ONLY_WEAK = {
    "heads.symmetric_affinity",
    "pseudo_label.propagation",
    "pseudo_label.propagation_start",
    "training.classifier_steps",
}


@pytest.mark.parametrize("data", ["shapes", "animals5", "voc20"])
def test_supervised_twin_differs_in_the_objective_alone(data):
    objective = {"name", "method", "losses"}
    weak = flat(load_config(f"{data}_tscd", [ROOT]).model_dump(exclude=objective))
    full = load_config(f"{data}_supervised", [ROOT])
    rest = {key: value for key, value in weak.items() if key not in ONLY_WEAK}
    assert flat(full.model_dump(exclude=objective)) == rest and len(weak) == len(rest) + 4
    assert full.method == "supervised" and set(full.losses) == {"classification", "segmentation"}
    assert full.start_of("segmentation") == 0


@pytest.mark.parametrize("name", [n for n in shipped_configs() if n.startswith("voc20_")])
def test_voc20_is_animals5_with_other_data(name):
    """One recipe a method on the photographs: data, length and background scores differ."""
    config = load_config(name, [ROOT])
    twin = load_config(name.replace("voc20", "animals5"), [ROOT])
    ignored = {"name": True, "data": True, "training": True, "pseudo_label": {"high", "low"}}
    assert config.model_dump(exclude=ignored) == twin.model_dump(exclude=ignored)
    assert [config.start_of(term) for term in config.losses] == [
        twin.start_of(term) for term in twin.losses
    ]
    if config.method not in ("sgn", "rrm"):  # they have no background scores
        assert (config.pseudo_label.high, config.pseudo_label.low) == (0.55, 0.35)
        assert (twin.pseudo_label.high, twin.pseudo_label.low) == (0.40, 0.20)
    assert config.data.classes is None and config.data.crop_size == twin.data.crop_size
    epochs = config.training.steps * config.data.batch_size / (384 + 346)
    assert 12 <= epochs < 12.2


# ---- reading ---------------------------------------------------------------------------------


def test_defaults_and_typed_options(write):
    config = load_config(write(MINIMAL))
    assert config.name == "mine" and config.training.steps == 20000
    assert config.losses["energy"].stride == 2 and set(config.losses) == {
        "classification",
        "energy",
    }


def test_configuration_is_immutable(write):
    config = load_config(write(MINIMAL))
    with pytest.raises(pydantic.ValidationError):
        config.seed = 2


def test_extends_merges_deeply_and_replaces_lists(write):
    write(MINIMAL + "seed: 5\nname: parent\ncam: {scales: [1.0, 0.5]}\n", "parent.yaml")
    child = write("extends: parent\ndata: {flip: 0}\ncam: {scales: [2.0]}\n", "child.yaml")
    config = load_config(child)
    assert config.name == "child" and config.seed == 5 and config.data.kind == "shapes"
    assert config.data.flip == 0 and config.cam.scales == (2.0,)


def test_extends_finds_shipped_files(write):
    config = load_config(write("extends: animals5_tscd\nseed: 9\n"), [ROOT])
    assert config.seed == 9 and config.data.classes == ("cat", "cow", "dog", "horse", "sheep")


def test_several_parents_are_merged_from_left_to_right(write):
    write(MINIMAL + "seed: 5\n", "grand.yaml")
    write("extends: grand\nname: left\nseed: 6\ndata: {flip: 0.1}\n", "left.yaml")
    write("extends: grand\ndata: {flip: 0.2, crop_size: 64}\n", "right.yaml")
    config = load_config(write("extends: [left, right]\ndata: {crop_size: 96}\n", "child.yaml"))
    # The shared grandparent, which is read again for `right`, does not take back `left`'s seed.
    assert (config.name, config.seed, config.data.flip) == ("child", 6, 0.2)
    assert config.data.crop_size == 96 and set(config.losses) == {"classification", "energy"}
    assert load_config(write(MINIMAL + "extends: []\n")).method == "tscd"


def test_null_removes_a_loss_term(write):
    write(MINIMAL, "parent.yaml")
    child = write("extends: parent\nlosses: {energy: null}\n", "child.yaml")
    assert set(load_config(child).losses) == {"classification"}
    assert set(load_config(write(MINIMAL), ["losses.energy=null"]).losses) == {"classification"}


def test_overrides_are_yaml_and_the_last_one_wins(write):
    config = load_config(
        write(MINIMAL),
        [
            "optimizer.learning_rate=1e-4",
            "cam.scales=[1, 0.5]",
            "data.jitter.hue=.1",
            "data.jitter={contrast: 0.2}",
            "backbone.weights=a=b.npz",
            "training.xla=true",
            "seed=2",
            "seed=3",
        ],
    )
    assert config.optimizer.learning_rate == 1e-4 and config.cam.scales == (1.0, 0.5)
    assert config.data.jitter.hue == 0.1 and config.data.jitter.contrast == 0.2
    assert config.backbone.weights == "a=b.npz" and config.training.xla is True
    assert config.seed == 3


def test_stages_are_this_configuration_with_overrides(write):
    text = MINIMAL + "stages:\n  first: {training: {steps: 3000}}\n  second: {seed: 7}\n"
    config = load_config(write(text))
    (one, first), (two, second) = stage_configs(config)
    assert (one, two) == ("first", "second")
    assert first.training.steps == 3000 and first.seed == 1 and not first.stages
    assert second.training.steps == 20000 and second.seed == 7


def test_single_stage(write):
    config = load_config(write(MINIMAL))
    assert stage_configs(config) == [("", config)]


@pytest.mark.parametrize("name", shipped_configs())
def test_yaml_round_trip(name, tmp_path):
    config = load_config(name, [ROOT])
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert load_run_config(tmp_path) == config
    assert load_run_config(tmp_path, ["seed=4"]).seed == 4
    assert type(config).model_validate(config.model_dump(mode="json")) == config


def test_merge_leaves_its_arguments_alone():
    base, overrides = {"a": {"b": 1}}, {"a": {"c": 2}}
    assert merge(base, overrides) == {"a": {"b": 1, "c": 2}}
    assert (base, overrides) == ({"a": {"b": 1}}, {"a": {"c": 2}})


# ---- errors ----------------------------------------------------------------------------------

# What the user wrote -> what the message has to say: key, value, what is allowed, nearest key.
WRONG = {
    "unknown key": (
        "data.crop_siz=320",
        ["data.crop_siz", "320", "scale, flip", "data.crop_size?"],
    ),
    "wrong section": ("crop_size=320", ["crop_size", "320", "did you mean data.crop_size?"]),
    "unknown section": ("optimiser.power=2", ["optimiser", "did you mean optimizer?"]),
    "unknown loss": ("losses.energi={weight: 1}", ["losses.energi", "did you mean losses.energy?"]),
    "removed unknown loss": ("losses.energi=null", ["losses.energi", "losses.energy?"]),
    "option of another loss": (
        "losses.classification.stride=2",
        ["classification.stride", "weight"],
    ),
    "word for number": ("data.batch_size=four", ["data.batch_size", "'four'", "whole number"]),
    "fraction for count": ("data.batch_size=2.5", ["data.batch_size", "2.5", "whole number"]),
    "yes for number": ("data.batch_size=true", ["data.batch_size", "True", "whole number"]),
    "number for yes": ("parity=1", ["parity", "1", "true or false"]),
    "number for name": ("data.train_list=2014", ["data.train_list", "2014", "text"]),
    "scalar for section": ("data=5", ["data", "5", "mapping"]),
    "section for scalar": ("seed.x=1", ["seed", "{'x': 1}", "whole number"]),
    "list too short": ("data.scale=[1]", ["data.scale.1"]),
    "list too long": ("backbone.strides=[4,2,2,1,1]", ["backbone.strides", "at most 4"]),
    "empty list": ("cam.scales=[]", ["cam.scales", "value []; allowed: at least 1 entry"]),
    "no scale": ("cam.scales=[0]", ["cam.scales.0: value 0; allowed: more than 0"]),
    "scalar for list": ("cam.scales=1", ["cam.scales", "value 1; allowed: a list"]),
    "no seed": ("seed=-1", ["seed: value -1; allowed: 0 or more"]),
    "large seed": ("seed=4294967296", ["seed", "4294967296; allowed: less than 4294967296"]),
    "no batch": ("data.batch_size=0", ["data.batch_size: value 0; allowed: 1 or more"]),
    "name above": ("name=../../x", ["name: value '../../x'; allowed: the name of one folder"]),
    "absolute name": ("name=/x", ["name: value '/x'", "one folder"]),
    "name of a parent": ("name=..", ["name: value '..'", "one folder"]),
    "stage above": ("stages={../outside: {}}", ["stages: value '../outside'", "one folder"]),
    "unknown method": ("method=tsdc", ["method", "'tsdc'", "'supervised'", "mean tscd?"]),
    "unknown backbone": ("backbone.name=mit-b1", ["backbone.name", "mit_b5", "mean mit_b1?"]),
    "unknown xla": ("training.xla=gpu", ["training.xla", "'auto', True or False"]),
    "not a number": ("optimizer.learning_rate=.nan", ["learning_rate", "nan", "finite"]),
    "infinite": ("losses.energy.weight=.inf", ["losses.energy.weight", "inf", "finite"]),
    "negative": ("optimizer.weight_decay=-1", ["weight_decay", "-1", "0 or more"]),
    "crop": ("data.crop_size=100", ["data.crop_size", "100", "multiple of 32"]),
    "probability": ("data.flip=1.5", ["data.flip", "1.5", "at most 1"]),
    "reversed scale": ("data.scale=[2, 0.5]", ["data.scale", "[2.0, 0.5]", "[smallest, largest]"]),
    "class twice": ("data.classes=[cat, Cat]", ["data.classes", "['cat', 'Cat']", "once", "twice"]),
    "background within": ("data.classes=[cat, bg]", ["data.classes", "'bg' is no class", "head"]),
    "reversed thresholds": (
        "pseudo_label.low=0.6",
        ["pseudo_label.low", "0.6", "less than", "0.55"],
    ),
    "no root": ("data.kind=voc", ["data.root", "None", "data.root=FOLDER"]),
    "late term": (
        "losses.energy.start_step=20000",
        ["losses.energy.start_step", "less than", "20000"],
    ),
    "long warm-up": ("optimizer.warmup_steps=20000", ["warmup_steps", "less than", "20000"]),
    "loss of another method": (
        "method=supervised",
        ["allowed: tscd, since supervised has no losses.energy;", "extends: [supervised, DATA]"],
    ),
    "no losses": ("losses=null", ["losses", "None", "mapping"]),
    "no value": ("seed", ["key.path=value"]),
    "no key": ("=5", ["key.path=value"]),
    "broken YAML": ("data.classes=[cat", ["data.classes", "YAML"]),
}


def test_a_tag_cut_needs_scores(write):
    message = message_of(write(MINIMAL), ["heads.tag_cut=0.2", "losses.classification=null"])
    assert "heads.tag_cut: value 0.2; allowed: 0, where no tags teach scores" in message


@pytest.mark.parametrize("kind", WRONG)
def test_wrong_override_is_one_message(kind, write):
    override, parts = WRONG[kind]
    path = write(MINIMAL)
    message = message_of(path, [override])
    for part in [*parts, "allowed:"]:
        assert part in message, message
    assert "\n" not in message
    # Blamed is what was typed, or the file for what it makes impossible.
    assert message.startswith((f"--set {override}: ", f"{path}: "))
    if kind != "no root":
        assert message.startswith("--set ")


FILES = {
    "unknown key": (MINIMAL + "sed: 2\n", ["sed", "2", "did you mean seed?"]),
    "missing key": ("data: {kind: shapes}\nlosses: {energy: {weight: 1}}\n", ["method", "allowed"]),
    "missing weight": (MINIMAL.replace("weight: 1.0", "start_step: 1"), ["classification.weight"]),
    "no term left": ("method: tscd\ndata: {kind: shapes}\nlosses: {}\n", ["losses", "at least 1"]),
    "key twice": (MINIMAL + "seed: 1\nseed: 2\n", ["'seed' stands twice", "line"]),
    "not YAML": ("method: [", ["YAML"]),
    "not text": ("\0", ["YAML"]),
    "not a mapping": ("- method\n", ["['method']", "mapping"]),
    "empty": ("", ["None", "mapping"]),
    "odd extends": (MINIMAL + "extends: {a: b}\n", ["extends", "{'a': 'b'}", "a list of them"]),
    "number in extends": (MINIMAL + "extends: [5]\n", ["extends", "[5]", "name or path"]),
    "unknown parent": (MINIMAL + "extends: voc_tsdc\n", ["voc_tsdc", "did you mean voc_tscd?"]),
    "stage": (MINIMAL + "stages: {two: {sed: 2}}\n", ["stage two", "sed", "did you mean seed?"]),
    "stages": (MINIMAL + "stages: [one]\n", ["stages", "['one']", "mapping"]),
}


@pytest.mark.parametrize("kind", FILES)
def test_wrong_file_is_one_message(kind, write):
    text, parts = FILES[kind]
    message = message_of(write(text))
    assert "\n" not in message
    for part in parts:
        assert part in message, message
    assert "mine" in message or kind == "unknown parent"


def test_several_mistakes_are_listed_together(write):
    message = message_of(write(MINIMAL + "sed: 2\nparitty: true\n"))
    assert [line.split(": ")[1] for line in message.splitlines()] == ["sed", "paritty"]


def test_message_names_the_file_of_the_chain_that_is_wrong(write):
    parent = write(MINIMAL + "sed: 2\n", "parent.yaml")
    child = write("extends: parent\nseed: 3\n", "child.yaml")
    assert message_of(child).startswith(f"{parent}: sed")


def test_circular_extends(write):
    write("extends: b\n", "a.yaml")
    write("extends: a\n", "b.yaml")
    message = message_of(write("extends: a\n", "c.yaml"))
    assert "c.yaml -> a.yaml -> b.yaml -> a.yaml" in message
    assert "cycle" in message_of(write("extends: itself\n", "itself.yaml"))


def test_unknown_configuration_lists_the_shipped_ones():
    message = message_of("voc_tsdc")
    assert "did you mean voc_tscd?" in message
    assert all(name in message for name in shipped_configs())


def test_folder_that_is_no_run(tmp_path):
    with pytest.raises(ConfigError, match="config.yaml: no such file"):
        load_run_config(tmp_path)


def test_binary_file_is_one_message(tmp_path):
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0JFIF")
    assert str(path) in message_of(path)


# ---- keys of other methods -------------------------------------------------------------------

# What one method or kind of data does not have -> whose it is.
WEAK = "afa, bmp, i2crc, rrm, tscd, supervised"
FOREIGN = {
    "section": ("voc_sgn", "cam.scales=[1.0]", f"cam belongs to {WEAK}"),
    "pseudo labels": ("voc_sgn", "pseudo_label.high=0.7", f"pseudo_label belongs to {WEAK}"),
    "method's own section": ("voc_tscd", "sgn.mix=0", "sgn belongs to sgn"),
    "key of a section": (
        "voc_tscd",
        "heads.object_gate=false",
        "heads.object_gate belongs to bmp",
    ),
    "affinity head": (
        "voc_rrm",
        "heads.symmetric_affinity=true",
        "heads.symmetric_affinity belongs to afa, bmp, tscd",
    ),
    "background score": (
        "voc_rrm",
        "pseudo_label.low=0.1",
        "pseudo_label.low belongs to afa, bmp, i2crc, tscd, supervised",
    ),
    "propagation": (
        "voc_supervised",
        "pseudo_label.propagation_start=9",
        "pseudo_label.propagation_start belongs to afa, bmp, tscd",
    ),
    "schedule": (
        "voc_supervised",
        "training.classifier_steps=9",
        "training.classifier_steps belongs to afa, bmp, rrm, sgn, tscd",
    ),
    "kind of data": (
        "voc_tscd",
        "data.shapes.classes=3",
        "data.shapes belongs to data.kind shapes",
    ),
}
TERMS = {
    "term": ("voc_afa", "losses.s2c.weight=1", "losses.s2c belongs to bmp"),
    "option of a term": (
        "voc_tscd",
        "losses.segmentation.extra_scales=[0.5]",
        "losses.segmentation.extra_scales belongs to supervised",
    ),
    "labels of a term": (
        "voc_bmp",
        "losses.affinity.labels=propagated",
        "losses.affinity.labels belongs to afa",
    ),
}


def as_yaml(override):
    """The text of a file that says what ``--set`` says."""
    key, _, value = override.partition("=")
    parts = key.split(".")
    return "{" + ": {".join(parts) + f": {value}" + "}" * len(parts) + "\n"


@pytest.mark.parametrize("kind", FOREIGN | TERMS)
def test_foreign_keys_are_errors_that_say_whose_they_are(kind, write):
    config, override, says = (FOREIGN | TERMS)[kind]
    message = message_of(config, [ROOT, override])
    assert message.startswith(f"--set {override}: ") and message.endswith(f"; {says}")
    assert "unknown key" in message and "\n" not in message
    # In a file likewise, which is said to be wrong.
    values = merge(
        {"extends": config, "data": {"root": "photos"}}, yaml.safe_load(as_yaml(override))
    )
    path = write(yaml.safe_dump(values))
    message = message_of(path)
    assert message.startswith(f"{path}: ") and message.endswith(f"; {says}")


@pytest.mark.parametrize("kind", FOREIGN)
def test_foreign_keys_are_left_out_when_they_are_inherited(kind, write):
    config, override, _ = FOREIGN[kind]
    write(as_yaml(override), "shared.yaml")
    path = write(f"extends: [{config}, shared]\nname: {config}\n")
    assert load_config(path, [ROOT]) == load_config(config, [ROOT])


@pytest.mark.parametrize("kind", TERMS)
def test_loss_terms_are_never_left_out(kind, write):
    config, override, says = TERMS[kind]
    parent = write(as_yaml(override), "shared.yaml")
    message = message_of(write(f"extends: [{config}, shared]\n"), [ROOT])
    assert message.startswith(f"{parent}: ") and message.endswith(f"; {says}")


def test_what_is_no_key_at_all_is_an_error_when_it_is_inherited(write):
    parent = write("cam: {scale: [1.0]}\n", "shared.yaml")
    message = message_of(write("extends: [voc_tscd, shared]\n"), [ROOT])
    assert message.startswith(f"{parent}: cam.scale") and "did you mean cam.scales?" in message


# What the former version wrote into every run's file, beside what there still is.
FORMERLY = {
    "parity": False,
    "data": {"shapes": {"classes": 6}},
    "heads": {"object_gate": True, "symmetric_affinity": None},
    "cam": {"scales": [1.0, 0.5, 1.5]},
    "pseudo_label": {"refiner": None, "high": 0.55, "propagation": "none", "confidence": 0.5},
    "sgn": {"mix": 0.5},
}
OPTIONS = {"segmentation": {"extra_scales": []}, "affinity": {"labels": "cam"}}


@pytest.mark.parametrize("method", METHODS)
def test_a_run_of_before_can_be_read_and_is_the_same_run(method, tmp_path):
    """Then all methods had all keys, and null was the refiner of a method that takes its own."""
    config = load_config(f"voc_{method}", [ROOT])
    own = config.model_dump(mode="json")
    own["losses"] = {
        name: OPTIONS.get(name, {}) | term | {"start_step": config.start_of(name)}
        for name, term in own["losses"].items()
    }
    old = merge(merge(FORMERLY, own), {"pseudo_label": {"refiner": None}})
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old, sort_keys=False))
    assert stage_digests(load_run_config(tmp_path)) == stage_digests(config)
    with pytest.raises(ConfigError, match="sgn.mixx: unknown key|sgn belongs to sgn"):
        load_run_config(tmp_path, ["sgn.mixx=1"])
    # A term is no option of one.
    old["losses"]["odd"] = {"weight": 1.0}
    (tmp_path / "config.yaml").write_text(yaml.safe_dump(old, sort_keys=False))
    with pytest.raises(ConfigError, match="losses.odd: unknown key"):
        load_run_config(tmp_path)


def test_a_stage_of_another_method_leaves_out_what_is_foreign_to_it(write):
    second = "{method: supervised, losses: {energy: null, segmentation: {weight: 1}}%s}"
    own = MINIMAL + "pseudo_label: {propagation_start: 9, high: 0.6}\nstages: {one: {}, two: %s}\n"
    (_, one), (_, two) = stage_configs(load_config(write(own % second % "")))
    assert one.pseudo_label.propagation_start == 9
    assert two.pseudo_label.high == 0.6 and not hasattr(two.pseudo_label, "propagation_start")
    message = message_of(write(own % second % ", pseudo_label: {propagation: none}"))
    assert (
        "stage two: pseudo_label.propagation" in message and "belongs to afa, bmp, tscd" in message
    )


# ---- data set and method ---------------------------------------------------------------------


def test_data_and_method_need_no_file_of_their_own(write):
    assert not (CONFIGS / "voc_tscd.yaml").exists()
    joined = load_config("voc_tscd", [ROOT])
    assert joined == load_config(write("extends: [tscd, voc]\nname: voc_tscd\n"), [ROOT])
    assert joined.name == "voc_tscd" and joined.method == "tscd" and joined.data.kind == "voc"


FARM = """
extends: animals5
data: {train_list: train_farm, crop_size: 160, classes: [cow, horse, sheep]}
pseudo_label: {high: 0.5, low: 0.1, propagation_start: 240}
sgn: {mix_start: 240, mix_end: 360}
"""


def test_data_of_ones_own_goes_with_every_method(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(FARM, "my_farm.yaml")
    for method in METHODS:
        config = load_config(f"my_farm_{method}", [ROOT])
        assert (config.name, config.method) == (f"my_farm_{method}", method)
        assert config.data.train_list == "train_farm" and config.data.crop_size == 160
    assert load_config("my_farm_bmp", [ROOT]).pseudo_label.low == 0.1
    assert not hasattr(load_config("my_farm_sgn", [ROOT]), "pseudo_label")
    # From elsewhere by path, and as the parent of a file beside it.
    child = write("extends: my_farm_rrm\nseed: 5\n")
    monkeypatch.chdir("/")
    assert load_config(tmp_path / "my_farm_tscd", [ROOT]).name == "my_farm_tscd"
    config = load_config(child, [ROOT])
    assert (config.method, config.seed, config.data.crop_size) == ("rrm", 5, 160)


@pytest.mark.parametrize("method", METHODS)
def test_photographs_go_with_every_method(method):
    """`photos` is a configuration, of BMP, and a data set."""
    config = load_config(f"photos_{method}", [ROOT])
    assert config.method == method and config.data.kind == "photos"
    twin = load_config(f"animals5_{method}", [ROOT])
    assert config.losses == twin.losses
    assert (config.training.recipe_steps, twin.training.steps) == (480, 480)
    bmp = load_config("photos", [ROOT])
    assert (config.data, config.training.epochs) == (bmp.data, 16)
    if method == "bmp":
        assert config == bmp.model_copy(update={"name": "photos_bmp"})
    else:
        message = message_of("photos", [ROOT, f"method={method}"])
        assert "\n" not in message and f"`--config photos_{method}`" in message


def test_another_method_in_a_file_is_one_message(write):
    path = write("extends: animals5_bmp\nmethod: afa\n")
    message = message_of(path, [ROOT])
    assert message.startswith(f"{path}: method: value 'afa'; allowed: bmp, since afa has no")
    terms = ["losses.c2s=null", "losses.s2c=null", "pseudo_label.propagation=none"]
    assert load_config(path, [ROOT, *terms]).method == "afa"


def test_a_file_for_both_comes_before_data_and_method(write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(FARM, "my_farm.yaml")
    write("extends: [tscd, my_farm]\nseed: 7\n", "my_farm_tscd.yaml")
    assert load_config("my_farm_tscd", [ROOT]).seed == 7


@pytest.mark.parametrize("name", ["my_farm_tsdc", "my_frm_tscd", "my_farm", "tscd_my_farm"])
def test_unknown_data_or_method_is_one_message(name, write, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write(FARM, "my_farm.yaml")
    message = message_of(name, [ROOT])
    assert "\n" not in message
    # A file with data alone is found, and lacks a method.
    wanted = "method: value None" if name == "my_farm" else f"{name}: neither a file nor"
    assert wanted in message


# ---- when terms begin ------------------------------------------------------------------------


def test_what_learns_from_the_network_waits_for_the_classifier():
    config = load_config("shapes_bmp", ["training.classifier_steps=77"])
    starts = {term: config.start_of(term) for term in config.losses}
    assert starts == {"classification": 0, "c2s": 77, "s2c": 77, "affinity": 77}
    assert {term.start_step for term in config.losses.values()} == {None}
    # A term's own start comes first, 0 included.
    config = load_config("shapes_bmp", ["losses.c2s.start_step=0", "losses.s2c.start_step=90"])
    assert [config.start_of(term) for term in ("c2s", "s2c", "affinity")] == [0, 90, 200]


def test_what_comes_with_the_data_does_not_wait():
    relation = "losses.object_distance={weight: 0.01}"
    config = load_config("shapes_tscd", ["training.classifier_steps=77", relation])
    assert config.start_of("object_distance") == 0 and config.start_of("energy") == 77
    masks = load_config("shapes_supervised")
    assert masks.start_of("segmentation") == 0
    assert not hasattr(masks.training, "classifier_steps")


def test_classifier_steps_are_none_by_default(write):
    assert load_config(write(MINIMAL)).start_of("energy") == 0


def test_a_model_knows_when_its_terms_begin():
    """It has no section ``training`` to look it up in."""
    model = load_config("shapes_afa", ["losses.affinity.start_step=9"]).for_model()
    starts = {term: model.start_of(term) for term in model.losses}
    assert starts == {"classification": 0, "segmentation": 200, "affinity": 9}
    assert not hasattr(model, "training") and not hasattr(model, "data")


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("training.classifier_steps=460", ["value 460", "less than training.steps (460)"]),
        ("training.classifier_steps=-1", ["-1", "0 or more"]),
        ("losses.classification=null", ["losses", "0 for at least one term"]),
    ],
)
def test_classifier_steps_that_cannot_be(override, says):
    message = message_of("shapes_rrm", [override])
    assert all(part in message for part in says), message
    if "classifier_steps" in override:
        assert message.startswith(f"--set {override}: training.classifier_steps: ")


# ---- identity --------------------------------------------------------------------------------


def digest_of(*overrides, config="shapes_tscd"):
    return digest(load_config(config, overrides))


def declare(monkeypatch, method, **changes):
    """Replaces a method's declaration by a changed one."""
    changed = dataclasses.replace(METHODS[method], **changes)
    monkeypatch.setitem(METHODS._entries, method, changed)


class WiderCam(CamConfig):
    power: float = 1.0


class LabelledTerm(LossConfig):
    labels: str = "old"


class NewSection(Section):
    size: int = 3


class WiderData(DataConfig):
    rotate: float = 0.0


def test_new_keys_with_defaults_leave_all_runs_what_they_are(monkeypatch):
    before = {name: digest_of(ROOT, config=name) for name in ("voc_tscd", "voc_rrm")}
    tscd = METHODS["tscd"]
    declare(
        monkeypatch,
        "tscd",
        own_terms={**tscd.own_terms, "affinity": Term("affinity", ("label",), LabelledTerm)},
        sections={**tscd.sections, "cam": WiderCam, "new": NewSection},
    )
    wider = dataclasses.replace(registry.READERS["voc"], section=WiderData)
    monkeypatch.setitem(registry.READERS._entries, "voc", wider)
    assert {name: digest_of(ROOT, config=name) for name in before} == before
    spelled = ["cam.power=1.0", "new.size=3", "losses.affinity.labels=old", "data.rotate=0"]
    assert digest_of(ROOT, *spelled, config="voc_tscd") == before["voc_tscd"]
    for change in ("cam.power=2.0", "new.size=4", "losses.affinity.labels=new", "data.rotate=1"):
        assert digest_of(ROOT, change, config="voc_tscd") != before["voc_tscd"], change


def test_how_a_value_came_about_is_no_part_of_the_identity():
    """Named or by default, from one key or from another: the same training is the same run."""
    terms = ("segmentation", "affinity", "correspondence", "equivariance", "energy")
    starts = [f"losses.{term}.start_step=200" for term in terms]
    same = digest_of()
    assert digest_of(*starts) == same == digest_of(*starts, "training.classifier_steps=7")
    assert digest_of("optimizer.beta_2=0.999", "losses.classification.start_step=0") == same
    assert digest_of("pseudo_label.refiner=varm", "parity=false") == same
    for change in ("training.classifier_steps=199", "losses.energy.start_step=199"):
        assert digest_of(change) != same, change


def test_what_decides_nothing_is_no_part_of_the_identity():
    same = digest_of()
    for change in ("name=other", "data.root=a", "training.log_every=1", "training.threads=1"):
        assert digest_of(change) == same, change
    for change in ("seed=2", "data.flip=0", "training.mixed_precision=true", "losses.energy=null"):
        assert digest_of(change) != same, change
    assert digest(load_config("shapes_tscd"), "source") != same


@pytest.mark.parametrize("config", ["shapes_supervised", "shapes_i2crc"])
def test_sections_that_only_reports_read_do_not_count(config):
    changes = ["cam.scales=[1.0]", "pseudo_label.high=0.7", "pseudo_label.refiner=par"]
    for change in changes:
        own = load_config(config, [change])
        assert stage_digests(own) == stage_digests(load_config(config)), change
    other = load_config(config, ["seed=2"])
    assert not set(stage_digests(other).values()) & set(stage_digests(load_config(config)).values())
    for change in changes:
        assert digest_of(change) != digest_of(), change


def test_decisive_values_are_those_that_are_no_defaults(write):
    config = load_config(write(MINIMAL), ["seed=2", "losses.energy.start_step=5"])
    assert decisive(config) == {
        "data.kind": "shapes",
        "losses.classification.weight": 1.0,
        "losses.energy.start_step": 5,
        "losses.energy.stride": 2,
        "losses.energy.weight": 0.01,
        "method": "tscd",
        "seed": 2,
    }


def test_a_changed_default_that_is_listed_leaves_old_runs_what_they_are(monkeypatch):
    class OtherCam(CamConfig):
        scales: tuple[float, ...] = (1.0, 2.0)

    class OtherEnergy(LossConfig):
        stride: int = 8

    old = ["cam.scales=[1.0, 0.5, 1.5]", "losses.energy.stride=4"]
    before, with_new = digest_of(*old), digest_of("cam.scales=[1.0, 2.0]", "losses.energy.stride=8")
    tscd = METHODS["tscd"]
    declare(
        monkeypatch,
        "tscd",
        own_terms={**tscd.own_terms, "energy": Term("decoder", ("label",), OtherEnergy)},
        sections={**tscd.sections, "cam": OtherCam},
    )
    assert digest_of(*old) != before  # hence the list
    former = {"cam.scales": [1.0, 0.5, 1.5], "losses.energy.stride": 4}
    monkeypatch.setattr(identity, "FORMER_DEFAULTS", former)
    assert digest_of(*old) == before
    assert digest_of("cam.scales=[1.0, 2.0]", "losses.energy.stride=8") == with_new != before


DEFAULTS = Path(__file__).with_name("identity_defaults.json")


def deciding_defaults():
    """Method -> dotted key -> default, of the keys that are part of the identity."""
    found = {}
    for method in METHODS:
        ignored = (*METHODS[method].reported, "training")
        values = default_values(config_class(method, "voc"))
        values |= default_values(config_class(method, "shapes"))
        found[method] = {
            key: value
            for key, value in values.items()
            if key in identity.TRAINING
            or key.split(".")[0] not in ignored
            and key not in identity.INDIFFERENT
            and not key.endswith(".start_step")  # the step itself is; its default is 0
        }
    return found


def changed_defaults(now, recorded, former):
    """A line for each default that is not the recorded one, nor listed among the former ones.

    Args:
        now: :func:`deciding_defaults`.
        recorded: those of the first release that had the key: what all methods share under ``every
            method``, the rest under the method's name. A key that is gone stays there.
        former: ``FORMER_DEFAULTS``.
    """
    lines = []
    for method, values in now.items():
        known = recorded["every method"] | recorded.get(method, {})
        for key, value in values.items():
            if key not in known:
                lines.append(f"{method}: {key} is new: add {value!r} to {DEFAULTS.name}")
            elif (values | former)[key] != known[key]:
                lines.append(
                    f"{method}: {key}: the default was {known[key]!r} and is {value!r}: list the "
                    "first one in FORMER_DEFAULTS (keras_wsss/config/identity.py)"
                )
    return lines


def test_defaults_of_the_identity_are_recorded():
    """A changed default would make other runs of old ones, and old ones of other runs."""
    recorded = json.loads(DEFAULTS.read_text())
    lines = changed_defaults(deciding_defaults(), recorded, identity.FORMER_DEFAULTS)
    assert not lines, "\n".join(lines)


def test_a_changed_default_is_noticed(monkeypatch):
    class OtherCam(CamConfig):
        scales: tuple[float, ...] = (1.0,)
        power: float = 1.0

    declare(monkeypatch, "tscd", sections={**METHODS["tscd"].sections, "cam": OtherCam})
    recorded = json.loads(DEFAULTS.read_text())
    lines = changed_defaults(deciding_defaults(), recorded, {})
    assert lines == [
        "tscd: cam.scales: the default was [1.0, 0.5, 1.5] and is [1.0]: list the first one in "
        "FORMER_DEFAULTS (keras_wsss/config/identity.py)",
        f"tscd: cam.power is new: add 1.0 to {DEFAULTS.name}",
    ]
    # Listed, it is right.
    former = {"cam.scales": [1.0, 0.5, 1.5]}
    assert changed_defaults(deciding_defaults(), recorded, former) == lines[1:]


# ---- methods of one's own --------------------------------------------------------------------


class ContrastConfig(LossConfig):
    margin: float = 0.5


class OwnLabel(PseudoLabelConfig):
    refiner: str = "par"


def own_declaration(**terms):
    terms = {"contrast": Term("decoder", ("label",), ContrastConfig), **terms}
    sections = {"cam": CamConfig, "pseudo_label": OwnLabel}
    return Method("mine", "no_such_module:Mine", terms, sections)


@pytest.fixture
def own_method():
    registry.register_method("mine", own_declaration())
    yield MINIMAL.replace("method: tscd", "method: mine").replace("energy", "contrast")
    METHODS.unregister("mine")


def test_a_method_of_ones_own_is_checked_like_ours(own_method, write):
    path = write(own_method.replace(", stride: 2", ", margin: 0.25"))
    config = load_config(path)
    assert config.method == "mine" and config.pseudo_label.refiner == "par"
    assert config.losses["contrast"] == ContrastConfig(weight=0.01, margin=0.25)
    assert type(config).model_validate(config.model_dump(mode="json")) == config
    assert "losses.contrast.margin" in known_keys()
    assert "did you mean losses.contrast.margin?" in message_of(path, ["losses.contrast.margn=1"])
    assert "did you mean mine?" in message_of(path, ["method=mein"])
    assert "losses.energy belongs to" in message_of(path, ["losses.energy.weight=1"])
    assert "tscd has no losses.contrast" in message_of(path, ["method=tscd"])
    assert load_config(path, ["training.classifier_steps=9"]).start_of("contrast") == 9
    registry.register_method("mine", own_declaration())  # as when a notebook's cell is run again
    assert load_config(path).losses == config.losses


def test_a_method_of_ones_own_can_be_registered_anew_with_other_terms(own_method, write):
    path = write(own_method.replace(", stride: 2", ""))
    energy = Term("decoder", ("label",), ContrastConfig)
    registry.register_method("mine", own_declaration(energy=energy))
    # A term of one of our names has the settings that the method gives it, there alone.
    options = ["losses.energy={weight: 1, margin: 2}"]
    assert load_config(path, options).losses["energy"] == ContrastConfig(weight=1, margin=2)
    assert "losses.energy.stride belongs to" in message_of(path, ["losses.energy.stride=1"])
    assert "energy.margin belongs to mine" in message_of("shapes_tscd", ["losses.energy.margin=2"])


def test_a_method_of_ones_own_cannot_take_our_names():
    with pytest.raises(ConfigError, match="method tscd: is one of the library's"):
        registry.register_method("tscd", own_declaration())
    METHODS.unregister("tscd")  # nor take them away
    assert METHODS["tscd"].name == "tscd"


def test_a_method_of_ones_own_says_what_does_not_go_together(own_method, write):
    class Spread(PropagatedLabelConfig):
        refiner: str = "par"

    sections = {"cam": CamConfig, "pseudo_label": Spread}
    changed = dataclasses.replace(own_declaration(), sections=sections, check=check_propagation)
    registry.register_method("mine", changed)
    path = write(own_method.replace(", stride: 2", ""))
    says = "pseudo_label.propagation: .*'random_walk'; allowed: none, or .*losses.affinity"
    with pytest.raises(ConfigError, match=says):
        load_config(path, ["pseudo_label.propagation=random_walk"])


# ---- other things of one's own ---------------------------------------------------------------


class AlbumConfig(DataConfig):
    pages: int = 4


@pytest.fixture
def own_things():
    """A backbone, a decoder and a reader; a configuration names them and does not run them."""
    registry.register_backbone("my_net", lambda **options: None)
    registry.register_decoder("my_decoder", lambda **options: None)
    reader = Reader(lambda *arguments, **options: None, section=AlbumConfig, needs_root=False)
    registry.register_reader("album", reader)
    yield
    registry.BACKBONES.unregister("my_net")
    registry.DECODERS.unregister("my_decoder")
    registry.READERS.unregister("album")


NAMED = {"backbone.name": "my_net", "heads.decoder": "my_decoder", "data.kind": "album"}


@pytest.mark.parametrize("key", NAMED)
def test_registered_names_are_accepted_and_others_are_not(key, own_things, write):
    path, section, name = write(MINIMAL), *key.split(".")
    config = load_config(path, [f"{key}={NAMED[key]}"])
    assert getattr(getattr(config, section), name) == NAMED[key]
    assert load_config(write(config.to_yaml(), "again.yaml")) == config
    message = message_of(path, [f"{key}={NAMED[key]}s"])
    assert message.startswith(f"--set {key}={NAMED[key]}s: {key}: value '{NAMED[key]}s'; allowed: ")
    assert message.endswith(f"; did you mean {NAMED[key]}?") and "\n" not in message


@pytest.mark.parametrize("key", NAMED)
def test_names_that_are_not_registered_are_refused(key, write):
    message = message_of(write(MINIMAL), [f"{key}={NAMED[key]}"])
    assert f"{key}: value '{NAMED[key]}'; allowed: '" in message


def test_a_reader_of_ones_own_may_have_keys_of_its_own(own_things, write):
    path = write(MINIMAL.replace("shapes", "album, pages: 7"))
    assert load_config(path).data.pages == 7 and "data.pages" in known_keys()
    assert "did you mean data.pages?" in message_of(path, ["data.page=1"])
    says = "data.pages belongs to data.kind album"
    assert says in message_of(write(MINIMAL, "other.yaml"), ["data.pages=1"])
    assert "data.shapes belongs to data.kind shapes" in message_of(path, ["data.shapes.seed=1"])


@pytest.mark.parametrize("name", ["METHODS", "BACKBONES", "DECODERS", "READERS", "FORMATS"])
def test_names_of_the_library_stay_its_own(name):
    registered = getattr(registry, name)
    for ours in registered:
        with pytest.raises(ConfigError, match=f"{ours}: is one of the library's"):
            registered.register(ours, object())
    with pytest.raises(ConfigError, match=f"'{ours}x': not known; known: .*did you mean {ours}?"):
        registered[f"{ours}x"]


# ---- before TensorFlow -----------------------------------------------------------------------


def without_tensorflow(code):
    check = "; import sys; sys.exit(sorted({'tensorflow', 'keras'} & set(sys.modules)) or None)"
    return subprocess.run(
        [sys.executable, "-c", code + check], capture_output=True, text=True, cwd=REPOSITORY
    )


@pytest.mark.parametrize(
    "code",
    [
        "import keras_wsss",
        "import keras_wsss.config, keras_wsss.errors",
        "from keras_wsss import load_config; load_config('shapes_tscd')",
        "import contextlib; from keras_wsss import WSSSError, load_config\n"
        "with contextlib.suppress(WSSSError): load_config('shapes_tscd', ['data.rot=x'])\n"
        "pass",
        "import keras_wsss.train, keras_wsss.evaluate",
        "import keras_wsss.__main__, importlib\n"
        "for name in keras_wsss.__main__.COMMANDS:\n"
        "    importlib.import_module(f'keras_wsss.commands.{name}'.replace('import', 'import_'))",
        "import contextlib; from keras_wsss.train import main\n"
        "with contextlib.suppress(SystemExit):\n"
        "    main(['--config', 'photos', '--set', 'data.root=nowhere'])\n"
        "pass",
    ],
)
def test_tensorflow_is_not_imported(code):
    result = without_tensorflow(code)
    assert result.returncode == 0, result.stderr


def test_command_prints_one_message_without_traceback():
    code = (
        "from keras_wsss.train import main\n"
        "try: main(['--config', 'shapes_tscd', '--set', 'data.crop_siz=5'])\n"
        "except SystemExit as end: assert end.code == 2\n"
        "pass"
    )
    result = without_tensorflow(code)
    assert result.returncode == 0, result.stderr
    assert result.stderr.count("\n") == 1 and "did you mean data.crop_size?" in result.stderr


@pytest.mark.parametrize(
    ("config", "override", "expected"),
    [
        ("voc_afa", "losses.s2c.weight=1", "losses.s2c: .*the keys classification, .*segmentation"),
        ("voc_afa", "pseudo_label.refiner=crf", "pseudo_label.refiner: .*allowed: 'par' or 'varm'"),
        (
            "voc_afa",
            "pseudo_label.propagation=background_aware",
            "pseudo_label.propagation: .*'none', 'random_walk' or 'affinity_processing'",
        ),
        ("voc_bmp", "pseudo_label.propagation_start=20000", "less than training.steps"),
        ("voc_tscd", "losses.segmentation.extra_scales=[0.5]", "belongs to supervised"),
        ("voc_afa", "losses.affinity=null", "pseudo_label.propagation: .*with losses.affinity"),
        ("voc_bmp", "losses.affinity.labels=propagated", "affinity.labels: .*belongs to afa"),
        ("coco_afa", "pseudo_label.propagation=none", "affinity.labels: .*cam; .*is for a conf"),
        ("voc_sgn", "parity=true", "parity: value True; allowed: false; sgn has no released code"),
        ("voc_sgn", "training.steps=8000", "sgn.mix_start: .*less than training.steps"),
        ("voc_tscd", "losses.classification.start_step=9", "losses: .*allowed: 0 for at least one"),
        ("voc_tscd", "backbone.name=keras_model", "a registered name; .*register_backbone"),
        ("voc_tscd", "backbone.name=resnet18", "or 'resnet101'; did"),  # all that a file can name
    ],
)
def test_what_a_method_does_not_have_is_named(config, override, expected):
    with pytest.raises(ConfigError, match=expected) as error:
        load_config(config, ["data.root=.", override])
    assert "\n" not in str(error.value)


# ---- documentation ---------------------------------------------------------------------------


def test_every_key_is_documented():
    text = (REPOSITORY / "docs/configuration.md").read_text()
    missing = [key for key in known_keys() if f"`{key}`" not in text]
    assert not missing


def test_losses_of_methods_are_known_terms():
    terms = {key.split(".")[1] for key in known_keys() if key.startswith("losses.")}
    assert terms == {term for method in METHODS for term in METHODS[method].terms}
    relation = {"object_distance", "background_distance", "class_distance"}
    assert all(relation < set(METHODS[method].terms) for method in METHODS)
