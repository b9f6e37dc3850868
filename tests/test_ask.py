"""``keras-wsss ask`` with a server that answers at once: what is written, kept and left out."""

import io
import json

import numpy as np
import pytest
from data_folder import photograph
from PIL import Image

from keras_wsss.__main__ import main
from keras_wsss.commands import ask
from keras_wsss.data.files import displayed_size
from keras_wsss.export.client import Segmentation


class Server:
    """What answers in place of a server; the mask has the size of the displayed photograph."""

    number = 1

    def __init__(self, *_, **__):
        self.asked = []

    def wait(self, seconds):
        pass

    def version(self):
        return self.number

    def segment(self, paths):
        (path,) = paths
        self.asked.append(path.name)
        if path.suffix not in (".jpg", ".png"):
            return [Segmentation(None, {}, {}, {}, 0.0, "not_decodable", "is no image")]
        width, height = displayed_size(str(path))[0]
        mask = np.ones((height, width), np.uint8)
        return [Segmentation(mask, {1: "cat"}, {"cat": 0.9}, {"cat": 1.0}, 0.8, "ok", "")]


@pytest.fixture
def server(monkeypatch):
    server = Server()
    monkeypatch.setattr(ask, "RestClient", lambda *_, **__: server)
    return server


@pytest.fixture
def asked(server, capsys):
    """Runs the command; exit code, its rows by the name of the photograph, and who was asked."""

    def run(*arguments):
        server.asked.clear()
        code = 0
        try:
            main(["ask", "--model", "cats", "--json", *map(str, arguments)])
        except SystemExit as end:
            code = end.code
        printed = capsys.readouterr()
        if code == 2:
            return code, printed.err, server.asked
        return code, {row["name"]: row for row in json.loads(printed.out)}, server.asked

    return run


def save(path, seed=0, **options):
    path.parent.mkdir(exist_ok=True)
    Image.fromarray(photograph(seed)).save(path, **options)
    return path


def test_answers_are_kept_and_asked_for_again_like_predictions(asked, server, tmp_path):
    photos, output = tmp_path / "photos", tmp_path / "out"
    save(photos / "a.png")
    assert asked(photos, "-o", output)[2] == ["a.png"]
    save(photos / "b.png", 1)
    code, rows, names = asked(photos, "-o", output)
    assert (code, sorted(rows), names) == (0, ["a", "b"], ["b.png"])
    assert rows["a"]["coverage"] == {"cat": 1.0}
    code, message, _ = asked(save(tmp_path / "other" / "a.png"), "-o", output)
    assert code == 2 and "the same name" in message
    server.number = 2
    code, message, _ = asked(photos, "-o", output)
    assert code == 2 and "other settings (version)" in message
    assert asked(photos, "-o", output, "--overwrite")[2] == ["a.png", "b.png"]


def test_a_folder_of_predict_is_not_touched(asked, tmp_path):
    output = tmp_path / "out"
    output.mkdir()
    for name in ("predictions.json", "predictions.jsonl"):
        (output / name).write_text('{"path": "a"}\n')
    code, message, _ = asked(save(tmp_path / "a.png"), "-o", output)
    assert code == 2 and "was not written by this command" in message
    assert (output / "predictions.jsonl").read_text() == '{"path": "a"}\n'


@pytest.mark.parametrize("kind", ["JPEG", "MPO"])
def test_turned_photographs(asked, tmp_path, kind):
    """Also those of phones that hold several pictures."""
    exif = Image.Exif()
    exif[0x0112] = 6
    several = {"save_all": True, "append_images": [Image.fromarray(photograph(1))]}
    path = save(tmp_path / "a.jpg", format=kind, exif=exif, **(several if kind == "MPO" else {}))
    assert Image.open(path).format == kind
    assert asked(path, "-o", tmp_path / "out")[0] == 0
    mask = Image.open(tmp_path / "out" / "masks" / "a.png")
    assert mask.size == Image.open(path).size[::-1]
    shown, stored = ask._displayed(path), np.asarray(Image.open(path).convert("RGB"))
    np.testing.assert_array_equal(shown, np.rot90(stored, -1))


def test_one_bad_file_does_not_end_the_command(asked, tmp_path, monkeypatch):
    photos = tmp_path / "photos"
    save(photos / "a.png"), save(photos / "b.gif"), save(photos / "c.png")
    (photos / "d.tif").write_bytes(b"no image")
    orientation = ask.file_orientation

    def broken(path):
        if path.endswith("a.png"):
            raise ValueError("nonsense")
        return orientation(path)

    monkeypatch.setattr(ask, "file_orientation", broken)
    code, rows, _ = asked(photos, "-o", tmp_path / "out")
    found = {name: row["status"] for name, row in rows.items()}
    assert code == 1
    assert found == {"a": "unreadable", "b": "not_decodable", "c": "ok", "d": "unreadable"}
    assert "a.png cannot be read for the overlay" in rows["a"]["message"]
    monkeypatch.setattr(ask, "file_orientation", orientation)
    # What has no mask is asked for again.
    assert asked(photos, "-o", tmp_path / "out")[2] == ["a.png", "b.gif"]


def test_kinds_that_servers_do_not_read_are_converted(asked, tmp_path):
    save(tmp_path / "photos" / "scan.tif")
    code, rows, names = asked(tmp_path / "photos", "-o", tmp_path / "out")
    assert (code, names, rows["scan"]["status"]) == (0, ["scan.jpg"], "ok")
    assert rows["scan"]["path"].endswith("scan.tif")
    mask = (tmp_path / "out" / "masks" / "scan.png").read_bytes()
    assert Image.open(io.BytesIO(mask)).size == (56, 40)
