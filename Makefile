PYTHON ?= python3
BIN := .venv/bin

.PHONY: run test fast fuzz soak format lock

MINUTES ?= 20
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate

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

lock:  ## renew the requirements after a change of pyproject.toml; needs uv
	$(LOCK) --group run -o requirements-run.txt
	$(LOCK) --group all -o requirements.txt

.venv/run: requirements-run.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements-run.txt
	@touch $@

.venv/all: requirements.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch .venv/run $@
