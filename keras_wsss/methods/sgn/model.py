"""SGN: a single network that guides itself (Ke et al., arXiv preprint of October 2018).

The network looks at every training image at three depths: its class maps say roughly where a class
is, its intermediate features say which places belong together, and the image says where the edges
are. Maps that are spread along the affinities and snapped to the edges become labels for the
decoder of the same network; better features give better maps.

Only the abstract of the paper is known to us. What it leaves open is ours: docs/methods/sgn.md.
"""

import keras
from keras import ops

from keras_wsss import losses
from keras_wsss.methods.base import WSSSModel
from keras_wsss.methods.labeller import Described, Labeller
from keras_wsss.ops.class_maps import at_places, mean_of_views, stretched, tagged_softmax
from keras_wsss.ops.guided_filter import filter_scores, prepare_guide
from keras_wsss.ops.label import inside, present_slots
from keras_wsss.ops.pseudo_label import margin_label
from keras_wsss.ops.resize import resize
from keras_wsss.ops.self_affinity import pool_to, random_walk, self_affinity

INTERMEDIATE_LEVELS = (1, 2, 3)  # F2, F3, F4 of a backbone that names none


class GuidedLabeller(Labeller):
    """Labels from class maps that features and image have guided; numbers are equations of SGN."""

    def maps(self, batch, view=None, events=("mixing",)):
        """What the features say of an image and its mirror image, without dropout and gradient.

        Args:
            events: with ``"mixing"`` the decoder's prediction is mixed into the maps.

        Returns:
            dict of ``localization``, the maps M0 of eq. 3, float32 `[B,h,w,C]` on the grid of F4,
            ``maps``, M1 of eq. 7 (M0 where nothing is spread), and ``affinity`` `[B,N,N]`.
        """
        network, sgn, images = self.network, self.settings.sgn, batch["image"]
        both = ops.concatenate([images, ops.flip(images, axis=2)])
        features, _ = network.encode(both, training=False)
        grid = ops.shape(features[-1])[1:3]
        valid = at_places(inside(batch["valid_box"], ops.shape(images)[1:3]), grid)
        counted = batch["labels"][:, None, None, :] * valid[..., None]

        evidence = mean_of_views(network.classifier.cam(features[-1]))
        localization = maps = stretched(ops.relu(evidence) * counted)
        if "mixing" in events and sgn.mix > 0:
            prediction = network.decoder(features, training=False)
            prediction = pool_to(tagged_softmax(prediction, batch["labels"]), grid)
            weight = self.mixing_weight()
            mixed = weight * mean_of_views(prediction) * counted
            localization = maps = (1 - weight) * maps + mixed

        names = getattr(network.backbone, "intermediate_levels", INTERMEDIATE_LEVELS)
        levels = [ops.split(features[names[level - 1]], 2)[0] for level in sgn.levels]
        levels = [pool_to(level, grid) for level in levels]
        affinity = self_affinity(levels, valid, sgn.affinity_radius)
        if sgn.labels_from != "localization" and "agreement" not in self.settings.losses:
            maps = stretched(random_walk(maps, affinity, sgn.walk_steps, sgn.restart))
        outputs = {"localization": localization, "maps": maps, "affinity": affinity}
        return {name: ops.stop_gradient(x) for name, x in outputs.items()}

    def mixing_weight(self):
        """w of eq. 3 at this step, or at the step of the loaded checkpoint if that is later."""
        network, sgn = self.network, self.settings.sgn
        step = ops.cast(network.trained_steps, "float32")
        if network.compiled:
            step = ops.maximum(step, ops.cast(network.optimizer.iterations, "float32"))
        start, end = (network.schedule.scale * edge for edge in (sgn.mix_start, sgn.mix_end))
        progress = (step - start) / (end - start)
        return sgn.mix * ops.clip(progress, 0.0, 1.0)

    def strongest_classes(self, batch, maps):
        """The two largest scores of every pixel once the image has refined the maps (eq. 9).

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
            chosen = ops.one_hot(label - 1, self.network.num_classes)[:, None, None, :]
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

    def label(self, batch, maps, propagated=False):
        sgn = self.settings.sgn
        found = self.strongest_classes(batch, maps["maps"])
        return margin_label(
            *found, batch["valid_box"], sgn.class_score, sgn.background_score, sgn.margin
        )

    def describe(self, batch):
        sgn, box, maps = self.settings.sgn, batch["valid_box"], self.maps(batch)
        found = self.strongest_classes(batch, maps["maps"])
        label = margin_label(*found, box, sgn.class_score, sgn.background_score, sgn.margin)
        middle = (sgn.class_score + sgn.background_score) / 2
        full = margin_label(*found, box, middle, middle, margin=0.0, least_foreground=0.0)
        cam = resize(maps["localization"], ops.shape(batch["image"])[1:3])
        return Described(cam, label, full)


@keras.saving.register_keras_serializable("keras_wsss")
class SGN(WSSSModel):
    """SGN: class maps, affinity and image guide the labels; numbers are equations of SGN.

    Losses (weights and start in the configuration): ``classification`` and ``segmentation``, and
    ``agreement`` (11), which replaces the random walk (7) where it is named. From
    ``sgn.mix_start`` on the decoder's prediction is mixed into the class maps.

    Arguments as of :class:`~keras_wsss.methods.keras_interface.KerasInterface`, outputs as of
    :class:`~keras_wsss.methods.network.Network`.

    Example:

    >>> SGN(classes=["cat", "dog"], backbone="efficientnet_lite0").class_names
    ('cat', 'dog')
    """

    method = "sgn"
    labeller_class = GuidedLabeller

    def agreement_loss(self, batch, outputs, label):
        return losses.agreement_loss(outputs["affinity"], outputs["view"]["cam"], batch["labels"])
