# `make demo` and `make test` do everything on a fresh machine with Python 3.11 or newer.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RUNNABLE := $(VENV)/.runnable
INSTALLED := $(VENV)/.installed
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip install -qq --disable-pip-version-check
RUN := runs/demo

export TF_CPP_MIN_LOG_LEVEL ?= 2

.PHONY: audit install demo docs lint notebooks sbom test

install: $(INSTALLED)

# The package alone, and what the tests need beside it.
$(RUNNABLE): setup.cfg pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(PIP) --editable .
	touch $@

$(INSTALLED): $(RUNNABLE)
	$(PIP) --editable ".[test]"
	touch $@

# Trains BMP on generated images from their tags alone; starts over when run again.
demo: $(RUNNABLE)
	rm -rf $(RUN)
	$(BIN)/python -m keras_wsss.train --config demo --run-dir $(RUN)
	@echo "Scores: $(RUN)/summary.json   pictures: $(RUN)/contact_sheet.png   report: $(RUN)/report.html"

# The documentation as a site; no page needs a network.
docs: $(RUNNABLE)
	$(PIP) --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict
	@echo "Site: build/site/index.html; its search needs a server:"
	@echo "$(BIN)/python -m http.server --directory build/site"

lint: $(INSTALLED)
	$(BIN)/ruff check --quiet .
	$(BIN)/mypy
	$(BIN)/lint-imports

test: lint
	$(BIN)/python -m pytest -q --numprocesses 2 --dist worksteal

# What looks at the locked versions; not part of them.
TOOLS := $(VENV)-tools

$(TOOLS):
	$(PYTHON) -m venv $@
	$@/bin/pip install -qq --disable-pip-version-check pip-audit cyclonedx-bom || \
		{ rm -rf $@; echo "no network: pip-audit and cyclonedx-bom cannot be installed"; exit 1; }

# Known vulnerabilities of the versions in constraints.txt, asked of a database in the network; a
# version that it does not know is an error, too.
audit: | $(TOOLS)
	$(TOOLS)/bin/pip-audit --requirement constraints.txt --no-deps --disable-pip --strict \
		--progress-spinner off

# The bill of materials of a release, CycloneDX: build/sbom.json.
sbom: | $(TOOLS)
	mkdir -p build
	$(TOOLS)/bin/cyclonedx-py requirements constraints.txt --output-file build/sbom.json

# Executes the notebooks anew and saves their outputs: about half an hour on 2 cores.
# One of them: make notebooks NOTEBOOKS=examples/photographs.ipynb
NOTEBOOKS ?= $(wildcard examples/*.ipynb)

notebooks: $(INSTALLED)
	$(BIN)/jupytext --quiet --sync $(NOTEBOOKS)
	$(BIN)/python examples/execute.py $(NOTEBOOKS)
