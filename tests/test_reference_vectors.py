"""Every reference vector: values that the authors' released code gave on synthetic inputs.

Each file `<name>.npz` holds numbered cases; its check is the entry `<name>` of ``CHECKS`` in
``reference_ops``, ``reference_network`` or ``reference_method`` and gets the arrays of one case
(without the prefix `case<i>_`) and the whole file. A file without a check fails.
"""

import os
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parents[1]
FOLDER = Path(os.environ.get("KERAS_WSSS_REFERENCE", ROOT.parent / "shared" / "golden"))
if not FOLDER.is_dir():
    pytest.skip(f"reference vectors are not here: no folder {FOLDER}", allow_module_level=True)

import reference_method  # noqa: E402
import reference_network  # noqa: E402
import reference_ops  # noqa: E402

CHECKS = {**reference_ops.CHECKS, **reference_network.CHECKS, **reference_method.CHECKS}

# Files of methods that are not built yet. They are left out, not skipped; a method's author
# moves its names from here to a check.
PENDING: set[str] = set()


def cases():
    for path in sorted(FOLDER.glob("*.npz")):
        if path.stem in PENDING:
            continue
        with np.load(path) as file:
            numbers = {int(k[4:].split("_")[0]) for k in file.files if k.startswith("case")}
        for number in sorted(numbers) or [None]:
            yield pytest.param(path, number, id=f"{path.stem}-{number}")


@pytest.mark.parametrize(("path", "number"), list(cases()))
def test_reference_vector(path, number):
    assert path.stem in CHECKS, f"{path}: no check and not listed as pending"
    assert number is not None, f"{path}: no case in the file"
    prefix = f"case{number}_"
    with np.load(path) as file:
        case = {k.removeprefix(prefix): file[k] for k in file.files if k.startswith(prefix)}
        CHECKS[path.stem](case, file)


def test_nothing_pending_has_a_check_and_no_check_lacks_its_file():
    assert not PENDING & set(CHECKS)
    assert {path.stem for path in FOLDER.glob("*.npz")} >= set(CHECKS)
