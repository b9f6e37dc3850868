"""What an evaluation finds on single images, for a report: totals, and pictures of a few."""

import numpy as np
from PIL import Image

from keras_wsss.inference.contact_sheet import overlay_cam
from keras_wsss.ops.resize import resize
from keras_wsss.pages import data_address
from keras_wsss.palette import IGNORE_ID, overlay_labels
from keras_wsss.pictures import percentage

KEPT, SIDE = 12, 256
PRESENT = 0.5
"""A classifier that gives a class this probability or more says that it is there."""


class ImageResults:
    """Goes through the images of an evaluation, and keeps those that should be looked at.

    An image's score is the mean IoU of prediction and truth over the classes that either shows.
    Without masks the full pseudo label takes the place of the truth, so that the score says how far
    decoder and CAM agree; without a decoder the pseudo label that of the prediction; with neither
    the score is the share of the pixels that have a sure label.

    Args:
        split: :class:`~keras_wsss.data.Split` that is evaluated.

    Example:

    >>> split = wsss.load_split(wsss.config.load_run_config("runs/demo").data, "val")
    >>> images = ImageResults(split)
    >>> scores = wsss.inference.evaluate(wsss.load("runs/demo"), split, tags=False, watch=images)
    >>> sorted(images.found()["lists"])
    ['best', 'extra', 'missing', 'worst']
    """

    def __init__(self, split):
        self.split, self.score = split, None
        self.names = ("background", *split.class_names)
        self.confusion = np.zeros((len(self.names),) * 2, np.int64)
        # Of all images, and of those with the tag of each class.
        self.pixels, self.ignored = np.zeros((2, len(self.names)), np.int64)
        self.suspects = {"missing": 0, "extra": 0}
        # Name of a list -> (rank, position) of its images, the highest rank first.
        self.lists = {"worst": [], "best": [], "missing": [], "extra": []}
        self.shown = {}

    def __call__(self, position, seen):
        """Takes one image, as ``evaluate(watch=...)`` gives it."""
        tags = seen["tags"] > 0
        self.score, score = self._score(seen)
        ranks = {"worst": -score, "best": score}
        entry = {"score": round(score, 4), "tags": self._named(tags)}
        if "label" in seen:
            entry["ignored"] = round(self._count_ignored(seen["label"], tags), 4)
        if "image_logits" in seen:
            probabilities = 1 / (1 + np.exp(-seen["image_logits"]))
            present = probabilities >= PRESENT
            entry["seen"] = self._named(present, probabilities)
            wrong = {"missing": (tags & ~present, 1 - probabilities)}
            wrong["extra"] = ~tags & present, probabilities
            for name, (classes, rank) in wrong.items():
                if classes.any():
                    self.suspects[name] += 1
                    ranks[name] = float(np.max(rank[classes]))
                    entry[name] = self._named(classes, probabilities)
        self._keep(position, ranks, entry, seen)

    def found(self):
        """What is written into ``image_results.json``; scores are fractions."""
        # Of few images none is both among the best and among the worst.
        count = len(self.split)
        most = {"worst": (count + 1) // 2, "best": count // 2}
        lists = {
            name: [self.split.ids[position] for _, position in ranked[: most.get(name, KEPT)]]
            for name, ranked in self.lists.items()
        }
        named = {name for ids in lists.values() for name in ids}
        shown = {self.split.ids[position]: entry for position, entry in self.shown.items()}
        result = {
            "list": self.split.name,
            "images": count,
            "score": self.score,
            "lists": lists,
            "shown": {name: entry for name, entry in shown.items() if name in named},
            "images_with": dict(
                zip(self.names[1:], map(int, np.sum(self.split.labels > 0, axis=0)), strict=True)
            ),
        }
        if self.confusion.any():
            result["confusion"] = self.confusion.tolist()
        if self.pixels.any():
            shares = self.ignored / np.maximum(self.pixels, 1)
            shares = np.round(shares, 4).tolist()
            result["ignored"] = shares[0]
            result["ignored_by_class"] = dict(zip(self.names[1:], shares[1:], strict=True))
            result["suspects"] = self.suspects
        return result

    def _score(self, seen):
        """What the score of images is (None: there is nothing to compare), and that of this one."""
        told = "prediction" if "prediction" in seen else "full"
        reference = "truth" if "truth" in seen else "full"
        if told == reference:
            return "share of pixels with a sure label", float(np.mean(seen["label"] != IGNORE_ID))
        if told not in seen or reference not in seen:
            return None, 0.0
        counts = confusion(seen[reference], seen[told], len(self.names))
        if reference == "truth":
            self.confusion += counts
        words = {"prediction": "prediction", "full": "pseudo label", "truth": "truth"}
        return f"IoU of {words[told]} and {words[reference]}", image_iou(counts)

    def _count_ignored(self, label, tags):
        """Share of the pixels of a label that training ignores."""
        ignored = int(np.sum(label == IGNORE_ID))
        counted = np.append(True, tags)
        self.pixels += counted * label.size
        self.ignored += counted * ignored
        return ignored / label.size

    def _named(self, chosen, values=None):
        """Names of the chosen classes, with their values where there are any."""
        classes = np.flatnonzero(chosen)
        if values is None:
            return [self.split.class_names[c] for c in classes]
        return {self.split.class_names[c]: round(float(values[c]), 4) for c in classes}

    def _keep(self, position, ranks, entry, seen):
        """Keeps an image, with pictures, if it is among the first of a list."""
        for name, rank in ranks.items():
            ranked = [*self.lists[name], (rank, position)]
            self.lists[name] = sorted(ranked, key=lambda each: -each[0])[:KEPT]
        kept = {place for ranked in self.lists.values() for _, place in ranked}
        if position in kept:
            self.shown[position] = {**entry, "pictures": self._pictures(seen)}
        self.shown = {each: self.shown[each] for each in self.shown if each in kept}

    def _pictures(self, seen):
        """Title -> small picture as an address, and what it shows."""
        step = max(1, max(seen["image"].shape[:2]) // (2 * SIDE))
        small = {name: each[::step, ::step] for name, each in seen.items() if each.ndim > 1}
        image = small["image"]
        painted = {"image": (image, "the photograph")}
        if "cam" in seen:
            cam = resize(seen["cam"][None], image.shape[:2])[0] * seen["tags"]
            painted["CAM"] = overlay_cam(image, np.asarray(cam)), "where the classifier looks"
        for name, title in (
            ("label", "pseudo label"),
            ("prediction", "prediction"),
            ("truth", "truth"),
        ):
            if name in small:
                shares = self._shares(seen[name])
                painted[title] = overlay_labels(image, small[name]), shares
        pictures = {}
        for title, (pixels, shows) in painted.items():
            picture = Image.fromarray(np.uint8(pixels))
            picture.thumbnail((SIDE, SIDE))
            pictures[title] = {"source": data_address(picture, quality=75), "shows": shows}
        return pictures

    def _shares(self, label):
        """A label map in words, e.g. ``cat 30 %, ignored 12 %``."""
        names = {**dict(enumerate(self.names)), IGNORE_ID: "ignored"}
        ids, counts = np.unique(label, return_counts=True)
        shares = zip(ids.tolist(), (counts / label.size).tolist(), strict=True)
        return ", ".join(f"{names[i]} {percentage(share)}" for i, share in shares if i)


def confusion(truth, predicted, classes):
    """Pixels by class, int64 `[classes,classes]`: rows are the truth, columns what is predicted.

    Args:
        truth, predicted: int `[H,W]`; pixels that are 255 in either are left out.
        classes: int, with the background.
    """
    counted = (truth != IGNORE_ID) & (predicted != IGNORE_ID)
    cells = truth[counted].astype(np.int64) * classes + predicted[counted]
    return np.bincount(cells, minlength=classes**2).reshape(classes, classes)


def image_iou(counts):
    """Mean IoU of the classes that truth or prediction shows; 0 where no pixel was counted.

    Args:
        counts: of :func:`confusion`.

    Example:

    >>> image_iou(confusion(np.array([[0, 1]]), np.array([[0, 0]]), 2))
    0.25
    """
    hits = np.diag(counts)
    union = counts.sum(axis=0) + counts.sum(axis=1) - hits
    return float(np.mean(hits[union > 0] / union[union > 0])) if union.any() else 0.0
