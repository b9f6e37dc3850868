"""YAML that a person may have written is read, and everything else is refused at once."""

import time

import pytest
import yaml

from keras_wsss.config import load_config
from keras_wsss.config.yaml_text import MOST_DEPTH, MOST_NODES, read_yaml
from keras_wsss.errors import ConfigError

BASE = "extends: shapes_tscd\n"
BOMB = BASE + "a0: &a0 [x,x,x,x,x,x,x,x,x,x]\n"
BOMB += "".join(f"a{i}: &a{i} [{','.join([f'*a{i - 1}'] * 10)}]\n" for i in range(1, 9))

HOSTILE = {
    "bomb": (BOMB, f"stands for more than {MOST_NODES} values"),
    "anchor in itself": (BASE + "name: &a [*a]\n", "holds itself"),
    "deep list": (BASE + "name: " + "[" * 5000 + "]" * 5000, f"more than {MOST_DEPTH} deep"),
    "deep map": (BASE + "data: " + "{a: " * 3000 + "1" + "}" * 3000, "deep"),
    "many keys": (BASE + "data: {" + ", ".join(f"k{i}: 1" for i in range(30_000)) + "}", "values"),
    "long": (BASE + "name: " + "x" * 2_000_000, "bytes; at most"),
    "a date as key": (BASE + "2020-01-01: 3\n", "is no key"),
    "nothing as key": (BASE + "~: 3\n", "is no key"),
    "a list as key": (BASE + "? [a, b]\n: 3\n", "found unhashable key|is no key"),
    "month 13": (BASE + "name: 2020-13-45\n", "month"),
    "a number without end": (BASE + "seed: " + "9" * 5000, "digits"),
    "code": (BASE + "name: !!python/object/apply:os.system ['true']\n", "constructor"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_what_nobody_writes_is_refused_at_once(tmp_path, kind):
    text, says = HOSTILE[kind]
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    begun = time.process_time()
    with pytest.raises(ConfigError, match=says) as error:
        load_config(path)
    assert "mine.yaml" in str(error.value) and "\n" not in str(error.value)
    assert len(str(error.value)) < 1000
    assert time.process_time() - begun < 5  # they took minutes; the fastest of machines seconds


def test_anchors_of_people_are_read():
    assert read_yaml("a: &x [1, 2]\nb: *x\nc: [*x, *x]") == {
        "a": [1, 2], "b": [1, 2], "c": [[1, 2], [1, 2]]
    }  # fmt: skip
    with pytest.raises(yaml.YAMLError, match="not there"):
        read_yaml("a: *nowhere")


def test_files_that_extend_one_another_twice_are_read_once(tmp_path):
    (tmp_path / "d0.yaml").write_text("extends: shapes_tscd\nseed: 7\n")
    for number in range(1, 17):
        before = f"d{number - 1}"
        (tmp_path / f"d{number}.yaml").write_text(f"extends: [{before}, {before}]\n")
    assert load_config(tmp_path / "d16.yaml").seed == 7


def test_a_long_row_of_files_is_refused(tmp_path):
    (tmp_path / "c0.yaml").write_text("extends: shapes_tscd\n")
    for number in range(1, 300):
        (tmp_path / f"c{number}.yaml").write_text(f"extends: c{number - 1}\n")
    with pytest.raises(ConfigError, match="in a row; allowed: 20"):
        load_config(tmp_path / "c299.yaml")
