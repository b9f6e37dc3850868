"""What a person who knows Keras types in a notebook works, or is refused in one sentence."""

import subprocess
import sys
import warnings

import keras
import numpy as np
import pytest
import tensorflow as tf

import keras_wsss as wsss
from keras_wsss.errors import ConfigError, DataError, TrainingError
from keras_wsss.methods import labeller

SHAPES = {"train_images": 8, "val_images": 2, "image_size": 64, "classes": 2}
SMALL = {
    "backbone": "mit_tiny",
    "weights": None,
    "heads": {"embedding_dim": 16, "dropout": 0.0},
}


@pytest.fixture(scope="module")
def data():
    return wsss.data.load(kind="shapes", masks=True, shapes=SHAPES)


@pytest.fixture(autouse=True)
def refinement_without_xla(monkeypatch):
    monkeypatch.setattr(labeller, "_compiled", lambda function: function)


def supervised(data, **options):
    """The method whose steps are cheapest."""
    return wsss.Supervised(classes=data[0].class_names, **{**SMALL, **options})


def batches(data, masks=True, **options):
    return data[0].batches(crop=64, batch_size=2, masks=masks, **options)


# ---- construction ----------------------------------------------------------------------------


def test_what_is_not_said_is_the_published_recipe():
    model = wsss.BMP(classes=3, pseudo_label={"high": 0.4, "low": 0.2}, **SMALL)
    published = wsss.load_config("voc_bmp", ["data.root=."])
    label = model.settings.pseudo_label
    assert (label.high, label.low, label.propagation) == (0.4, 0.2, "background_aware")
    assert {name: term.weight for name, term in model.settings.losses.items()} == {
        name: term.weight for name, term in published.losses.items()
    }
    assert model.num_classes == 3 and model.class_names is None


def test_losses_replace_the_recipes():
    model = wsss.TSCD(classes=2, losses={"classification": {"weight": 1.0}}, **SMALL)
    assert set(model.settings.losses) == {"classification"}


def test_given_losses_wait_as_in_the_recipe():
    """One changed weight must not train the decoder on an untrained classifier's labels."""
    given = {"classification": {"weight": 1.0}, "c2s": {"weight": 0.5}}
    model = wsss.BMP(classes=2, losses=given, **SMALL)
    model.compile("adam", steps=200)
    assert model.schedule.starts == {"classification": 0, "c2s": 20}
    with pytest.raises(ConfigError, match="c2s would begin at step 200; allowed: less than the 10"):
        model.compile("adam", steps=100, classifier_steps=200)
    with pytest.raises(ConfigError, match="losses: "):
        wsss.BMP(classes=2, losses={}, **SMALL)


def test_numbers_of_numpy_are_numbers():
    assert wsss.BMP(classes=2, seed=np.int64(3), **SMALL).settings.seed == 3


def test_an_untrained_decoder_gives_no_masks():
    model = wsss.I2CRC(classes=2, **SMALL)
    with pytest.raises(ConfigError, match="no loss term teaches its decoder"):
        model.segment(np.zeros((64, 64, 3)))


@pytest.mark.parametrize(
    ("method", "options", "says"),
    [
        ("BMP", {"backbone": "mit-b1"}, "backbone.name: value 'mit-b1'.*did you mean mit_b1"),
        ("BMP", {"pseudo_label": {"hihg": 0.4}}, r"bmp\(...\): pseudo_label.hihg.*label.high"),
        ("TSCD", {"sgn": {"mix": 0}}, "sgn: unknown key.*belongs to sgn"),
        ("SGN", {"parity": True}, "parity: value True; allowed: false"),
        ("AFA", {"losses": {"s2c": {"weight": 1}}}, "losses.s2c: unknown key.*belongs to bmp"),
        ("TSCD", {"training": {"steps": 9}}, r"tscd\(training=...\): is no part of a model"),
        ("TSCD", {"data": {}}, r"data=.*say it in split.batches\(...\)"),
        ("TSCD", {"seed": 2**32}, "seed: value 4294967296; allowed: less than 4294967296"),
        ("TSCD", {"working_size": 0.5}, "working_size: value 0.5; allowed: a whole number"),
        ("TSCD", {"steps": -1}, "steps: value -1; allowed: 1 or more"),
        ("TSCD", {"cam": {"scales": np.array([1, -1])}}, "scales.1: value -1; allowed: more"),
    ],
)
def test_a_wrong_argument_is_one_message(method, options, says):
    with pytest.raises(ConfigError, match=says) as error:
        getattr(wsss, method)(classes=2, **{**SMALL, **options})
    assert "\n" not in str(error.value)


def test_weights_that_the_backbone_has_not_are_one_message():
    with pytest.raises(wsss.WSSSError, match="For a MiT backbone use hf://nvidia/mit-b0"):
        wsss.BMP(classes=2, backbone="mit_tiny").build()


# ---- compile ---------------------------------------------------------------------------------


def test_steps_bring_the_published_schedule_to_their_length():
    model = wsss.BMP(classes=2, **SMALL)
    model.compile(steps=200, learning_rate=1e-3)
    # Published: 20,000 steps, 1,500 of warm-up, the classifier alone for 2,001, BSP from 4,000 on.
    assert model.schedule.starts == {"classification": 0, "c2s": 20, "s2c": 20, "affinity": 20}
    assert model.schedule.events == {"propagation": 40}
    rate = model.optimizer._learning_rate
    assert (rate.learning_rate, rate.total_steps, rate.warmup_steps) == (1e-3, 200, 15)
    model.compile("sgd", steps=100, classifier_steps=30)
    assert model.schedule.starts["c2s"] == 30 and model.schedule.events == {"propagation": 20}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, "how many steps"),
        ({"optimizer": "adam", "loss": "mse"}, "loss=.*brings its own losses"),
        ({"optimizer": "adam", "metrics": ["accuracy"]}, "metrics=.*brings its own"),
        ({"optimizer": "adam", "learning_rate": 1.0}, "learning_rate=.*belongs to the paper's"),
        ({"steps": 0}, r"compile\(...\): steps: value 0; allowed: 1 or more"),
        ({"steps": 9.5}, "steps: value 9.5; allowed: a whole number"),
        ({"optimizer": "adam", "classifier_steps": -1}, "classifier_steps: value -1.* 0 or more"),
        ({"steps": 9, "classifier_steps": 1.5}, "classifier_steps: value 1.5; .*a whole number"),
        ({"steps": 9, "learning_rate": -1.0}, r"compile\(...\): learning_rate: value -1.0"),
    ],
)
def test_a_wrong_compile_is_one_message(data, options, says):
    with pytest.raises(ConfigError, match=says):
        supervised(data).compile(**options)


def test_a_loss_in_its_usual_place_is_refused(data):
    with pytest.raises(ConfigError, match="loss=.*brings its own losses"):
        supervised(data).compile("adam", "mse")


def test_a_method_of_the_released_code_cannot_compile_the_crf():
    model = wsss.RRM(classes=2, pseudo_label={"refiner": "crf"}, **SMALL)
    with pytest.raises(ConfigError, match="crf runs on the host"):
        model.compile("adam", jit_compile=True)


# ---- fit -------------------------------------------------------------------------------------


def test_fit_evaluate_and_predict(data):
    model = supervised(data)
    model.compile(keras.optimizers.Adam(1e-3), run_eagerly=True)
    history = model.fit(
        batches(data), epochs=2, validation_data=data[1].batches(), verbose=0
    ).history
    names = {"loss", "classification", "segmentation", "val_classification", "val_miou"}
    assert set(history) == names and len(history["loss"]) == 2
    assert int(model.optimizer.iterations) == 8
    scores = model.evaluate(data[1].batches(), verbose=0, return_dict=True)
    assert scores["miou"] == history["val_miou"][-1]
    assert model.evaluate(data[1].batches(), verbose=0) == [scores[n] for n in scores]
    outputs = model.predict(batches(data), verbose=0)
    assert outputs["segmentation_logits"].shape == (8, 16, 16, 3)


def test_the_miou_of_evaluate_is_that_of_the_report(data):
    from keras_wsss.inference import evaluate

    model = supervised(data)
    model.compile("adam", steps=4)
    scores = model.evaluate(data[1].batches(), verbose=0, return_dict=True)
    report = evaluate(model, data[1], tags=False)["decoder"]["miou"]
    assert round(100 * scores["miou"], 2) == pytest.approx(report, abs=0.01)


def test_cells_run_twice(data):
    model = supervised(data)
    model.compile(steps=4, run_eagerly=True)
    model.fit(batches(data), verbose=0)
    with pytest.raises(TrainingError, match="the 4 steps .* are done; compile it again"):
        model.fit(batches(data), verbose=0)
    model.compile(steps=4, run_eagerly=True)
    with pytest.warns(UserWarning, match="goes on after the 4 steps"):
        model.fit(batches(data), epochs=2, verbose=0)


def test_fit_after_a_fit_that_failed(data):
    """A slip while the step was traced must not spoil the model."""
    model = supervised(data)
    model.compile("adam")
    with pytest.raises(DataError, match="supervised needs 'mask' in every batch: masks=True"):
        model.fit(batches(data, masks=False), verbose=0)
    model.fit(batches(data), verbose=0)
    assert int(model.optimizer.iterations) == 4


def test_what_a_later_phase_needs_is_asked_for_at_once(data):
    """Not after the steps, perhaps thousands, in which the classifier trains alone."""
    later = {"classification": {"weight": 1.0}, "segmentation": {"weight": 1.0, "start_step": 3}}
    model = supervised(data, losses=later)
    model.compile("adam", steps=4, run_eagerly=True)
    with pytest.raises(DataError, match="supervised needs 'mask' in every batch: masks=True"):
        model.fit(batches(data, masks=False), verbose=0)
    without = data[1].batches().map(lambda batch: {"image": batch["image"]})
    with pytest.raises(DataError, match="supervised needs 'labels' in every batch"):
        model.fit(batches(data), validation_data=without, verbose=0)
    assert int(model.optimizer.iterations) == 0


def test_a_split_is_no_dataset(data):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    for options in ({"x": data[0]}, {"x": batches(data), "validation_data": data[1]}):
        with pytest.raises(DataError, match=r"Split .* is no dataset: split\.batches\(crop=SIDE"):
            model.fit(**options, verbose=0)
    assert int(model.optimizer.iterations) == 0


@pytest.mark.parametrize("shape", [(64, 64, 3), (2, 64, 64), (2, 64, 64, 4), (2, 3, 64, 64)])
def test_images_of_another_shape_are_refused(data, shape):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    images = np.zeros(shape, np.float32)
    labels, mask = np.zeros((len(images), 2)), np.zeros((len(images), 64, 64), np.int32)
    batch = {"image": images, "labels": labels, "mask": mask}
    for call in (model, model.train_on_batch, model.test_on_batch):
        with pytest.raises(DataError, match=r"images have the shape .*; they are RGB, 0\.\.255"):
            call(batch)


def test_a_first_fit_without_a_step_says_nothing_about_the_length(data):
    model = supervised(data)
    model.compile("adam", run_eagerly=True)
    with pytest.raises(DataError, match="needs 'mask'"):
        model.fit(batches(data, masks=False).take(1), verbose=0)
    assert model.steps is None
    model.fit(batches(data), verbose=0)
    assert model.steps == 4


@pytest.mark.parametrize(("of_model", "of_batches"), [(128, None), (None, 128), (128, 128)])
def test_batches_of_another_working_size_are_told(data, of_model, of_batches):
    model = supervised(data, working_size=of_model)
    model.compile("adam", steps=9, run_eagerly=True)
    given = batches(data, working_size=of_batches)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model.fit(given, steps_per_epoch=1, verbose=0)
    told = [str(each.message) for each in caught if "working_size" in str(each.message)]
    assert len(told) == (of_model != of_batches)
    assert all(f"working_size={of_batches}, the model has" in text for text in told)


def test_arrays_are_as_long_as_their_batches(data):
    whole = [batch for batch in batches(data).as_numpy_iterator()]
    arrays = {
        key: np.concatenate([batch[key] for batch in whole]) for key in ("image", "labels", "mask")
    }
    model = supervised(data)
    model.compile("adam", run_eagerly=True)
    model.fit(arrays, batch_size=2, verbose=0)
    assert model.steps == -(-len(arrays["image"]) // 2)


@pytest.mark.parametrize("of_batches", [False, True])
def test_images_of_0_to_1_are_refused(data, of_batches):
    """The habit of other libraries: the network would learn from nearly black pictures."""
    batch = next(iter(batches(data)))
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    for scale in (255.0, 1.0):
        arrays = {**batch, "image": tf.cast(batch["image"], tf.float32) / scale}
        dataset = tf.data.Dataset.from_tensors(arrays) if of_batches else arrays
        if scale == 1.0:
            model.fit(dataset, verbose=0)
        else:
            with pytest.raises(DataError, match="0..1 .*multiply them by 255"):
                model.fit(dataset, verbose=0)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"labels": np.ones((2,))}, "labels has the shape .*tags .B,C., 0 or 1, here .2, 2"),
        ({"labels": np.ones((2, 5))}, "labels has the shape"),
        ({"mask": np.zeros((2, 32, 32), np.int32)}, "mask has the shape .2, 32, 32"),
        ({"mask": np.zeros((2, 64, 64, 1), np.int32)}, "mask has the shape .2, 64, 64, 1"),
    ],
)
def test_labels_and_masks_of_another_shape_are_refused(data, change, says):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    batch = {
        "image": np.zeros((2, 64, 64, 3), np.float32),
        "labels": np.ones((2, 2), np.float32),
        "mask": np.zeros((2, 64, 64), np.int32),
    }
    with pytest.raises(DataError, match=says):
        model.train_on_batch({**batch, **change})


def test_weights_of_samples_are_refused(data):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    with pytest.raises(DataError, match="class weights are not used"):
        model.fit(batches(data), class_weight={0: 1.0})
    (batch,) = batches(data).take(1).as_numpy_iterator()
    with pytest.raises(DataError, match="class weights are not used"):
        model.train_on_batch(batch, sample_weight=np.zeros(len(batch["image"])))
    with pytest.raises(DataError, match="class weights are not used"):
        model.train_on_batch(batch, class_weight={0: 1.0})


@pytest.mark.parametrize(
    "classes",
    [
        *("cat", 0, -1, True, [], ["cat", "Cat "], [1, 2], {"a", "b"}),
        *(["background", "cat"], ["_Background_", "cat"], ["cat", "__ignore__"], ["bg", "cat"]),
    ],
)
def test_classes_are_names_or_a_number(classes):
    with pytest.raises(ConfigError, match="classes=.*foreground classes, each once"):
        wsss.TSCD(classes, backbone="mit_tiny", weights=None)


def test_an_unknown_argument_is_refused_whatever_its_value():
    with pytest.raises(ConfigError, match="weigths"):
        wsss.TSCD(2, backbone="mit_tiny", weights=None, weigths=None)


def test_what_is_no_batch_is_one_message(data):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    images = np.zeros((2, 64, 64, 3), np.float32)
    for call in (lambda: model.fit(images, verbose=0), lambda: model.train_on_batch(images)):
        with pytest.raises(DataError, match="a batch is a dict with image and labels"):
            call()
    with pytest.raises(DataError, match="no y"):
        model.fit(images, np.zeros(2))


def test_single_batches(data):
    model = supervised(data)
    model.compile("adam", steps=4, run_eagerly=True)
    batch = next(iter(batches(data)))
    logs = model.train_on_batch(batch, return_dict=True)
    assert set(logs) == {"loss", "classification", "segmentation"}
    assert set(model.test_on_batch(batch, return_dict=True)) == {"classification", "miou"}
    del batch["valid_box"]  # then all of the image is valid
    assert model.train_on_batch(batch, return_dict=True)["loss"] > 0


def test_callbacks_and_steps_per_epoch(data, tmp_path):
    model = supervised(data)
    model.compile("adam", run_eagerly=True)
    model.fit(
        batches(data).repeat(),
        epochs=3,
        steps_per_epoch=1,
        validation_data=data[1].batches(),
        callbacks=[
            keras.callbacks.EarlyStopping(monitor="val_miou", mode="max", patience=9),
            keras.callbacks.ModelCheckpoint(
                tmp_path / "best.keras", monitor="val_miou", mode="max"
            ),
            keras.callbacks.TensorBoard(tmp_path / "logs"),
        ],
        verbose=0,
    )
    assert model.steps == 3 and int(model.optimizer.iterations) == 3
    assert (tmp_path / "best.keras").exists() and list((tmp_path / "logs").iterdir())


def test_mixed_precision_and_clone(data):
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        model = supervised(data)
        model.compile("adam", run_eagerly=True)
        model.fit(batches(data), verbose=0)
    finally:
        keras.mixed_precision.set_global_policy("float32")
    copy = keras.models.clone_model(model)
    assert copy.get_config() == model.get_config() and copy.steps == model.steps


# ---- saving ----------------------------------------------------------------------------------


def test_a_loaded_model_goes_on(data, tmp_path):
    model = supervised(data, backbone={"name": "mit_tiny", "drop_path_rate": 0.0})
    model.compile(steps=8, run_eagerly=True)
    model.fit(batches(data), verbose=0)
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    assert (loaded.steps, int(loaded.optimizer.iterations)) == (8, 4)
    assert loaded.schedule.starts == model.schedule.starts
    for ours, theirs in zip(model.optimizer.variables, loaded.optimizer.variables, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    batch = next(iter(batches(data)))
    for each in (model, loaded):
        each.train_on_batch(batch)
    for ours, theirs in zip(model.weights, loaded.weights, strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-6)  # two threads: not the last bits


@pytest.mark.parametrize("name", ["m.h5", "m.hdf5"])
def test_hdf5_is_refused_when_it_is_written(tmp_path, name):
    """Keras writes it and cannot load it again."""
    model = wsss.TSCD(2, losses={"classification": {"weight": 1.0}}, **SMALL)
    with pytest.raises(ConfigError, match=f"{name}: .*save it as .*m.keras"):
        model.save(tmp_path / name)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("imports", ["keras, keras_wsss", "keras_wsss, keras"])
def test_a_file_loads_in_a_new_process(tmp_path, imports):
    wsss.TSCD(classes=["a"], losses={"classification": {"weight": 1.0}}, **SMALL).save(
        tmp_path / "m.keras"
    )
    code = (
        f"import {imports}; print(keras.saving.load_model(r'{tmp_path / 'm.keras'}').class_names)"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert result.stdout.strip() == "('a',)", result.stderr


def test_keras_export_takes_any_size(data, tmp_path):
    model = supervised(data)
    model.build()
    model.export(tmp_path / "exported", verbose=False)
    served = tf.saved_model.load(tmp_path / "exported")
    images = tf.random.uniform([2, 70, 90, 3]) * 255
    ours = model(images)["segmentation_logits"]
    np.testing.assert_allclose(served.serve(images)["segmentation_logits"], ours, atol=1e-4)


def test_a_schedule_is_saved_with_the_model(data, tmp_path):
    """SGN's labels depend on how far its mixing has come."""
    model = wsss.SGN(classes=2, **SMALL)
    model.compile("adam", steps=480)
    model.optimizer.iterations.assign(480)
    expected = float(model.labeller.mixing_weight())
    assert expected == 0.5
    model.save_to_preset(tmp_path / "preset")
    model.save(tmp_path / "m.keras")
    preset, loaded = wsss.load(tmp_path / "preset"), wsss.load(tmp_path / "m.keras")
    preset.compile("adam")
    for copy in (preset, loaded):
        assert (copy.steps or 480, copy.schedule.scale) == (480, 480 / 20000)
        assert float(copy.labeller.mixing_weight()) == expected


# ---- backbones -------------------------------------------------------------------------------


def applications():
    return keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(None, None, 3)
    )


def test_a_network_of_keras_applications(data, tmp_path):
    model = supervised(data, backbone=applications())
    assert model.backbone.output_stride == 32
    low, high = (model.backbone.preprocess(np.full((1, 1, 1, 3), v, np.float32)) for v in (0, 255))
    assert float(low[0, 0, 0, 0]) == -1 and float(high[0, 0, 0, 0]) == 1
    model.compile("adam", run_eagerly=True)
    before = [np.array(w) for w in model.backbone.weights if "moving" in w.path]
    model.fit(batches(data), verbose=0)
    after = [np.array(w) for w in model.backbone.weights if "moving" in w.path]
    assert before and all(np.array_equal(a, b) for a, b in zip(before, after, strict=True))
    model.save(tmp_path / "m.keras")
    loaded = keras.saving.load_model(tmp_path / "m.keras")
    images = np.random.default_rng(0).uniform(0, 255, (1, 70, 90, 3)).astype(np.float32)
    np.testing.assert_array_equal(model.segment(images), loaded.segment(images))


def test_an_adapted_backbone_learns_at_the_backbones_rate(data):
    """Its variables were made elsewhere and have other paths."""
    model = supervised(data, backbone=applications())
    model.compile(steps=10)
    rates = dict(zip(map(id, model.trainable_variables), model.optimizer._multipliers, strict=True))
    assert {rates[id(v)] for v in model.backbone.trainable_variables} == {1.0}
    assert {rates[id(v)] for v in model.decoder.trainable_variables} == {10.0}


def test_affinity_on_a_network_of_keras_applications():
    model = wsss.AFA(classes=2, backbone=applications(), heads={"embedding_dim": 16})
    model.build()
    outputs = model(np.zeros((1, 64, 64, 3), np.float32), request=["affinity"])
    assert outputs["affinity"].shape == (1, 4, 4)


def test_backbones_that_cannot_be_used_are_one_message():
    unknown = keras.Sequential([keras.Input((None, None, 3)), keras.layers.Conv2D(4, 3, 4)])
    with pytest.raises(ConfigError, match="how it wants its images is not known"):
        wsss.TSCD(classes=2, backbone=unknown)
    fixed = keras.applications.MobileNetV2(alpha=0.35, include_top=False, weights=None)
    assert fixed.inputs[0].shape[1] is None
    fixed = keras.applications.MobileNetV2(
        alpha=0.35, include_top=False, weights=None, input_shape=(96, 96, 3)
    )
    with pytest.raises(ConfigError, match="RGB images of any size"):
        wsss.TSCD(classes=2, backbone=fixed)


def hub_network(hub):
    return hub.models.ResNetBackbone(
        input_conv_filters=[64],
        input_conv_kernel_sizes=[7],
        stackwise_num_filters=[64, 64, 64, 64],
        stackwise_num_blocks=[1, 1, 1, 1],
        stackwise_num_strides=[1, 2, 2, 2],
        block_type="basic_block",
        image_shape=(None, None, 3),
    )


def test_a_preset_of_kerashub(data, tmp_path, monkeypatch):
    """Its weights would be fetched; network and normalisation are stood in for here."""
    hub = pytest.importorskip("keras_hub", reason="the extra hub")
    converter = hub.layers.ImageConverter(scale=[0.5, 1.0, 2.0], offset=[-1.0, 0.0, 1.0])
    monkeypatch.setattr(hub.models.Backbone, "from_preset", lambda preset: hub_network(hub))
    monkeypatch.setattr(hub.layers.ImageConverter, "from_preset", lambda preset: converter)
    model = supervised(data, backbone="hub://resnet_18_imagenet")
    assert model.backbone.output_stride == 32
    white = np.full((1, 1, 1, 3), 100, np.float32)
    np.testing.assert_allclose(model.backbone.preprocess(white)[0, 0, 0], [49, 100, 201])
    model.compile("adam", run_eagerly=True)
    model.fit(batches(data).take(1), verbose=0)
    model.save_to_preset(tmp_path / "preset")
    images = np.random.default_rng(0).uniform(0, 255, (1, 70, 90, 3)).astype(np.float32)
    copy = wsss.load(tmp_path / "preset")
    np.testing.assert_array_equal(copy.segment(images), model.segment(images))


def test_pixel_supervised_networks_are_refused():
    for name in ("mit_b0_ade20k_512", "deeplab_v3_plus_resnet50_pascalvoc", "sam_base_sa1b"):
        with pytest.raises(ConfigError, match="trained on pixel masks"):
            wsss.TSCD(classes=2, backbone=f"hub://{name}")
    hub = pytest.importorskip("keras_hub", reason="the extra hub")
    with pytest.raises(ConfigError, match="how it wants its images is not known.*hub://PRESET"):
        wsss.TSCD(classes=2, backbone=hub_network(hub))


# ---- data ------------------------------------------------------------------------------------


def test_every_iteration_over_batches_is_a_new_epoch(data):
    def orders(seed):
        dataset = data[0].batches(crop=64, batch_size=2, seed=seed)
        return [[int(i) for batch in dataset for i in batch["index"]] for _ in range(2)]

    first, second = orders(1)
    assert sorted(first) == sorted(second) == list(range(8)) and first != second
    assert orders(1) == [first, second] and orders(2)[0] != first


def test_batches_of_validation_are_whole_images_with_masks(data):
    (batch, *_) = data[1].batches()
    assert set(batch) == {"image", "labels", "index", "mask"} and batch["image"].shape[0] == 1
    assert "mask" not in next(iter(data[0].batches(crop=64, batch_size=2)))


def test_wrong_batches_are_one_message(data):
    with pytest.raises(ConfigError, match="without crop=SIDE they are whole images"):
        data[0].batches(crop_size=64)
    with pytest.raises(DataError, match="8 images, fewer than a batch of 16"):
        data[0].batches(crop=64)
    with pytest.raises(ConfigError, match="crop_size: value 50; allowed: .*32"):
        data[0].batches(crop=50, batch_size=2)
    for key in ("batch_size", "seed"):
        for value in (-1, 2.5):
            with pytest.raises(ConfigError, match=rf"batches\(...\): {key}: value {value}; "):
                data[0].batches(crop=64, **{"batch_size": 2, key: value})
    with pytest.raises(ConfigError, match="root: value None"):
        wsss.data.load(kind="voc")
    with pytest.raises(ConfigError, match="data reader 'vok': not known.*did you mean voc"):
        wsss.data.load("photos", kind="vok")
