"""Cost of a training step by component, in seconds and in U.

U is one PyTorch MiT-B1 inference forward at batch 2, 320 x 320, strides [4,2,2,1], measured in the
same run (extra ``benchmarks``: torch, transformers). Components are timed one after another in
every round, so that a slow moment of the machine hits all of them; medians over the rounds.

    python -m benchmarks.step --config voc_tscd --output benchmarks/results/step_voc_tscd.json
"""

import argparse
import json
import platform
import statistics
import time
from pathlib import Path

import numpy as np
import tensorflow as tf

from keras_wsss import losses
from keras_wsss.config import load_config
from keras_wsss.methods import build_model
from keras_wsss.ops.affinity import affinity_targets
from keras_wsss.optimizers import build_optimizer
from keras_wsss.run_folder import peak_memory_mb

STRIDES = [4, 2, 2, 1]


def torch_unit(batch_size, crop, threads):
    """Function that runs one PyTorch MiT-B1 forward; None where the extra is not installed."""
    try:
        import torch
        from transformers import SegformerConfig, SegformerModel
    except ImportError:
        return None
    torch.set_num_threads(threads)
    config = SegformerConfig(depths=[2, 2, 2, 2], hidden_sizes=[64, 128, 320, 512], strides=STRIDES)
    model = SegformerModel(config).eval()
    images = torch.rand(batch_size, 3, crop, crop)

    def forward():
        with torch.no_grad():
            model(images)

    return forward


def images_with_objects(batch_size, crop, classes, seed=0):
    """Smooth random scenes with 1 to 3 tags, so that refinement sees edges and areas."""
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (batch_size, 8, 8, 3)).astype(np.float32)
    images = tf.image.resize(coarse, (crop, crop)) + generator.normal(
        0, 8, (batch_size, crop, crop, 3)
    )
    labels = np.zeros((batch_size, classes), np.float32)
    for row in labels:
        row[generator.choice(classes, generator.integers(1, 4), replace=False)] = 1
    return {
        "image": tf.cast(tf.clip_by_value(tf.round(images), 0, 255), tf.float32),
        "labels": tf.constant(labels),
        "valid_box": tf.constant([[0, crop, 0, crop]] * batch_size, tf.int32),
        "index": tf.range(batch_size, dtype=tf.int64),
    }


def components(model, batch):
    """Name -> function without arguments, each a part of the step (or the whole)."""
    labeller, images, tags = model.labeller, batch["image"], batch["labels"]
    crop = images.shape[1]
    small = tf.image.resize(images, (int(0.3 * crop),) * 2)
    cam = labeller.multi_scale_cam(images)
    labels = labeller.from_cam(batch, cam)
    logits = tf.random.normal([*images.shape[:3], model.num_classes + 1])
    small_logits = tf.image.resize(logits, small.shape[1:3])
    small_cam = labeller.multi_scale_cam(small)

    def gradient(function, *arguments):
        def run():
            with tf.GradientTape() as tape:
                tape.watch(arguments)
                value = function(*arguments)
            return tape.gradient(value, arguments)

        return run

    def network(training_gradient):
        with tf.GradientTape() as tape:
            outputs = model(images, training=True, request=("cam", "affinity"))
            value = tf.reduce_sum(outputs["segmentation_logits"]) + tf.reduce_sum(
                outputs["affinity"]
            )
        if training_gradient:
            variables = [v.value for v in model.trainable_variables]
            return tape.gradient(value, variables, unconnected_gradients="zero")
        return value

    points, energy = model.draw_points(len(images)), model.settings.losses["energy"]
    parts = {
        "step": lambda: model.train_step(batch, model.schedule.last),
        "cam_full_view": lambda: labeller.multi_scale_cam(images),
        "cam_small_view": lambda: labeller.multi_scale_cam(small),
        "network_forward": lambda: network(False),
        "network_forward_backward": lambda: network(True),
        "refinement": lambda: labeller.from_cam(batch, cam),
        "affinity_targets_and_loss": gradient(
            lambda a: losses.affinity_loss(affinity_targets(labels, 8, 16), a),
            tf.random.uniform([len(images), (crop // 16) ** 2, (crop // 16) ** 2]),
        ),
        "segmentation_loss": gradient(lambda x: losses.balanced_cross_entropy(labels, x), logits),
        "energy": gradient(
            lambda x: losses.dense_energy(
                images, labels, x, batch["valid_box"], stride=energy.stride
            ),
            logits,
        ),
        "correspondence": gradient(
            lambda a, b: losses.correspondence_distillation(cam, small_cam, a, b, *points),
            logits,
            small_logits,
        ),
        "equivariance": lambda: losses.cam_equivariance(
            tf.image.resize(cam, (crop // 16,) * 2), small_cam, tags
        ),
    }
    return {name: tf.function(part, autograph=False) for name, part in parts.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--config", default="voc_tscd")
    parser.add_argument("--batch", type=int, default=2)
    parser.add_argument("--crop", type=int, default=320)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--output", type=Path)
    options = parser.parse_args()

    tf.config.threading.set_intra_op_parallelism_threads(options.threads)
    overrides = ["data.root=.", "backbone.weights=none", f"data.crop_size={options.crop}"]
    config = load_config(options.config, overrides)
    model = build_model(config, num_classes=20)
    model.compile(build_optimizer(config.optimizer, config.training.steps))
    batch = images_with_objects(options.batch, options.crop, 20)

    parts = components(model, batch)
    for part in parts.values():
        part()  # trace and compile
    memory = peak_memory_mb()
    unit = torch_unit(options.batch, options.crop, options.threads)
    if unit is not None:
        parts = {"U": unit, **parts}
    seconds = {name: [] for name in parts}
    for _ in range(options.rounds):
        for name, part in parts.items():
            started = time.perf_counter()
            part()
            seconds[name].append(time.perf_counter() - started)
    medians = {name: statistics.median(times) for name, times in seconds.items()}
    report = {
        "command": f"python -m benchmarks.step --config {options.config} --batch {options.batch}"
        f" --crop {options.crop} --threads {options.threads} --rounds {options.rounds}",
        "hardware": f"{options.threads} CPU threads, {platform.machine()}, no GPU",
        "seconds": {name: round(value, 4) for name, value in medians.items()},
        "peak_memory_mb": memory,
    }
    if unit is not None:
        report["in_U"] = {name: round(v / medians["U"], 2) for name, v in medians.items()}
    text = json.dumps(report, indent=2)
    print(text)
    if options.output:
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(text + "\n")


if __name__ == "__main__":
    main()
