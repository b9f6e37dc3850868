"""Executes notebooks and saves their outputs, as ``make notebooks`` does.

    python examples/execute.py examples/photographs.ipynb [...]

Beside NAME.ipynb lies NAME.py with the same cells, to read and to compare; ``jupytext --sync
examples/NAME.ipynb`` brings both to the state of the newer one.
"""

import argparse
import os
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from nbclient import NotebookClient

HERE = Path(__file__).resolve().parent
KERNEL = {"display_name": "Python 3", "language": "python", "name": "python3"}


def main():
    """Parses the command line and executes."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("notebooks", nargs="+", type=Path)
    for path in parser.parse_args().notebooks:
        notebook = nbformat.read(path, as_version=4)
        with tempfile.TemporaryDirectory() as folder:
            execute(notebook, folder)
        nbformat.write(notebook, path)
        print(f"{path}: {path.stat().st_size / 1e6:.2f} MB")


def execute(notebook, folder):
    """Runs all cells from top to bottom in a folder, and puts their outputs into the notebook.

    Args:
        notebook: as nbformat reads it.
        folder: the working directory; gets a copy of ``make_photos.py``.

    Raises:
        nbclient.exceptions.CellExecutionError: a cell fails; with its traceback.
    """
    shutil.copy(HERE / "make_photos.py", folder)
    environment = {name: value for name, value in os.environ.items() if name != "MPLBACKEND"}
    # Cells that are shell commands find those of this interpreter, and this checkout.
    environment["PATH"] = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    environment["PYTHONPATH"] = str(HERE.parent)
    client = NotebookClient(
        notebook,
        timeout=3600,
        record_timing=False,
        coalesce_streams=True,
        resources={"metadata": {"path": str(folder)}},
    )
    client.execute(env=environment)
    # What libraries say on stderr is about this machine; a cell that fails has raised.
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [each for each in cell.outputs if each.get("name") != "stderr"]
    notebook.metadata["kernelspec"] = KERNEL
    notebook.metadata["language_info"] = {"name": "python"}


if __name__ == "__main__":
    main()
