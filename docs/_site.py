"""What mkdocs.yml needs beside its plugins.

Links are relative to the file they stand in, as on a code host. So that the same ones work in the
site, its pages are known by their place in the repository, and what they link to outside of
``docs`` is in it, too.
"""

import ast
import re
from pathlib import Path

import griffe
from mkdocs.plugins import event_priority
from mkdocs.structure.files import File, InclusionLevel

ROOT = Path(__file__).resolve().parents[1]
OUTSIDE = (
    *("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md", "LICENSE", "CITATION.cff"),
    *("examples/*.ipynb", "benchmarks/results/*.json"),
    *("keras_wsss/backbones/adapter.py", "keras_wsss/config/data.py", "keras_wsss/data/split.py"),
    *("keras_wsss/config/declarations.py", "keras_wsss/methods/base.py"),
    *("keras_wsss/export/comparison.py", "keras_wsss/export/formats.py"),
)
EXAMPLE = re.compile(r"^( *)>>> .*(\n\1\S.*|\n\1\.\.\..*)*", re.M)
ROLE = re.compile(r":(class|func|meth|mod|attr):`~?([\w.]+)`")


@event_priority(100)  # before notebooks are looked for
def on_files(files, config):
    """Names the files of ``docs`` ``docs/NAME`` and adds those outside of it."""

    def add(name, place=None, inclusion=InclusionLevel.UNDEFINED):
        directories = str(ROOT), config.site_dir, config.use_directory_urls
        files.append(File(name, *directories, dest_uri=place, inclusion=inclusion))

    for file in [file for file in files if file.src_dir == config.docs_dir]:
        files.remove(file)
        add(f"docs/{file.src_uri}", file.dest_uri, file.inclusion)
    for path in (path for pattern in OUTSIDE for path in sorted(ROOT.glob(pattern))):
        page = f"{path.stem.lower()}.html" if path.suffix == ".md" else None  # no README is index
        add(path.relative_to(ROOT).as_posix(), page)
    return files


class PublicNames(griffe.Extension):
    """Turns docstrings into Markdown, and names that are imported on first use into members."""

    # The roles of reStructuredText are no Markdown, and neither are examples as doctest has them.
    def on_instance(self, *, obj, **kwargs):
        def linked(role):
            kind, name = role.groups()
            if not name.startswith("keras_wsss."):
                owner = obj.parent if kind == "meth" and obj.is_function else obj
                name = f"{(owner if kind == 'meth' else obj.module).path}.{name}"
            shown = role[2].rpartition(".")[2]
            return f'<autoref identifier="{name}" optional><code>{shown}</code></autoref>'

        if obj.docstring:
            text = re.sub(EXAMPLE, r"\1```pycon\n\g<0>\n\1```", obj.docstring.value)
            obj.docstring.value = re.sub(ROLE, linked, text)

    def on_module_members(self, *, mod, **kwargs):
        for table in {"_NAMES", "_LAZY"} & mod.attributes.keys():
            modules = ast.literal_eval(str(mod.attributes[table].value))
            for name, module in modules.items():
                mod.set_member(name, griffe.Alias(name, f"{mod.path}.{module}.{name}"))
            if table == "_NAMES":
                mod.exports = list(modules)
