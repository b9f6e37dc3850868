"""Files of strangers: valid data sets of every reader, of which one file was spoiled.

``READERS`` is the one list of what is tried; see ``benchmarks.hostile``.
"""

import codecs
import copy
import json
import os
import shutil
import zlib

import numpy as np
from PIL import Image

from keras_wsss.config.data import DataConfig, PhotosDataConfig
from keras_wsss.data.broken import find_broken
from keras_wsss.data.checking.check import check
from keras_wsss.data.loading import load_split
from keras_wsss.errors import WSSSError
from keras_wsss.inference.label_formats.label_studio import brush_rle
from keras_wsss.photographs import find_photographs

# ---- what is odd -------------------------------------------------------------------------------

RAW = "\ue000"  # stands for one of RAW_JSON until the text is written
ODD = (
    *(None, True, False, 0, -1, 1, 1.5, 255, 256, 2**31, 2**63, -(10**30), 1e308, "", " ", "a"),
    *("\0", "..", "../../etc/passwd", "/etc/passwd", "a\nb", "\ud800", "cat", "-5", "NaN", "0,0"),
    *("x" * 5000, "9" * 5000, [], {}, [[]], [1], [None], ["a"], {"a": 1}, [[1, 2, 3]], [0, 10**12]),
    *([-5, 2245], {"counts": [0, 10**12]}, {"counts": "o" * 100_000}, {"counts": [2**63, 1]}),
    *(list(range(300)), {"counts": "0", "size": [40, 56]}, "http://[", "{[", "[" * 3000, RAW),
)
RAW_JSON = (
    *("NaN", "Infinity", "-Infinity", "1e999", "9" * 5000, "-" + "9" * 5000, "[" * 100_000),
    *("[" * 900 + "]" * 900, '{"a":' * 900 + "1" + "}" * 900, '{"a":1,"a":2}', '"\\ud800"', "01"),
)
ODD_TEXT = tuple(each for each in ODD if isinstance(each, str) and each not in (RAW, "\ud800"))
ENCODINGS = ("utf-16", "utf-16-be", "utf-32", "cp1252", "utf-8-sig", "utf-7")
ENTITIES = (
    '<!DOCTYPE l [<!ENTITY l0 "lol">'
    + "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    + "]>",
    '<!DOCTYPE l [<!ENTITY l9 "' + "a" * 100_000 + '">]>',
    '<!DOCTYPE l [<!ENTITY l9 SYSTEM "file:///etc/passwd">]>',
)


def of_bytes(draw, data):
    """Flips, cuts, copies, fills or inserts."""
    data = bytearray(data)
    for _ in range(draw.choice((1, 1, 2, 8))):
        at, more = draw.randrange(len(data) + 1), draw.randrange(1, 40)
        way = draw.randrange(7)
        if way == 0 and data:
            data[at % len(data)] ^= 1 << draw.randrange(8)
        elif way == 1:
            data = data[:at]
        elif way == 2:
            data[at : at + more] = b""
        elif way == 3:
            data[at:at] = draw.randbytes(more)
        elif way == 4:
            data[at : at + more] = draw.choice((b"\0", b"\xff", b'"', b"<", b",")) * more
        elif way == 5:
            data[at:at] = data[at : at + 200]
        else:
            data[at : at + 4] = draw.choice((b"\x7f\xff\xff\xff", b"\xff" * 4, bytes(4)))
    return bytes(data)


def of_text(draw, data):
    """Another encoding, an odd word, or a line too many or too few."""
    text = data.decode()
    way = draw.randrange(5)
    if way == 0:
        return text.encode(draw.choice(ENCODINGS))
    if way == 1:
        return draw.choice(tuple(codecs.BOM_UTF16_LE + each for each in (b"", b"\0\xd8", b"a")))
    lines = text.split("\n")
    at = draw.randrange(len(lines))
    if way == 2:
        del lines[at]
    elif way == 3:
        lines[at:at] = [draw.choice((*ODD_TEXT, lines[at], "x" * 200_000, '"', "\0"))]
    else:
        cells = lines[at].split(",")
        cells[draw.randrange(len(cells))] = draw.choice(ODD_TEXT)
        lines[at] = ",".join(cells)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


def of_json(draw, data):
    """Odd values in places of a document."""
    content = json.loads(data)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        content = _with_odd(draw, content)
    text = json.dumps(content)
    return text.replace(json.dumps(RAW), draw.choice(RAW_JSON)).encode()


def of_json_lines(draw, data):
    """As :func:`of_json`, of one line."""
    lines = data.splitlines()
    at = draw.randrange(len(lines))
    lines[at] = of_json(draw, lines[at])
    return b"\n".join(lines)


def odd(draw):
    """One of ``ODD``, which stays as it is."""
    return copy.deepcopy(draw.choice(ODD))


def _with_odd(draw, content):
    places = []

    def walk(node):
        keys = node if isinstance(node, dict) else range(len(node))
        for key in keys:
            places.append((node, key))
            if isinstance(node[key], dict | list):
                walk(node[key])

    if isinstance(content, dict | list):
        walk(content)
    if not places or draw.random() < 0.02:
        return odd(draw)
    node, key = draw.choice(places)
    way = draw.randrange(8)
    if way == 0:
        del node[key]
    elif way == 1:
        node[key] = [node[key]]
    elif way == 2 and isinstance(node, list):
        node.insert(0, draw.choice((odd(draw), node[key])))
    elif way == 2:
        node[draw.choice(("a", "", "\0", "..", "id"))] = node.pop(key)
    elif way == 3 and isinstance(node[key], int | float) and not isinstance(node[key], bool):
        node[key] *= draw.choice((-1, 0, 1e6, 1e300, 0.01, 10**25))
    else:
        node[key] = odd(draw)
    return content


def of_xml(draw, data):
    """Odd texts and attributes, encodings, entities, depth."""
    text = data.decode()
    way = draw.randrange(5)
    if way == 0:
        name = draw.choice(("nonsense", "utf-16", "utf-7", "idna", "hex", "zlib", "undefined", "ü"))
        return f'<?xml version="1.0" encoding="{name}"?>{text}'.encode()
    if way == 1:
        entity = draw.choice(ENTITIES)
        return (entity + text.replace("cat", "&l9;" * draw.choice((1, 100, 10_000)))).encode()
    if way == 2:
        deep = draw.choice((1000, 100_000))
        return text.replace("cat", "<a>" * deep + "</a>" * draw.choice((0, deep))).encode()
    words = [each for each in ("cat", "40", "56", "1.jpg", "image_0", '"0"', "5,5", "name") if each]
    word = draw.choice([each for each in words if each in text])
    return text.replace(word, draw.choice(ODD_TEXT), draw.choice((1, -1))).encode(
        "utf-8", "surrogatepass"
    )


def of_picture(draw, data):
    """A cut file that has its end, another picture, a lie about its size, or a bomb."""
    way = draw.randrange(6)
    if way == 0:
        end = b"\xff\xd9" if data[:2] == b"\xff\xd8" else b"IEND\xaeB`\x82"
        return data[: draw.randrange(len(data))] + end
    if way == 1:
        side = draw.choice((1, 2**31 - 1, 2**16 - 1, 20_000))
        return png(side, draw.choice((1, side)), zlib.compress(bytes(1000)))
    if way == 2:
        return bomb(draw.choice((200, 30_000)), 20_000)
    if way == 3:
        text = b"zTXt" + b"k\0\0" + zlib.compress(bytes(10**8), 1)
        return png(56, 40, zlib.compress(bytes(40 * (1 + 56 * 3))), text)
    if way == 4 and data[:2] == b"\xff\xd8":
        tiff = draw.choice((b"ZZZZZZZZ", b"II*\0\xff\xff\xff\xff", b"MM\0*\0\0\0\x08\xff\xff", b""))
        exif = b"Exif\0\0" + tiff + draw.randbytes(draw.randrange(60))
        return data[:2] + b"\xff\xe1" + (2 + len(exif)).to_bytes(2, "big") + exif + data[2:]
    if way == 5 and data[:2] == b"\xff\xd8":
        at = max(data.find(b"\xff\xc0"), data.find(b"\xff\xc2")) + 5
        return data[:at] + draw.randbytes(4) + data[at + 4 :]
    return of_bytes(draw, data)


def png(width, height, packed, more=b""):
    """A PNG file in RGB of such rows."""

    def chunk(content):
        return (len(content) - 4).to_bytes(4, "big") + content + zlib.crc32(content).to_bytes(4)

    size = width.to_bytes(4, "big") + height.to_bytes(4, "big")
    parts = (b"IHDR" + size + b"\x08\x02\0\0\0", more, b"IDAT" + packed, b"IEND")
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunk(each) for each in parts if each)


def bomb(width, height):
    """A small PNG file of many pixels."""
    packer, row = zlib.compressobj(1), bytes(1 + 3 * width)
    rows = 100 if width * height > 10**8 else height  # a large one is refused before
    return png(width, height, b"".join(packer.compress(row) for _ in range(rows)) + packer.flush())


def of_kind(draw, path):
    """Something else in place of a file: a folder, a pipe, a device, a link."""
    path.unlink()
    way = draw.randrange(6)
    if way == 0:
        path.mkdir()
    elif way == 1:
        os.mkfifo(path)
    else:
        there = ("/dev/zero", "/nonexistent", path.name, "/etc/passwd", "/dev/stdin", "/proc/kmsg")
        path.symlink_to(draw.choice(there))


def spoil(draw, path, *ways):
    """Changes one file in place: now and then its kind or its bytes, else in one of the ways."""
    how = draw.random()
    if how < 0.1:
        return of_kind(draw, path)
    way = of_bytes if how < 0.3 or not ways else draw.choice(ways)
    path.write_bytes(way(draw, path.read_bytes()))
    return None


# ---- valid data sets ---------------------------------------------------------------------------

CLASSES = ("cat", "dog")
IDS = tuple(f"image_{number}" for number in range(4))


def photograph(path, number=0, **options):
    """56 x 40 pixels."""
    noise = np.random.default_rng(number).integers(0, 256, (6, 8, 3), np.uint8)
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(noise).resize((56, 40), Image.Resampling.BICUBIC)
    image.save(path, **options)


def mask(path, number=0, value=None):
    """A palette PNG whose left half is a class."""
    values = np.zeros((40, 56), np.uint8)
    values[:, :28] = value or number % 2 + 1
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values).save(path)


def written(path, text):
    """A text file, or JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text if isinstance(text, str) else json.dumps(text))
    return path


def voc_set(root, tags, masks=True):
    """A folder in VOC layout with tags of one kind; the file of the tags."""
    for number, name in enumerate(IDS):
        photograph(root / "JPEGImages" / f"{name}.jpg", number)
        if masks:
            mask(root / "SegmentationClass" / f"{name}.png", number)
    for name in ("train", "val"):
        written(root / "ImageSets/Segmentation" / f"{name}.txt", "\n".join(IDS) + "\n")
    named = {name: CLASSES[number % 2] for number, name in enumerate(IDS)}
    if tags == "json":
        entries = {name: {"labels_from_boxes": [n % 2 + 1]} for n, name in enumerate(IDS)}
        content = {"classes": ["background", *CLASSES], "ignore_id": 255, "images": entries}
        return written(root / "labels.json", content)
    written(root / "classes.txt", "cat\ndog\n")
    if tags == "csv":
        rows = "".join(f"{name},{tag}\n" for name, tag in named.items())
        return written(root / "labels.csv", f"id,tags\n{rows}")
    for name, tag in named.items():
        xml = f"<annotation><object><name>{tag}</name></object></annotation>"
        written(root / "Annotations" / f"{name}.xml", xml)
    return root / "Annotations" / f"{IDS[0]}.xml"


def coco_content():
    """Outlines, run lengths of both kinds, and a box."""
    outlines = (
        [[5, 5, 30, 5, 30, 30, 5, 30]],
        {"counts": [100, 200, 1940], "size": [40, 56]},
        {"counts": "T3X6dl1", "size": [40, 56]},
        None,
    )
    return {
        "images": [
            {"id": n, "file_name": f"{name}.jpg", "height": 40, "width": 56}
            for n, name in enumerate(IDS)
        ],
        "categories": [{"id": 3, "name": "cat"}, {"id": 7, "name": "dog"}],
        "annotations": [
            {
                **{"id": n, "image_id": n, "category_id": (3, 7)[n % 2], "area": 100.0},
                **{"iscrowd": 0, "bbox": [5, 5, 25, 25], "segmentation": outline},
            }
            for n, outline in enumerate(outlines)
        ],
    }


def coco_set(root):
    """A COCO folder; the file of the training list."""
    for part in ("train", "val"):
        for number, name in enumerate(IDS):
            photograph(root / part / f"{name}.jpg", number)
        written(root / "annotations" / f"instances_{part}.json", coco_content())
    return root / "annotations" / "instances_train.json"


def photos_set(root):
    """Photographs beside each other."""
    for number, name in enumerate(IDS):
        photograph(root / f"{name}.jpg", number)


def label_studio_content():
    """Tasks with choices, rectangles and brushes."""
    stream = brush_rle(np.eye(40, 56) > 0)
    value = {"format": "rle", "rle": stream, "brushlabels": ["cat"]}
    brush = {"from_name": "brush", "original_width": 56, "original_height": 40, "value": value}
    tasks = []
    for number, name in enumerate(IDS):
        tag = CLASSES[number % 2]
        choice = {"from_name": "tag", "value": {"choices": [tag]}}
        box = {"from_name": "box", "value": {"rectanglelabels": [tag], "x": 1, "width": 5}}
        annotation = {"id": number, "result": [choice, box, *([brush] * (tag == "cat"))]}
        data = {"image": f"/data/upload/1/{name}.jpg"}
        tasks.append({"id": number, "data": data, "annotations": [annotation]})
    return tasks


def cvat_text():
    """Tags, boxes, polygons and masks of images."""
    images = "".join(
        f'<image id="{n}" name="{name}.jpg" width="56" height="40"><tag label="{CLASSES[n % 2]}"/>'
        f'<polygon label="{CLASSES[n % 2]}" points="5,5;30,5;30,30"/></image>'
        for n, name in enumerate(IDS)
    )
    labels = "".join(f"<label><name>{name}</name></label>" for name in CLASSES)
    return f"<annotations><meta><labels>{labels}</labels></meta>{images}</annotations>"


# ---- reading -----------------------------------------------------------------------------------


def read(data, pixels=False):
    """All that a check or a training reads of a data set; ``pixels``: decodes the images, too."""
    try:
        for part in ("train", "val"):
            split = load_split(data, part)
            if pixels:
                decode(split)
            elif split.mask_paths:
                for place in range(len(split)):
                    split.mask(place)
    finally:
        check(data)


def decode(split):
    """Decodes all images and maps as a training does."""
    if broken := find_broken(split):
        raise WSSSError(broken[0])


def read_voc(root, pixels=False):
    """As a training and `check` do."""
    read(DataConfig(kind="voc", root=root, train_list="train", crop_size=64), pixels)


def read_coco(root, pixels=False):
    """As a training and `check` do."""
    read(DataConfig(kind="coco", root=root, train_list="train", crop_size=64), pixels)


def read_photos(root, pixels=False):
    """As a training, `check` and `import` do."""
    from keras_wsss.data.photos.importing import import_photos

    target = root.with_name("imported")
    shutil.rmtree(target, ignore_errors=True)
    import_error = None
    try:
        import_photos(root, target)
    except WSSSError as error:
        import_error = error
    read(PhotosDataConfig(kind="photos", root=root, crop_size=64), pixels)
    if import_error:
        raise import_error


# ---- the readers -------------------------------------------------------------------------------


def voc_lists(draw, root):
    """ImageSets/Segmentation/train.txt."""
    voc_set(root, draw.choice(("json", "csv", "xml")))
    spoil(draw, root / "ImageSets/Segmentation/train.txt", of_text)
    read_voc(root)


def voc_classes(draw, root):
    """classes.txt."""
    voc_set(root, draw.choice(("csv", "xml")))
    if draw.random() < 0.1:
        written(root / "classes.txt", "cat\ndog\n" + "".join(f"c{n}\n" for n in range(300)))
    spoil(draw, root / "classes.txt", of_text)
    read_voc(root)


def voc_json(draw, root):
    """labels.json."""
    spoil(draw, voc_set(root, "json"), of_json)
    read_voc(root)


def voc_csv(draw, root):
    """labels.csv."""
    spoil(draw, voc_set(root, "csv"), of_text)
    read_voc(root)


def voc_xml(draw, root):
    """Annotations/ID.xml."""
    spoil(draw, voc_set(root, "xml"), of_xml)
    read_voc(root)


SAVED = (
    ("jpg", {"quality": 90}),
    ("jpg", {"quality": 90, "progressive": True}),
    ("png", {}),
    ("gif", {}),
    ("bmp", {}),
    ("webp", {}),
)


def voc_images(draw, root):
    """JPEGImages/ID, of each format that is read."""
    voc_set(root, "json", masks=draw.random() < 0.5)
    suffix, options = draw.choice(SAVED)
    (root / "JPEGImages/image_0.jpg").unlink()
    path = root / f"JPEGImages/image_0.{suffix}"
    photograph(path, **options)
    spoil(draw, path, of_picture)
    read_voc(root, pixels=True)


def voc_masks(draw, root):
    """SegmentationClass/ID.png."""
    voc_set(root, "json")
    spoil(draw, root / "SegmentationClass/image_0.png", of_picture)
    read_voc(root, pixels=True)


def saliency_maps(draw, root):
    """Saliency/ID.png."""
    voc_set(root, "json", masks=False)
    for name in IDS:
        mask(root / f"Saliency/{name}.png", value=255)
    spoil(draw, root / "Saliency/image_0.png", of_picture)
    data = DataConfig(kind="voc", root=root, train_list="train", crop_size=64)
    split = load_split(data, "train", require_saliency=True)
    decode(split)


def coco(draw, root):
    """annotations/instances_LIST.json."""
    spoil(draw, coco_set(root), of_json)
    read_coco(root)


def coco_images(draw, root):
    """The photographs of a COCO folder."""
    coco_set(root)
    spoil(draw, root / "train/image_0.jpg", of_picture)
    read_coco(root, pixels=True)


def folders(draw, root):
    """Photographs in folders of classes."""
    for number, name in enumerate(IDS):
        photograph(root / CLASSES[number % 2] / f"{name}.jpg", number)
    spoil(draw, root / "cat/image_0.jpg", of_picture)
    read_photos(root, pixels=True)


def tables(draw, root):
    """CSV, TSV and JSON lines."""
    photos_set(root)
    suffix = draw.choice((".csv", ".tsv", ".jsonl", ".json"))
    rows = [(f"{name}.jpg", CLASSES[number % 2]) for number, name in enumerate(IDS)]
    if suffix in (".csv", ".tsv"):
        between = "," if suffix == ".csv" else "\t"
        lines = [("file_name", "tags"), *rows]
        text = "\n".join(between.join(each) for each in lines) + "\n"
        spoil(draw, written(root / f"tags{suffix}", text), of_text)
    else:
        objects = [{"file_name": name, "tags": [tag]} for name, tag in rows]
        lines = "\n".join(map(json.dumps, objects))
        path = written(root / f"tags{suffix}", lines if suffix == ".jsonl" else objects)
        spoil(draw, path, of_json_lines if suffix == ".jsonl" else of_json)
    read_photos(root)


def excel(draw, root):
    """XLSX, a ZIP archive of XML."""
    import zipfile

    from openpyxl import Workbook

    photos_set(root)
    book = Workbook()
    for row in (("file_name", "tags"), *((f"{n}.jpg", CLASSES[i % 2]) for i, n in enumerate(IDS))):
        book.active.append(row)
    path = root / "tags.xlsx"
    book.save(path)
    if draw.random() < 0.5:
        with zipfile.ZipFile(path) as archive:
            parts = {name: archive.read(name) for name in archive.namelist()}
        name = draw.choice(sorted(parts))
        how = draw.random()
        parts[name] = (
            draw.choice(ENTITIES).encode() + parts[name]
            if how < 0.1
            else b" " * 3 * 10**8
            if how < 0.15
            else of_bytes(draw, parts[name])
        )
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for part, content in parts.items():
                archive.writestr(part, content)
    else:
        spoil(draw, path)
    read_photos(root)


def photos_coco(draw, root):
    """COCO JSON of any name beside photographs."""
    photos_set(root)
    spoil(draw, written(root / "coco.json", coco_content()), of_json)
    read_photos(root)


def photos_voc(draw, root):
    """VOC's XML beside photographs."""
    photos_set(root)
    for number, name in enumerate(IDS):
        tag = f"<object><name>{CLASSES[number % 2]}</name></object>"
        xml = f"<annotation><filename>{name}.jpg</filename>{tag}</annotation>"
        written(root / f"{name}.xml", xml)
    spoil(draw, root / "image_0.xml", of_xml)
    read_photos(root)


def yolo(draw, root):
    """Boxes in text files, and data.yaml."""
    photos_set(root)
    for number, name in enumerate(IDS):
        written(root / "labels" / f"{name}.txt", f"{number % 2} 0.5 0.5 0.25 0.25\n")
    written(root / "data.yaml", "names: [cat, dog]\nnc: 2\n")
    name = draw.choice(("data.yaml", "labels/image_0.txt"))
    if name == "data.yaml" and draw.random() < 0.3:
        bombs = ("names: " + "[" * 5000, "a: &a [1]\n" * 9, "names: {0: cat, b: dog}", "names: 5")
        aliases = "\n".join(f"a{n}: &a{n} [{f'*a{n - 1}, ' * 9}]" for n in range(1, 12))
        text = draw.choice((*bombs, "a0: &a0 [1]\n" + aliases + "\nnames: *a11"))
        written(root / name, text)
    else:
        spoil(draw, root / name, of_text)
    read_photos(root)


def label_studio(draw, root):
    """Label Studio's JSON and JSON-MIN."""
    photos_set(root)
    content = label_studio_content()
    if draw.random() < 0.3:
        content = [
            {"id": n, "image": f"{name}.jpg", "tag": CLASSES[n % 2], "annotation_id": n}
            for n, name in enumerate(IDS)
        ]
    spoil(draw, written(root / "project.json", content), of_json)
    read_photos(root)


def cvat(draw, root):
    """CVAT for images."""
    photos_set(root)
    spoil(draw, written(root / "annotations.xml", cvat_text()), of_xml)
    read_photos(root)


def cvat_masks(draw, root):
    """CVAT's masks in colours."""
    photos_set(root)
    written(root / "labelmap.txt", "background:0,0,0::\ncat:128,0,0::\ndog:0,128,0::\n")
    for number, name in enumerate(IDS):
        values = np.zeros((40, 56, 3), np.uint8)
        values[:, :28, number % 2] = 128
        path = root / "SegmentationClass" / f"{name}.png"
        path.parent.mkdir(exist_ok=True)
        Image.fromarray(values).save(path)
    if draw.random() < 0.5:
        spoil(draw, root / "labelmap.txt", of_text)
    else:
        spoil(draw, root / "SegmentationClass/image_0.png", of_picture)
    read_photos(root)


def imported(draw, root):
    """What an import has written, with its masks."""
    for number, name in enumerate(IDS):
        photograph(root / "photos" / f"{name}.jpg", number)
        mask(root / "masks" / f"{name}.png", number)
    rows = "".join(f"{name},{CLASSES[number % 2]}\n" for number, name in enumerate(IDS))
    written(root / "tags.csv", f"id,tags\n{rows}")
    written(root / "classes.txt", "cat\ndog\n")
    written(root / "train.txt", "\n".join(IDS[:2]))
    written(root / "val.txt", "\n".join(IDS[2:]))
    name = draw.choice(("tags.csv", "classes.txt", "train.txt", "masks/image_2.png"))
    spoil(draw, root / name, of_picture if name.endswith(".png") else of_text)
    read(PhotosDataConfig(kind="photos", root=root, crop_size=64))


def photograph_lists(draw, root):
    """What `predict` and `ask` are given: a list in a text file."""
    photos_set(root)
    path = written(root / "list.txt", "\n".join(f"{name}.jpg" for name in IDS))
    if draw.random() < 0.1:
        written(path, "list.txt\n")  # names itself
    # What it is a user says, who has named it; what it names may be anything.
    path.write_bytes(draw.choice((of_text, of_bytes))(draw, path.read_bytes()))
    if draw.random() < 0.2:
        of_kind(draw, root / "image_0.jpg")
    find_photographs([path])


READERS = {
    "voc_lists": voc_lists,
    "voc_classes": voc_classes,
    "voc_json": voc_json,
    "voc_csv": voc_csv,
    "voc_xml": voc_xml,
    "voc_images": voc_images,
    "voc_masks": voc_masks,
    "saliency_maps": saliency_maps,
    "coco": coco,
    "coco_images": coco_images,
    "folders": folders,
    "tables": tables,
    "excel": excel,
    "photos_coco": photos_coco,
    "photos_voc": photos_voc,
    "yolo": yolo,
    "label_studio": label_studio,
    "cvat": cvat,
    "cvat_masks": cvat_masks,
    "imported": imported,
    "photograph_lists": photograph_lists,
}
"""Name -> function (draw: random.Random, folder: Path) that writes one spoiled data set and reads
it; it raises what reading raises."""
