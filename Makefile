PYTHON ?= python3
BIN := .venv/bin
MINUTES ?= 20
LOCK := uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-annotate \
	--no-emit-index-url --custom-compile-command "make lock" pyproject.toml

.PHONY: run call test fast types fuzz soak format lock bundle deb bundle-test

# Ctrl-C, after which the program exits with 130, is a normal way to end it.
UNLESS_STOPPED = || [ $$? -eq 130 ]

run: .venv/run  ## start the program: make run ARGS="--source demo"
	@trap : INT; $(BIN)/python main.py $(ARGS) $(UNLESS_STOPPED)

call: .venv/call  ## start the program with a virtual camera
	@trap : INT; $(BIN)/python main.py --virtual-camera $(ARGS) $(UNLESS_STOPPED)

test: types  ## formatting, lint, types and every test
	$(BIN)/python -m pytest $(ARGS)

types: .venv/all
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/pyright --project pyproject.toml
	$(BIN)/pyright --pythonplatform Darwin background_blur
	$(BIN)/pyright --pythonplatform Windows background_blur

fast: .venv/all  ## the tests that take a minute
	$(BIN)/python -m pytest -m "not slow" $(ARGS)

fuzz: .venv/all  ## 10,000 damaged files, weights and command lines
	FUZZ_INPUTS=10000 $(BIN)/python -m pytest tests/robustness/test_fuzz.py $(ARGS)

soak: .venv/all  ## endurance: make soak MINUTES=20
	MINUTES=$(MINUTES) $(BIN)/python -m pytest -s tests/robustness/soak.py $(ARGS)

format: .venv/all
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bundle: .venv/all  ## dist/background-blur-VERSION-linux-x86_64.tar.gz, which needs no Python
	packaging/bundle

deb: bundle  ## a Debian package of the bundle
	packaging/deb

bundle-test:  ## test both in bare Debian and Ubuntu; needs root, debootstrap, Xvfb, xdotool; UBUNTU_MIRROR=URL
	packaging/test

lock:  ## update the requirements after a change to pyproject.toml; needs uv; UPGRADE=--upgrade
	$(LOCK) $(UPGRADE) -o requirements-run.txt
	$(LOCK) $(UPGRADE) -c requirements-run.txt --extra call -o requirements-call.txt
	$(LOCK) $(UPGRADE) -c requirements-run.txt --all-extras --group dev -o requirements.txt

.venv/run: requirements-run.txt
.venv/call: requirements-call.txt
.venv/all: requirements.txt

.venv/run .venv/call .venv/all:
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -r $<
	@touch .venv/run $@
