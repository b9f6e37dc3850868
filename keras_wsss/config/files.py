"""Configurations as files: names, inheritance, ``--set``.

A file may name parents (``extends: tscd`` or ``extends: [tscd, animals5]``); mappings are merged
into the parents', everything else replaces it, and a null removes an inherited loss term. A parent
may speak to several methods: keys that the chosen method, or the chosen kind of data, does not have
are left out of it. In the file itself and in ``--set`` they are an error.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from keras_wsss.config.identity import flat
from keras_wsss.config.keys import foreign_keys, without
from keras_wsss.config.messages import Layer, shown
from keras_wsss.config.schema import Config
from keras_wsss.config.sections import section_keys
from keras_wsss.config.stages import stage_configs
from keras_wsss.config.validation import chosen_class, merge, validate
from keras_wsss.config.yaml_text import read_yaml
from keras_wsss.errors import ConfigError, one_line
from keras_wsss.registry import METHODS, closest, did_you_mean

SHIPPED = Path(__file__).resolve().parents[1] / "configs"
FOLDERS = (SHIPPED, SHIPPED / "methods", SHIPPED / "data")
MOST_PARENTS = 20


def load_config(name_or_path: str | Path, overrides: Iterable[str] = ()) -> Config:
    """Reads a configuration by its shipped name or by path.

    Args:
        name_or_path: a path, with or without ``.yaml``, or the name of a shipped configuration.
            Where there is no file ``DATA_METHOD``, that is the file of the method with that of the
            data set on top.
        overrides: strings ``key.path=value`` (``--set``); values are YAML.

    Returns:
        A validated, immutable :class:`Config`.

    Raises:
        ConfigError: one message with file, key, value, what is allowed and the nearest known key.

    Example:

    >>> load_config("voc_tscd", ["data.root=VOC2012"]).backbone.name
    'mit_b1'
    """
    path = _file(name_or_path, Path.cwd())
    inherited = list(_layers_of(name_or_path, Path.cwd()))
    own = [inherited.pop()] if path else []
    name = path.stem if path else Path(name_or_path).name
    return _checked(name, inherited, [*own, *map(_override, overrides)], str(path or name))


def load_run_config(run_dir: str | Path, overrides: Iterable[str] = ()) -> Config:
    """The configuration of a run folder, with overrides ``key.path=value``.

    Raises:
        ConfigError: the folder holds no ``config.yaml``, or one that is not valid.

    Example:

    >>> load_run_config("runs/demo").training.steps
    2
    """
    path = Path(run_dir) / "config.yaml"
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; {run_dir} is not the folder of a run")
    layers: list[Layer] = [(source, _of_today(values, source)) for source, values in _layers(path)]
    return _checked(path.stem, layers, list(map(_override, overrides)), str(path))


def shipped_configs() -> list[str]:
    """Names of the configurations that come with the package and can be trained.

    Example:

    >>> "voc_tscd" in shipped_configs()
    True
    """
    files = {path.stem for path in SHIPPED.glob("*.yaml")}
    methods, data = ([path.stem for path in folder.glob("*.yaml")] for folder in FOLDERS[1:])
    return sorted(files | {f"{each}_{method}" for each in data for method in methods})


def _of_today(values: Mapping[str, Any], source: str) -> dict[str, Any]:
    """What a run's file says, without what only a former version has written.

    There every method had all keys, and null was the refiner of a method that takes its own.
    """
    foreign = foreign_keys(chosen_class(values, [(source, values)], source))
    label = values.get("pseudo_label")
    if isinstance(label, Mapping) and label.get("refiner", "") is None:
        foreign["pseudo_label.refiner"] = []
    return without(values, foreign, options=True)


def _checked(name: str, inherited: list[Layer], own: list[Layer], source: str) -> Config:
    """The configuration that layers make; what is foreign to the method stays out of inherited."""
    layers = [*inherited, *own]
    values: dict[str, Any] = {"name": name}
    for _, layer in layers:
        values = merge(values, layer)
    foreign = foreign_keys(chosen_class(values, layers, source))
    values = {"name": name}
    for _, layer in inherited:
        values = merge(values, without(layer, foreign))
    for _, layer in own:
        values = merge(values, layer)
    _refuse_terms_of_another_method(name, values, layers)
    config = validate(values, layers, source)
    # A mistake in a late stage must not wait until the first has trained.
    for stage, of_stage in stage_configs(config):
        _refuse_lost_keys(stage, of_stage, config, inherited, foreign)
    return config


def _refuse_terms_of_another_method(
    name: str, values: Mapping[str, Any], layers: list[Layer]
) -> None:
    """Raises where another method is chosen and the former one's loss terms are left."""
    said = [(source, layer["method"]) for source, layer in layers if "method" in layer]
    (source, method), before = said[-1], said[-2][1] if len(said) > 1 else None
    terms = values.get("losses")
    if before in (None, method) or not isinstance(terms, Mapping):
        return
    left = [f"losses.{term}" for term in terms if terms[term] and term not in METHODS[method].terms]
    if left:
        joined = f"{name.removesuffix(f'_{before}')}_{method}"
        way = f"--config {joined}" if joined in shipped_configs() else f"extends: [{method}, DATA]"
        raise ConfigError(
            f"{source}: method: value {method!r}; allowed: {before}, since {method} has no "
            f"{', '.join(left)}; what you want is `{way}`"
        )


def _refuse_lost_keys(
    stage: str, of_stage: Config, config: Config, inherited: list[Layer], foreign: Mapping[str, Any]
) -> None:
    """Raises where an inherited key that the first method lacks was meant for a stage's."""
    said = flat(config.stages.get(stage, {}))
    for source, layer in inherited:
        for key, value in flat(layer).items():
            lost = key in foreign and key in section_keys(type(of_stage)) and key not in said
            if lost and not key.startswith("losses."):
                raise ConfigError(
                    f"{source}: {key}: value {shown(value)}; {config.method} has no such key, but "
                    f"the method of stage {stage} has; set it there (stages.{stage}.{key})"
                )


# ---- files -----------------------------------------------------------------------------------


def _file(name: str | Path, folder: Path, ours: Sequence[Path] = FOLDERS) -> Path | None:
    """The file of that name, beside the one that names it or among ours."""
    places = (folder / name, *(place / f"{name}.yaml" for place in (folder, *ours)))
    return next((place for place in places if place.is_file()), None)


def _layers_of(
    name: str | Path,
    folder: Path,
    children: tuple[Path, ...] = (),
    read: dict[Path, list[Layer]] | None = None,
) -> Iterator[Layer]:
    """What a file says, or a data set and a method whose names are joined, parents first."""
    data, _, method = str(name).rpartition("_")
    parts = [_file(name, folder)]
    if parts == [None]:
        # Of a data set and of a configuration with the same name it is the data set that is meant.
        parts = [_file(method, SHIPPED / "methods"), _file(data, folder, FOLDERS[::-1])]
    if None in parts:
        known = shipped_configs()
        raise ConfigError(
            f"{name}: neither a file nor a shipped configuration; shipped are {', '.join(known)}"
            + did_you_mean(closest(str(name), known))
        )
    for part in parts:
        assert part is not None
        yield from _layers(part, children, read)


def _layers(
    path: Path, children: tuple[Path, ...] = (), read: dict[Path, list[Layer]] | None = None
) -> list[Layer]:
    """The file and all that it extends, parents first; each file is read once."""
    read = {} if read is None else read
    if path.resolve() not in read:
        read[path.resolve()] = list(_read_layers(path, children, read))
    return read[path.resolve()]


def _read_layers(
    path: Path, children: tuple[Path, ...], read: dict[Path, list[Layer]]
) -> Iterator[Layer]:
    if len(children) > MOST_PARENTS:
        raise ConfigError(
            f"{path}: extends: is the {len(children)}th file in a row; allowed: {MOST_PARENTS}"
        )
    if path.resolve() in children:
        names = " -> ".join(file.name for file in (*children, path))
        raise ConfigError(f"{path}: extends: a cycle ({names}); remove one of them")
    try:
        values = read_yaml(path.read_bytes())
    except (OSError, yaml.YAMLError) as error:
        raise ConfigError(f"{path}: {one_line(error)}; allowed: YAML in UTF-8") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path}: holds {shown(values)}; allowed: a mapping of keys to values")
    parents = values.pop("extends", None) or []
    if isinstance(parents, str):
        parents = [parents]
    if not isinstance(parents, list) or not all(isinstance(parent, str) for parent in parents):
        allowed = "a name or path, or a list of them"
        raise ConfigError(f"{path}: extends: {shown(parents)}; allowed: {allowed}")
    seen: list[str] = []
    for parent in parents:
        for source, said in _layers_of(parent, path.parent, (*children, path.resolve()), read):
            # What two parents share must not undo what the first of them changed in it.
            if not any(Path(source).samefile(known) for known in seen):
                seen.append(source)
                yield source, {key: value for key, value in said.items() if key != "name"}
    yield str(path), values


def _override(text: str) -> Layer:
    source = f"--set {text}"
    key, separator, yaml_text = text.partition("=")
    if not separator or not key:
        raise ConfigError(f"{source}: allowed: key.path=value")
    try:
        value = read_yaml(yaml_text)
    except yaml.YAMLError as error:
        raise ConfigError(f"{source}: {key}: {one_line(error)}; allowed: YAML") from error
    for part in reversed(key.split(".")):
        value = {part: value}
    return source, value
