# make study: the whole job on a simulated sample. make test: the tests (make test-slow: those that
# take minutes each; make coverage: with the lines that no test runs). make ui: look at the runs.
# make server: a server for a lab. make bench: every comparison of speed, side by side.
# Everything lives in the checkout: .venv, .cache, sample, mlflow.db and mlruns.
# .venv has the newest Python of those that are supported and there; PYTHON=... names one.

BIN := .venv/bin
PORT ?= 5000
STORE := $(or $(MLFLOW_TRACKING_URI),sqlite:///mlflow.db)

export UV_CACHE_DIR := $(CURDIR)/.cache/uv
# Trust the certificate authorities that the machine trusts, a hospital's own among them.
export UV_SYSTEM_CERTS := true
# Once here, not in every process where PYTHONDONTWRITEBYTECODE is set: 10 s a start of TensorFlow.
export UV_COMPILE_BYTECODE := true
export MLFLOW_DISABLE_TELEMETRY := true

.PHONY: setup study test test-slow coverage fuzz faults screenshots bench lint format ui server lock audit-deps \
	sbom pin-images clean

setup: .venv/ready mlflow.db

# An environment whose Python is gone, or is not the one that PYTHON names, is not ready.
ifneq ($(shell .ci/python "$(or $(PYTHON),$(BIN)/python)" 2>&1),$(shell .ci/python $(BIN)/python 2>/dev/null))
.PHONY: .venv/ready
endif

# Made anew each time: over another Python's it would be half of each.
.venv/ready: requirements-dev.lock
	python=$$(.ci/python "$(PYTHON)") && "$$python" -m venv --clear .venv
	sed -n '/^uv==/,/[^\\]$$/p' requirements-dev.lock | $(BIN)/python -m pip install --quiet \
		--disable-pip-version-check --require-hashes --requirement /dev/stdin
	$(BIN)/uv pip sync --require-hashes --python $(BIN)/python requirements-dev.lock
	touch $@

# Whole, before anything else opens it: of two that do so at once each would make half of it.
mlflow.db: | .venv/ready
	MLFLOW_TRACKING_URI= $(BIN)/python -m entrypoints.store

study: setup
	$(BIN)/python -m entrypoints.sample --out sample
	$(BIN)/python -m entrypoints.study --data sample --seeds 0 --folds 3 --test-folds 0 --budget quick --image-size 48
	@echo "Open it all in the MLflow UI: make ui"

# Three files of tests at a time, in the order of tests/conftest.py: much of their time is waiting for
# servers and processes.
test: setup
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder

test-slow: setup
	$(BIN)/python -m pytest -m slow

# From Python 3.12 on the interpreter itself counts lines, which costs little. Fails where README's
# figure is more than a point too high.
coverage: setup
	COVERAGE_CORE=sysmon $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		--cov --cov-report=term:skip-covered \
		--cov-fail-under=$$(( $$(sed -n "s/.*tests run \([0-9]*\) % of the lines.*/\1/p" README.md) - 1 ))

# Damaged models, images, requests and tables, for so many seconds; what goes wrong is kept in fuzz/.
SECONDS ?= 300
fuzz: setup
	$(BIN)/python -m tests.fuzz $(SECONDS) fuzz
	$(BIN)/python -m tests.fuzz_tables $(SECONDS) fuzz
	$(BIN)/python -m tests.fuzz_images $(SECONDS) fuzz 2>/dev/null # of libtiff's own words

# Faults injected on the real parts: hours. Each kind by the tests first, then kills at random moments
# of whole trainings (POINTS of each technique), a server that is away, and hours of studies.
POINTS ?= 20
faults: setup
	$(BIN)/python -m pytest -m "slow or not slow" tests/test_nothing_lost.py tests/test_troubles.py \
		tests/test_database.py tests/test_checkpoint.py tests/test_supervised.py
	$(BIN)/python -m tests.faults.outage
	$(BIN)/python -m tests.faults.soak
	$(BIN)/python -m tests.faults.kills --points $(POINTS)

# The documents' pictures, as the tests' browser sees them.
screenshots: setup
	LEUKEMIA_SCREENSHOTS=docs $(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder \
		tests/test_service.py tests/test_serving.py -k "link_opens or side_by_side or model_page or page_shows"

# Peers that the service does not need have an environment of their own (5 GB with CUDA's libraries).
.venv-bench/ready: requirements-bench.txt .venv/ready
	$(BIN)/python -m venv --clear .venv-bench
	.venv-bench/bin/python -m pip install --quiet --disable-pip-version-check -r requirements-bench.txt
	touch $@

bench: setup .venv-bench/ready
	$(BIN)/python -m benchmarks --out bench

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/shellcheck --external-sources --source-path=SCRIPTDIR docker/*.sh .ci/python .ci/run
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format --default-filetype yaml CITATION.cff
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms .github/ISSUE_TEMPLATE/*.yml

format: setup
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# MLflow's server ends with exit code 0 where its port is taken. The job engine would take 2 GiB for
# features that are not used here.
ui: setup
	@case "$(STORE)" in \
	http*) echo "The runs are at $(STORE)" ;; \
	*) $(BIN)/python docker/parts.py free 127.0.0.1 "$(PORT)" && \
		MLFLOW_TRACKING_URI="$(STORE)" $(BIN)/python -m entrypoints.store --look true && \
		MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false $(BIN)/mlflow server \
		--backend-store-uri "$(STORE)" --host 127.0.0.1 --port $(PORT) ;; \
	esac

# A lab's server in the folder server/: PostgreSQL, an S3 store and MLflow with log-in.
server: setup
	$(BIN)/python docker/native.py up --port $(PORT)

# pyproject.toml is where versions are chosen; the locks and conda.yaml follow it. The images of the
# server and of backups install a few of them.
LOCK := $(BIN)/uv pip compile --quiet --universal --no-annotate --no-header --generate-hashes \
	--python-version 3.11
lock: setup
	$(LOCK) pyproject.toml --extra dev --extra server --output-file requirements-dev.lock
	$(LOCK) pyproject.toml --constraint requirements-dev.lock --output-file requirements.lock
	printf '%s\n' mlflow 'psycopg[binary]' boto3 Flask-WTF | \
		$(LOCK) - --constraint requirements-dev.lock --output-file docker/server.lock
	printf '%s\n' 'psycopg[binary]' boto3 | \
		$(LOCK) - --constraint requirements-dev.lock --output-file docker/backup.lock

# These two need the network: a database of vulnerabilities, a registry of images.
audit-deps: setup
	$(BIN)/python docker/materials.py audit

pin-images: setup
	$(BIN)/python docker/pin_images.py

sbom: setup
	$(BIN)/python docker/materials.py sbom sbom

clean:
	rm -rf .venv .cache sample
