# make lab       JupyterLab with the notebooks
# make figures   every figure and table that can be built from what ships, into figures/
# make test      the tests
# Each sets up its own environment first, in .venv. `make help` lists the rest.

PYTHON ?= python3
VENV ?= .venv
# Passed to pip, for example PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu" for torch without CUDA.
PIP_ARGS ?=
# Passed to JupyterLab, pytest and `rfkit figures`, for example TEST_ARGS="-k cli" or FIGURES_ARGS="fig8 --force".
LAB_ARGS ?=
TEST_ARGS ?=
FIGURES_ARGS ?=

RUN = $(VENV)/bin/python
STAMP = $(VENV)/.rfkit-installed
LAB_STAMP = $(VENV)/.rfkit-lab-installed
EXTRAS = notebook,train,sweep,export,completion,dev
DOCS_STAMP = $(VENV)/.rfkit-docs-installed

# No display is needed, and a user's own matplotlib backend does not matter here.
export MPLBACKEND = Agg

.PHONY: help install lab figures test kill-test notebooks browser-test screenshots docs lint constraints clean distclean
.DEFAULT_GOAL := help

help:
	@echo 'make lab          open the notebooks in JupyterLab; installs less than the others'
	@echo 'make figures      build every figure and table into figures/'
	@echo 'make test         run the tests'
	@echo 'make kill-test    kill training runs a hundred times, on one process and on two, and compare what they end with'
	@echo 'make notebooks    run every notebook from top to bottom (nothing is stored in them)'
	@echo 'make docs         build the documentation into docs/_build/html, notebooks included, in some five minutes'
	@echo 'make browser-test run every notebook in JupyterLab, and drive the explorer; needs Chromium'
	@echo 'make screenshots  the pictures of the README, into docs/images; needs Chromium'
	@echo 'make lint         ruff and mypy'
	@echo 'make install      set up $(VENV) and nothing else'
	@echo 'make constraints  write constraints.txt from $(VENV)'
	@echo 'make clean        remove caches and build outputs; make distclean removes $(VENV) as well'
	@echo 'Variables: PYTHON=$(PYTHON) VENV=$(VENV) PIP_ARGS= LAB_ARGS= TEST_ARGS= FIGURES_ARGS='

install: $(STAMP)

# Installs rfkit with these extras. Running venv again on a half-made environment completes it. A new pip is faster, and
# files are compiled when they are imported: compiling all of every package here takes longer than all the rest.
define install-extras
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo 'rfkit needs Python 3.11 or newer; name one with: make PYTHON=python3.12 ...' >&2; exit 1; }
	$(RUN) -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv $(VENV)
	$(RUN) -m pip install $(PIP_ARGS) --quiet --upgrade pip
	$(RUN) -m pip install $(PIP_ARGS) --no-compile -c constraints.txt -e '.[$(1)]'
	@touch $@
endef

$(STAMP): pyproject.toml constraints.txt
	$(call install-extras,$(EXTRAS))
	@touch $(LAB_STAMP)

$(LAB_STAMP): pyproject.toml constraints.txt
	$(call install-extras,notebook)

# A notebook chooses its own backend.
lab: $(LAB_STAMP)
	env -u MPLBACKEND $(RUN) -m jupyterlab $(LAB_ARGS) notebooks/00_quickstart.ipynb

figures: $(STAMP)
	$(RUN) -m rfkit figures --out figures $(FIGURES_ARGS)

test: $(STAMP)
	$(RUN) -m pytest $(TEST_ARGS)

kill-test: $(STAMP)
	$(RUN) -m pytest -m slow tests/training/test_kill.py $(TEST_ARGS)

notebooks: $(STAMP)
	$(RUN) -m pytest -m notebook tests/test_notebooks.py $(TEST_ARGS)

# What only the documentation needs is installed by it alone.
$(DOCS_STAMP): $(STAMP)
	$(RUN) -m pip install $(PIP_ARGS) -c constraints.txt -e '.[docs]'
	@touch $@

docs: $(DOCS_STAMP)
	$(RUN) -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo docs/_build/html/index.html

browser-test: $(STAMP)
	$(RUN) -m pytest -m browser tests/browser $(TEST_ARGS)

screenshots: $(STAMP)
	$(RUN) docs/screenshots.py
	$(RUN) docs/thumbnails.py

lint: $(STAMP)
	$(RUN) -m ruff check --output-format concise .
	$(RUN) -m mypy

constraints: $(DOCS_STAMP)
	@{ sed -n '/^#/p' constraints.txt; $(RUN) -m pip freeze --exclude-editable | sed 's/+cpu$$//'; } > constraints.tmp
	@mv constraints.tmp constraints.txt

clean:
	rm -rf build dist docs/_build docs/notebooks *.egg-info .pytest_cache .hypothesis .mypy_cache .ruff_cache .rfkit-cache figures/.rfkit-cache
	find rfkit tests -name __pycache__ -type d -prune -exec rm -rf {} +

distclean: clean
	rm -rf $(VENV)
