"""What a configuration file may say, and the one message for what it may not."""

import math
import subprocess
import sys
from pathlib import Path

import pydantic
import pytest

from keras_wsss import config as configuration
from keras_wsss.config import (
    METHOD_LOSSES,
    RELATION_LOSSES,
    Config,
    LossConfig,
    Losses,
    allow_method,
    known_keys,
    load_config,
    merge,
    shipped_configs,
)
from keras_wsss.errors import ConfigError

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


@pytest.mark.parametrize("name", shipped_configs())
def test_shipped_configurations_load_and_state_their_claim(name):
    config = load_config(name, [ROOT])
    assert config.name == name and config.method in METHOD_LOSSES
    head = (REPOSITORY / "configs" / f"{name}.yaml").read_text().split("\n\n")[0]
    for claim in ("Command:", "Hardware:", "Time:", "Scores:", f"--config {name}"):
        assert claim in head, claim


def test_issue_promises_these_configurations():
    assert {"shapes_tscd", "voc_tscd", "coco_tscd", "animals5_tscd"} <= set(shipped_configs())
    assert not any(name.endswith("_base") for name in shipped_configs())


@pytest.mark.parametrize(
    ("name", "steps", "start", "batch", "validate"),
    [("voc_tscd", 20000, 2001, 4, 2000), ("coco_tscd", 80000, 5001, 8, 5000)],
)
def test_published_recipe(name, steps, start, batch, validate):
    """tscd.md, sections 2.1, 3.2, 3.8 and 5."""
    config = load_config(name, [ROOT])
    weights = {term: settings.weight for term, settings in config.losses.items()}
    starts = {term: settings.start_step for term, settings in config.losses.items()}
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
    assert (label.refiner, label.iterations, label.high, label.low) == (None, 10, 0.55, 0.35)
    assert config.backbone.strides == (4, 2, 2, 1) and config.backbone.name == "mit_b1"
    assert config.seed == 1 and not config.parity


@pytest.mark.parametrize(
    ("name", "images", "epochs", "drops", "segmentation"),
    [("voc_i2crc", 10582, 30, (5, 10), 20000), ("coco_i2crc", 82081, 6, (2, 4), 40000)],
)
def test_published_recipe_of_i2crc(name, images, epochs, drops, segmentation):
    """i2crc.md, sections 3, 5 and 6, and check list row 10."""
    (_, classifier), (_, first), (_, second) = load_config(name, [ROOT]).stage_configs()
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


@pytest.mark.parametrize("data", ["shapes", "animals5", "voc20"])
def test_supervised_twin_differs_in_the_objective_alone(data):
    weak = load_config(f"{data}_tscd", [ROOT]).model_dump(exclude={"name", "method", "losses"})
    full = load_config(f"{data}_supervised", [ROOT])
    assert full.model_dump(exclude={"name", "method", "losses"}) == weak
    assert full.method == "supervised" and set(full.losses) == {"classification", "segmentation"}
    assert full.losses["segmentation"].start_step == 0


@pytest.mark.parametrize("name", [n for n in shipped_configs() if n.startswith("voc20_")])
def test_voc20_is_animals5_with_other_data(name):
    """One recipe a method on the photographs: data, length and background scores differ."""
    config = load_config(name, [ROOT])
    twin = load_config(name.replace("voc20", "animals5"), [ROOT])
    ignored = {"name": True, "data": True, "training": True, "pseudo_label": {"high", "low"}}
    assert config.model_dump(exclude=ignored) == twin.model_dump(exclude=ignored)
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
    (one, first), (two, second) = config.stage_configs()
    assert (one, two) == ("first", "second")
    assert first.training.steps == 3000 and first.seed == 1 and not first.stages
    assert second.training.steps == 20000 and second.seed == 7


def test_single_stage(write):
    config = load_config(write(MINIMAL))
    assert config.stage_configs() == [("", config)]


@pytest.mark.parametrize("name", shipped_configs())
def test_yaml_round_trip(name, tmp_path):
    config = load_config(name, [ROOT])
    (tmp_path / "config.yaml").write_text(config.to_yaml())
    assert Config.from_run(tmp_path) == config
    assert Config.from_run(tmp_path, ["seed=4"]).seed == 4
    assert Config.model_validate(config.model_dump(mode="json")) == config


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
    "word for number": ("data.batch_size=four", ["data.batch_size", "'four'", "integer"]),
    "fraction for count": ("data.batch_size=2.5", ["data.batch_size", "2.5", "integer"]),
    "yes for number": ("data.batch_size=true", ["data.batch_size", "True", "integer"]),
    "number for yes": ("parity=1", ["parity", "1", "boolean"]),
    "number for name": ("data.train_list=2014", ["data.train_list", "2014", "string"]),
    "scalar for section": ("data=5", ["data", "5", "mapping"]),
    "section for scalar": ("seed.x=1", ["seed", "{'x': 1}", "integer"]),
    "list too short": ("data.scale=[1]", ["data.scale.1"]),
    "list too long": ("backbone.strides=[4,2,2,1,1]", ["backbone.strides", "at most 4"]),
    "empty list": ("cam.scales=[]", ["cam.scales", "[]", "at least 1"]),
    "unknown method": ("method=tsdc", ["method", "'tsdc'", "'supervised'", "mean tscd?"]),
    "unknown backbone": ("backbone.name=mit-b1", ["backbone.name", "mit_b5", "mean mit_b1?"]),
    "unknown xla": ("training.xla=gpu", ["training.xla", "'auto', True or False"]),
    "not a number": ("optimizer.learning_rate=.nan", ["learning_rate", "nan", "finite"]),
    "infinite": ("losses.energy.weight=.inf", ["losses.energy.weight", "inf", "finite"]),
    "negative": ("optimizer.weight_decay=-1", ["weight_decay", "-1", "greater than or equal to 0"]),
    "crop": ("data.crop_size=100", ["data.crop_size", "100", "multiple of 32"]),
    "probability": ("data.flip=1.5", ["data.flip", "1.5", "less than or equal to 1"]),
    "reversed scale": ("data.scale=[2, 0.5]", ["data.scale", "[2.0, 0.5]", "[smallest, largest]"]),
    "class twice": ("data.classes=[cat, cat]", ["data.classes", "['cat', 'cat']", "once"]),
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
    "loss of another method": ("method=supervised", ["losses.energy", "terms of supervised"]),
    "no losses": ("losses=null", ["losses", "None", "mapping"]),
    "no value": ("seed", ["key.path=value"]),
    "no key": ("=5", ["key.path=value"]),
    "broken YAML": ("data.classes=[cat", ["data.classes", "YAML"]),
}


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
    if kind not in ("no root", "loss of another method"):
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
        Config.from_run(tmp_path)


def test_binary_file_is_one_message(tmp_path):
    path = tmp_path / "photo.yaml"
    path.write_bytes(b"\xff\xd8\xff\xe0JFIF")
    assert str(path) in message_of(path)


# ---- methods of one's own --------------------------------------------------------------------


class ContrastConfig(LossConfig):
    margin: float = 0.5


@pytest.fixture
def own_method(monkeypatch):
    for name in ("METHOD_LOSSES", "METHOD_REFINERS", "METHOD_PROPAGATIONS"):
        monkeypatch.setattr(configuration, name, dict(getattr(configuration, name)))
    allow_method("mine", {"classification": None, "contrast": ContrastConfig})
    yield MINIMAL.replace("method: tscd", "method: mine").replace("energy", "contrast")
    del Losses.__annotations__["contrast"]
    Config.model_rebuild(force=True)


def test_a_method_of_ones_own_is_checked_like_ours(own_method, write):
    path = write(own_method.replace(", stride: 2", ", margin: 0.25"))
    config = load_config(path)
    assert config.method == "mine" and config.refiner == "par"
    assert config.losses["contrast"] == ContrastConfig(weight=0.01, margin=0.25)
    assert Config.model_validate(config.model_dump(mode="json")) == config
    assert "losses.contrast.margin" in known_keys()
    assert "did you mean losses.contrast.margin?" in message_of(path, ["losses.contrast.margn=1"])
    assert "did you mean mine?" in message_of(path, ["method=mein"])
    assert "terms of mine" in message_of(path, ["losses.energy.weight=1"])
    assert "terms of tscd" in message_of(path, ["method=tscd"])
    allow_method("mine", {"classification": None})  # as when a notebook's cell is run again


@pytest.mark.parametrize(
    ("name", "losses", "says"),
    [
        ("tscd", {"classification": None}, "method tscd: is one of the library's"),
        ("mine", {"energi": None}, "energi: not known; .*did you mean energy?"),
        ("mine", {"energy": LossConfig}, "energy: is the library's"),
    ],
)
def test_a_method_of_ones_own_cannot_take_our_names(name, losses, says):
    with pytest.raises(ConfigError, match=says):
        allow_method(name, losses)


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
        ("voc_afa", "losses.s2c.weight=1", "losses.s2c: .*the terms of afa: classification, seg"),
        ("voc_afa", "pseudo_label.refiner=crf", "pseudo_label.refiner: .*the refiners of afa: par"),
        (
            "voc_afa",
            "pseudo_label.propagation=background_aware",
            "pseudo_label.propagation: .*the propagations of afa: none, random_walk",
        ),
        ("voc_bmp", "pseudo_label.propagation_start=20000", "less than training.steps"),
        ("voc_tscd", "losses.segmentation.extra_scales=[0.5]", "but for supervised"),
        ("voc_afa", "losses.affinity=null", "pseudo_label.propagation: .*with losses.affinity"),
        ("voc_bmp", "losses.affinity.labels=propagated", "affinity.labels: .*cam; .*for afa with"),
        ("voc_tscd", "losses.classification.start_step=9", "losses: .*allowed: 0 for at least one"),
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
    assert terms == {term for names in METHOD_LOSSES.values() for term in names} | set(
        RELATION_LOSSES
    )
