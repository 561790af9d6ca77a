PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: app test check scripts install samples

# The stamp is newer than the requirement files exactly when what they name is installed.
$(VENV)/.app: requirements.txt pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	touch $@

$(VENV)/.dev: requirements-dev.txt $(VENV)/.app
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	touch $@

install: $(VENV)/.app

app: $(VENV)/.app
	$(BIN)/python -m streamlit run app/main.py

check: scripts $(VENV)/.dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --pythonpath $(BIN)/python

# The Lab needs no node; its scripts are plain modules, which node checks where it is there.
scripts:
	@if ! command -v npm >/dev/null || ! node -e 'process.exit(parseInt(process.versions.node) < 20 ? 1 : 0)'; then \
	  echo "scripts: node 20 or newer is missing, so they are neither type-checked nor linted"; \
	elif ! test node_modules/.package-lock.json -nt package-lock.json && ! npm ci --silent; then \
	  echo "scripts: npm cannot install what package-lock.json names, so they are neither type-checked nor linted"; \
	else npm run --silent check; fi

# Four workers on two cores: who drives a browser often waits (tests/conftest.py says who takes what, and when). A
# cluster of its own starves beside them. It comes first: what pytest makes of the modules' asserts is kept where bytecode
# may be, so that the workers find it made, which takes each of them as long as to import all that is tested.
unexport PYTHONDONTWRITEBYTECODE
test: check
	$(BIN)/python -m pytest -m cluster
	$(BIN)/python -m pytest -n 4 -m "not cluster"

samples: $(VENV)/.app
	$(BIN)/python benchmarks/make_samples.py
