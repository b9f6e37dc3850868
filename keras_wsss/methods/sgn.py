"""SGN: a single network that guides itself (Ke et al., arXiv preprint of October 2018).

The network looks at every training image at three depths: its class maps say roughly where a class
is, its intermediate features say which places belong together, and the image says where the edges
are. Maps that are spread along the affinities and snapped to the edges become labels for the
decoder of the same network; better features give better maps.

Only the abstract of the paper is known to us. What it leaves open is our design: sgn.md, section 7.
"""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.ops.cam import IGNORE_ID, inside, present_slots
from keras_wsss.ops.guided_filter import filter_scores, prepare_guide
from keras_wsss.ops.resize import resize
from keras_wsss.ops.self_affinity import pool_to, random_walk, self_affinity

INTERMEDIATE_LEVELS = (1, 2, 3)  # F2, F3, F4 of a backbone that names none
LEAST_FOREGROUND = 0.01  # part of the image's area below which its labels are not trusted
EPSILON = 1e-5
NEVER = -1e9  # logit of an absent class

# Terms that read what the label path finds.
GUIDED = {"segmentation", "agreement"}


@keras.saving.register_keras_serializable("keras_wsss")
class SGN(WSSSModel):
    """SGN: class maps, affinity and image guide the labels; numbers are sections of sgn.md.

    Losses (weights and start in the configuration): ``classification`` and ``segmentation`` (4),
    and ``agreement``, which replaces the random walk of 3.2 where it is named.

    Beside the loss terms ``active`` holds ``"mixing"`` from ``sgn.mix_start`` on.

    Example:

    >>> model = build_model(load_config("voc_sgn", ["data.root=VOC2012"]), num_classes=20)
    >>> model.compile(build_optimizer(config.optimizer, config.training.steps))
    >>> model.fit(training_dataset(split, config.data, seed=1, steps=20000, batch_size=10))
    """

    def active_terms(self, step):
        active, sgn = super().active_terms(step), self.settings.sgn
        return active | {"mixing"} if sgn.mix > 0 and step >= sgn.mix_start else active

    def forward(self, batch, active):
        outputs = {"view": self(batch["image"], training=True, request=["cam"])}
        if active & GUIDED:
            outputs |= self.guidance(batch, mixing="mixing" in active)
        return outputs

    def pseudo_labels(self, batch, outputs, active):
        if "segmentation" not in active:
            return None
        sgn = self.settings.sgn
        found = self.strongest_classes(batch, outputs["maps"])
        return three_way_label(
            *found, batch["valid_box"], sgn.class_score, sgn.background_score, sgn.margin
        )

    def loss_terms(self, batch, outputs, labels, active):
        view = outputs["view"]
        terms = self.common_terms(batch, view, active)
        if "segmentation" in active:
            logits = resize(view["segmentation_logits"], labels.shape[1:3])
            terms |= self.decoder_terms(batch, labels, logits, active)
        if "agreement" in active:
            terms["agreement"] = losses.agreement_loss(
                outputs["affinity"], view["cam"], batch["labels"]
            )
        return terms

    def guidance(self, batch, mixing):
        """What the features say of an image and its mirror image, without dropout and gradient.

        Args:
            mixing: bool, whether the decoder has a say in the maps.

        Returns:
            dict of ``localization``, the maps M0 of 3.1, float32 `[B,h,w,C]` on the grid of F4,
            ``maps``, M1 of 3.2 (M0 where nothing is spread), and ``affinity`` `[B,N,N]`.
        """
        sgn, images = self.settings.sgn, batch["image"]
        both = ops.concatenate([images, ops.flip(images, axis=2)])
        features, _ = self.encode(both, training=False)
        grid = ops.shape(features[-1])[1:3]
        valid = at_places(inside(batch["valid_box"], ops.shape(images)[1:3]), grid)
        counted = batch["labels"][:, None, None, :] * valid[..., None]

        evidence = mean_of_views(self.classifier.cam(features[-1]))
        localization = maps = stretched(ops.relu(evidence) * counted)
        if mixing:
            opinion = self.decoder(features, training=False)
            opinion = mean_of_views(pool_to(tagged_softmax(opinion, batch["labels"]), grid))
            weight = self.mixing_weight()
            localization = maps = (1 - weight) * maps + weight * opinion * counted

        names = getattr(self.backbone, "intermediate_levels", INTERMEDIATE_LEVELS)
        levels = [ops.split(features[names[level - 1]], 2)[0] for level in sgn.levels]
        levels = [pool_to(level, grid) for level in levels]
        affinity = self_affinity(levels, valid, sgn.affinity_radius)
        if sgn.labels_from != "localization" and "agreement" not in self.loss_settings:
            maps = stretched(random_walk(maps, affinity, sgn.walk_steps, sgn.restart))
        outputs = {"localization": localization, "maps": maps, "affinity": affinity}
        return {name: ops.stop_gradient(x) for name, x in outputs.items()}

    def mixing_weight(self):
        """w of 3.1 at this step; without an optimiser, at the step of the loaded checkpoint."""
        sgn = self.settings.sgn
        step = self.optimizer.iterations if self.compiled else self.trained_steps
        progress = (ops.cast(step, "float32") - sgn.mix_start) / (sgn.mix_end - sgn.mix_start)
        return sgn.mix * ops.clip(progress, 0.0, 1.0)

    def strongest_classes(self, batch, maps):
        """The two largest scores of every pixel once the image has refined the maps (3.3).

        Only present classes are refined, one after another, as many as the image with the most
        tags has.

        Args:
            maps: float `[B,h,w,C]`, 0 for absent classes.

        Returns:
            Triple of the largest and second largest score, float32 `[B,H,W]`, and the class of
            the largest, int32 `[B,H,W]` in 1..C (the lowest class wins a tie).
        """
        sgn, image = self.settings.sgn, batch["image"]
        size = ops.shape(image)[1:3]
        valid = ops.cast(inside(batch["valid_box"], size), "float32")
        guide = prepare_guide(image / 255.0, sgn.guided_radius, sgn.epsilon, valid)
        slots, kept = present_slots(batch["labels"])
        used = ops.max(ops.sum(kept, axis=1))

        def refined(label):
            chosen = ops.one_hot(label - 1, self.num_classes)[:, None, None, :]
            scores = resize(ops.sum(maps * chosen, axis=-1, keepdims=True), size)
            if sgn.labels_from == "image":
                scores = stretched(ops.clip(filter_scores(guide, scores), 0.0, 1.0), valid)
            return ops.reshape(scores, ops.shape(valid))

        def next_class(slot, best, second, winner):
            label = ops.take(slots, slot, axis=1)
            score = refined(label)
            better = score > best
            return (
                slot + 1,
                ops.where(better, score, best),
                ops.where(better, best, ops.maximum(second, score)),
                ops.where(better, label[:, None, None], winner),
            )

        none = ops.zeros_like(valid)
        start = 1, none, none, ops.ones_like(valid, dtype="int32")  # slot 0 is the background
        return ops.while_loop(lambda slot, *_: slot < used, next_class, start)[1:]

    def seeds(self, batch):
        sgn, box = self.settings.sgn, batch["valid_box"]
        guidance = self.guidance(batch, mixing=sgn.mix > 0)
        found = self.strongest_classes(batch, guidance["maps"])
        label = three_way_label(*found, box, sgn.class_score, sgn.background_score, sgn.margin)
        middle = (sgn.class_score + sgn.background_score) / 2
        full = three_way_label(*found, box, middle, middle, margin=0.0, least_foreground=0.0)
        cam = resize(guidance["localization"], ops.shape(batch["image"])[1:3])
        return cam, label, full


def three_way_label(
    best,
    second,
    winner,
    valid_box,
    class_score,
    background_score,
    margin,
    least_foreground=LEAST_FOREGROUND,
):
    """A class where it is strong and alone, background where all are weak, else ignored (3.4).

    Args:
        best, second: float `[B,H,W]`, the two largest class scores of a pixel.
        winner: int `[B,H,W]`, class (1..C) of the largest.
        valid_box: int `[B,4]` (y0, y1, x0, x1), half-open: pixels outside are ignored.
        class_score: least score of a trusted class.
        background_score: scores below it are background.
        margin: least lead over the second class.
        least_foreground: part of the valid area; an image with less foreground is ignored.

    Returns:
        int32 `[B,H,W]`: 0 = background, c + 1 = class c, 255 = ignored.

    Example:

    >>> three_way_label(best, second, winner, box, 0.35, 0.15, 0.05).shape
    (2, 320, 320)
    """
    trusted = (best >= class_score) & (best - second >= margin)
    label = ops.where(best < background_score, 0, IGNORE_ID)
    label = ops.cast(ops.where(trusted, winner, label), "int32")
    valid = inside(valid_box, ops.shape(best)[1:3])
    label = ops.where(valid, label, IGNORE_ID)
    area, foreground = (
        ops.sum(ops.cast(pixels, "float32"), axis=(1, 2)) for pixels in (valid, trusted & valid)
    )
    scarce = foreground < least_foreground * area
    return ops.where(scarce[:, None, None], IGNORE_ID, label)


def tagged_softmax(logits, labels):
    """Softmax of logits `[2B,h,w,C+1]` over background and present classes; without background."""
    present = ops.tile(labels, (2, 1))
    kept = ops.concatenate([ops.ones_like(present[:, :1]), present], axis=1)[:, None, None, :]
    logits = ops.cast(logits, "float32")
    return ops.softmax(ops.where(kept > 0, logits, NEVER), axis=-1)[..., 1:]


def mean_of_views(maps):
    """Mean of the maps of the images and of their mirror images, `[2B,h,w,C]` to `[B,h,w,C]`."""
    plain, mirrored = ops.split(maps, 2)
    return (plain + ops.flip(mirrored, axis=2)) / 2


def stretched(maps, valid=None):
    """Maps `[B,h,w,C]` over their maximum + 1e-5."""
    if valid is not None:
        maps = maps * valid[..., None]
    return maps / (ops.max(maps, axis=(1, 2), keepdims=True) + EPSILON)


def at_places(valid, grid):
    """The mask `[B,H,W]` read at the centres of a coarser grid's places, float32 `[B,h,w]`."""
    for axis, places in zip((1, 2), grid, strict=True):
        side = ops.shape(valid)[axis]
        centres = (2 * ops.arange(places, dtype="int32") + 1) * side // (2 * places)
        valid = ops.take(valid, centres, axis=axis)
    return ops.cast(valid, "float32")
