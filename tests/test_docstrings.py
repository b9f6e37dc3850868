"""Every example of every docstring runs, and every public name has one."""

import contextlib
import doctest
import functools
import importlib
import inspect
import pkgutil
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from conftest import tiny_config
from data_folder import photograph, write_voc
from PIL import Image
from test_data_coco import write_coco as write_instances
from test_data_saliency import make_model
from test_photos import CVAT, write_cvat_masks, write_photos

import keras_wsss
from examples.make_photos import write_coco, write_label_studio, write_table
from keras_wsss import registry
from keras_wsss.data.photos.importing import import_photos
from keras_wsss.export import Metadata, export_run
from keras_wsss.export.onnx_file import write_onnx
from keras_wsss.training import train

pytestmark = pytest.mark.usefixtures("eager")  # tracing would take longer than computing

MODULES = sorted(
    found.name
    for found in pkgutil.walk_packages(keras_wsss.__path__, "keras_wsss.")
    if not found.name.endswith("__main__")
)
# What is public in them: ``__all__``, or what a module defines itself.
PUBLIC = [
    "keras_wsss",
    *(
        f"keras_wsss.{name}"
        for name in (
            "backbones config data errors export heads inference losses methods metrics optimizers "
            "palette pictures prediction registry training"
        ).split()
    ),
    *(name for name in MODULES if name.startswith("keras_wsss.ops.") and "._" not in name),
]
OPTIONS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE
SHORT = {"np": np, "keras": keras, "ops": keras.ops, "wsss": keras_wsss, "Path": Path}
TINY = (
    "data.crop_size=64",
    "data.shapes.image_size=64",
    "data.shapes.train_images=2",
    "data.shapes.val_images=1",
    "cam.scales=[1.0]",
    "pseudo_label.iterations=1",
    "optimizer.warmup_steps=1",
    "training.steps=2",
    "training.validate_every=2",
    "training.log_every=1",
)


@pytest.fixture(scope="module")
def things(eager, tmp_path_factory):
    """A folder with what the examples name: photographs, data sets, a run, its export."""
    folder = tmp_path_factory.mktemp("docstrings")
    with contextlib.chdir(folder):
        write_photographs()
        train(tiny_config(*TINY, config="shapes_supervised", start=1), "runs/demo")
        export_run("runs/demo", "exported", ["weights"], name="demo", images=1, speed=False)
        write_onnx_file(Path("exported/onnx/demo.onnx"))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keras_wsss, "load", functools.cache(keras_wsss.load))  # a dozen ask for it
        yield folder


def write_photographs():
    """Cats and dogs in the layouts that are read."""
    Image.fromarray(photograph(0, 48, 64)).save("photo.jpg")
    Image.fromarray(np.ones((48, 64), np.uint8)).save("mask.png")
    names = [f"{kind}/{number}.jpg" for kind in ("cat", "dog") for number in range(1, 5)]
    import_photos(write_photos(Path("photos"), *names), Path("my_set"))
    tagged = [("1.jpg", photograph(1), ["cat"]), ("2.jpg", photograph(2), ["cat", "dog"])]
    write_table(Path("table"), tagged)
    write_coco(Path("coco"), tagged, ("cat", "dog"))
    write_label_studio(Path("label-studio"), tagged)
    write_photos(Path("yolo"), "images/1.jpg", "images/2.jpg")
    Path("yolo/labels").mkdir()
    Path("yolo/labels/1.txt").write_text("0 .5 .5 .1 .1\n")
    Path("yolo/data.yaml").write_text("train: images\nnames: [cat, dog]\n")
    write_photos(Path("cvat"), "images/1.jpg", "images/sub/2.jpg", "images/3.jpg", "images/4.jpg")
    Path("cvat/annotations.xml").write_text(CVAT)
    Path("cvat_masks").mkdir()
    write_cvat_masks(Path("cvat_masks"))
    write_voc(Path("VOC2012"))
    Path("VOC2012/Annotations").mkdir()
    Path("VOC2012/Annotations/image_0.xml").write_text(
        "<annotation><object><name>cat</name></object></annotation>"
    )
    Path("coco2014").mkdir()
    write_instances(Path("coco2014"))
    make_model("u2netp.onnx")


def write_onnx_file(path):
    """What an export holds, of colours in place of a network: converting one takes long."""

    def colours(images):
        logits = tf.concat([images, images, images[..., :1]], axis=-1)
        return {
            "class_map": tf.cast(tf.argmax(logits, axis=-1), tf.uint8),
            "logits": logits,
            "image_logits": tf.reduce_mean(logits[..., 1:], axis=(1, 2)),
        }

    path.parent.mkdir()
    text = Path("exported/weights/demo/metadata.json").read_text()
    write_onnx(colours, path, Metadata.model_validate_json(text))


def examples(module):
    """The doctests of a module, each with the module's names and a few short ones."""
    names = SHORT | vars(module)
    finder = doctest.DocTestFinder(exclude_empty=True)
    return [test for test in finder.find(module, globs=names) if test.examples]


@pytest.mark.parametrize("name", ["keras_wsss", *MODULES])
def test_examples_run(name, things, monkeypatch):
    monkeypatch.chdir(things)
    for known in vars(registry).values():  # examples may add to them
        if isinstance(known, registry.Registry):
            monkeypatch.setattr(known, "_entries", dict(known._entries))
    told = []
    runner = doctest.DocTestRunner(optionflags=OPTIONS, verbose=False)
    for test in examples(importlib.import_module(name)):
        runner.run(test, out=told.append)
    if runner.failures:
        pytest.fail("".join(told), pytrace=False)


def public_names():
    """Address -> thing, each once: a package may hand on what another one defines."""
    things = {}
    for name in PUBLIC:
        module = importlib.import_module(name)
        own = [key for key, value in vars(module).items() if defined_in(value, module)]
        for key in getattr(module, "__all__", own):
            value = getattr(module, key)
            if inspect.isclass(value) or inspect.isroutine(value):
                address = f"{value.__module__}.{key}"
                things[address] = value
    return things


def defined_in(value, module):
    named = getattr(value, "__name__", "_")
    return callable(value) and not named.startswith("_") and value.__module__ == module.__name__


def test_every_public_name_has_an_example():
    names = public_names()
    assert len(names) > 150
    without = [name for name, value in names.items() if ">>> " not in (value.__doc__ or "")]
    assert not without, f"no example: {', '.join(without)}"
