"""What is shipped: the wheel, its metadata, and rooms that know only the rooms below them."""

import configparser
import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from packaging.requirements import Requirement

import keras_wsss
from keras_wsss._environment import SETTINGS

REPOSITORY = Path(__file__).resolve().parents[1]
SOURCES = ("keras_wsss", "configs", "export", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")
SHIPPED = {".py", ".typed", ".yaml", ".md", ".txt", ".config", ".css", ".html", ".js"}


def run(*arguments, cwd, **environment):
    result = subprocess.run(
        [sys.executable, *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, **environment},
    )
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of a copy of the tree, built without network and without traces in the tree."""
    tree = tmp_path_factory.mktemp("tree")
    for name in SOURCES:
        source = REPOSITORY / name
        if source.is_symlink():
            (tree / name).symlink_to(os.readlink(source))
        elif source.is_dir():
            ignore = shutil.ignore_patterns("__pycache__")
            shutil.copytree(source, tree / name, symlinks=True, ignore=ignore)
        else:
            shutil.copy(source, tree / name)
    build = "from setuptools import build_meta; build_meta.build_wheel('.')"
    run("-c", build, cwd=tree)
    (path,) = tree.glob("*.whl")
    return zipfile.ZipFile(path)


def test_links_are_links():
    """Copies in their place would grow apart from the folders in the package."""
    for name in ("configs", "export"):
        link, folder = REPOSITORY / name, REPOSITORY / "keras_wsss" / name
        assert link.is_symlink() and os.readlink(link) == f"keras_wsss/{name}"
        assert folder.is_dir() and not folder.is_symlink()


def test_documents_call_the_commands_in_one_way():
    """`keras-wsss train`; that `python -m keras_wsss.train` does the same is said in the README."""
    documents = [*(REPOSITORY / "docs").rglob("*.md"), *(REPOSITORY / "configs").rglob("*.yaml")]
    assert len(documents) > 40
    other = [f"python -m keras_wsss.{name}" for name in ("train", "evaluate", "export", "verify")]
    assert not [d.name for d in documents if any(call in d.read_text() for call in other)]
    readme = (REPOSITORY / "README.md").read_text()
    assert [readme.count(call) for call in other] == [1, 1, 1, 1]


def test_every_folder_of_the_package_is_in_it():
    """A link on the way would make one file two."""
    links = [path for path in (REPOSITORY / "keras_wsss").rglob("*") if path.is_symlink()]
    assert not links


def test_wheel_holds_the_tree(wheel):
    expected = set()
    for folder, _, names in os.walk(REPOSITORY / "keras_wsss", followlinks=True):
        for name in names:
            path = Path(folder, name)
            if path.suffix in SHIPPED:
                expected.add(path.relative_to(REPOSITORY).as_posix())
    shipped = {name for name in wheel.namelist() if ".dist-info/" not in name}
    assert shipped == expected
    assert {
        "keras_wsss/configs/voc_rrm.yaml",
        "keras_wsss/configs/data/voc.yaml",
        "keras_wsss/configs/methods/tscd.yaml",
        "keras_wsss/export/__init__.py",
        "keras_wsss/methods/tscd/settings.py",
        "keras_wsss/py.typed",
    } <= shipped


def test_wheel_metadata(wheel):
    (metadata,) = (name for name in wheel.namelist() if name.endswith("/METADATA"))
    text = wheel.read(metadata).decode()
    version = f"Version: {keras_wsss.__version__}"
    assert {version, "License: Apache-2.0", "Requires-Python: >=3.11"} <= set(text.splitlines())
    assert any(name.endswith("LICENSE") for name in wheel.namelist())


def test_installed_wheel_finds_its_configurations(wheel, tmp_path):
    wheel.extractall(tmp_path)
    code = (
        "import keras_wsss.export\n"
        "from keras_wsss.config import load_config\n"
        "names = load_config('shapes_tscd').name, load_config('voc_tscd', ['data.root=.']).name\n"
        "print(keras_wsss.__file__, keras_wsss.export.__file__, *names)"
    )
    output = run("-P", "-c", code, cwd=tmp_path.parent, PYTHONPATH=str(tmp_path)).split()
    package = tmp_path / "keras_wsss"
    assert output == [
        str(package / "__init__.py"),
        str(package / "export/__init__.py"),
        "shapes_tscd",
        "voc_tscd",
    ]


def test_version_stands_in_one_place():
    version = keras_wsss.__version__
    for name in ("setup.cfg", "pyproject.toml", "CITATION.cff", "README.md"):
        assert version not in (REPOSITORY / name).read_text(), name
    changes = (REPOSITORY / "CHANGELOG.md").read_text().splitlines()
    assert next(line for line in changes if line.startswith("## ")).startswith(f"## {version}")


def test_requirements_have_lower_bounds_and_locked_versions():
    setup = configparser.ConfigParser()
    setup.read(REPOSITORY / "setup.cfg")
    installed = setup["options"]["install_requires"] + setup["options.extras_require"]["test"]
    lines = (REPOSITORY / "constraints.txt").read_text().splitlines()
    locked = dict(
        (line.split("==")[0].lower().replace("_", "-"), line.split("==")[1])
        for line in lines
        if line and not line.startswith("#")
    )
    requirements = [Requirement(line) for line in installed.split("\n") if line.strip()]
    assert len(requirements) > 15
    for requirement in requirements:
        name = requirement.name.lower().replace("_", "-")
        assert any(spec.operator == ">=" for spec in requirement.specifier), requirement
        assert requirement.specifier.contains(locked[name]), requirement


WATCH = """
import sys
seen = []
def watch(event, details):
    if event.startswith(("socket.", "urllib.", "http.", "ftplib.", "smtplib.")):
        seen.append(event)
sys.addaudithook(watch)
import keras_wsss
print(seen)
for name in keras_wsss.__all__:
    getattr(keras_wsss, name)
print(seen)
"""


def test_an_import_asks_nobody(tmp_path):
    """No telemetry, no check for updates; a library of requests tries whether there is IPv6."""
    first, all_of_it = run("-W", "ignore", "-c", WATCH, cwd=REPOSITORY).splitlines()
    assert first == "[]"
    assert set(all_of_it.strip("[]").replace("'", "").split(", ")) <= {
        *("", "socket.__new__", "socket.bind"),
    }


@pytest.mark.parametrize("name", keras_wsss.__all__)
def test_public_names_exist(name):
    assert getattr(keras_wsss, name) is not None
    assert name in dir(keras_wsss)


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="nothing"):
        keras_wsss.nothing  # noqa: B018


def test_rooms_use_only_lower_rooms():
    lint = "from importlinter.cli import lint_imports; raise SystemExit(lint_imports())"
    run("-c", lint, cwd=REPOSITORY)


# ---- what TensorFlow reads before its import --------------------------------------------------

SAY = f"import os, keras_wsss; print(*(os.environ[name] for name in {list(SETTINGS)}))"


def test_the_package_sets_what_is_faster():
    forget = f"import os; [os.environ.pop(name, None) for name in {list(SETTINGS)}]; "
    assert run("-c", forget + SAY, cwd=REPOSITORY).split() == ["1", "true"]


def test_the_users_own_settings_stay():
    own = {"TF_ENABLE_ONEDNN_OPTS": "0", "TF_CPU_ALLOCATOR_USE_BFC": "false"}
    assert run("-c", SAY, cwd=REPOSITORY, **own).split() == ["0", "false"]
    described = "from keras_wsss._environment import described; print(described())"
    text = run("-c", described, cwd=REPOSITORY, **own)
    assert "TF_ENABLE_ONEDNN_OPTS=0, TF_CPU_ALLOCATOR_USE_BFC=false" in text
