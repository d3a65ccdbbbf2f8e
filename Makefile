PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test fast fuzz soak format

MINUTES ?= 20

run: .venv/run  ## start the program: make run ARGS="--source demo"
	@$(BIN)/python main.py $(ARGS)

test: .venv/all  ## formatting, lint and every test
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/python -m pytest $(ARGS)

fast: .venv/all  ## the tests that take seconds
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

fuzz: .venv/all  ## 10,000 damaged files, weights and command lines
	FUZZ_INPUTS=10000 $(BIN)/python -m pytest tests/test_fuzz.py $(ARGS)

soak: .venv/all  ## endurance: make soak MINUTES=20
	MINUTES=$(MINUTES) $(BIN)/python -m pytest -s tests/soak.py $(ARGS)

format: .venv/all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

.venv/run: requirements-run.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-run.txt
	@touch $@

.venv/all: requirements.txt requirements-run.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch .venv/run $@
