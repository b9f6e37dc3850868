"""How a run came about."""

from __future__ import annotations

import shlex
from html import escape

from keras_wsss.inference.report.results import Results

FACTS = {
    "method": "method",
    "supervision": "supervision",
    "parity": "parity",
    "seed": "seed",
    "step": "step",
    "config_hash": "hash of the configuration",
    "seconds": "seconds",
    "images_per_second": "images a second, with start-up and compiling",
    "peak_memory_mb": "peak memory, MB",
    "replicas": "replicas",
}
"""Key of summary.json -> what people call it."""


def provenance(run: Results) -> str:
    """What was trained by which versions, the command that does so again, the configuration."""
    facts = {told: run.summary[key] for key, told in FACTS.items() if key in run.summary}
    facts |= run.images["made_with"]
    terms = "\n".join(
        f"<dt>{name}</dt><dd>{escape(str(value))}</dd>" for name, value in facts.items()
    )
    command = shlex.join(
        ["keras-wsss", "train", "--config", f"{run.path}/config.yaml", "--run-dir", "NEW"]
    )
    return (
        f"<dl>\n{terms}\n</dl>\n"
        f"<p>The same again: <code>{escape(command)}</code></p>\n"
        "<details><summary>Configuration</summary>\n"
        f'<pre tabindex="0">{escape(run.config.to_yaml())}</pre></details>'
    )
