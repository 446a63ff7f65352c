# Two commands set everything up on a fresh machine: `make demo` runs the main job, `make test` passes the tests.
PYTHON ?= python3
BIN := .venv/bin
# The versions that the committed results were made with; CONSTRAINTS= installs the newest instead.
CONSTRAINTS ?= -c .ci/constraints.txt

.PHONY: demo check test test-slow test-faults catalogue example clean

.venv/installed: pyproject.toml .ci/constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/pip install --quiet $(CONSTRAINTS) -e '.[dev]'
	touch $@

demo: .venv/installed
	$(BIN)/medbench run --models all --dataset acdc --preset smoke --data phantom

check: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# Two processes of one thread each; a file's tests stay in one, where they share what is dear to make, the longest files first.
PYTEST := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 $(BIN)/pytest -q
test: .venv/installed
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder

# What is timed runs last, and alone.
test-slow: .venv/installed
	$(PYTEST) -n 2 --dist loadfile --no-loadscope-reorder -m slow --ignore tests/benchmarks
	$(PYTEST) -m slow tests/benchmarks

# 50 kills over 24 cells on each executor, and all other faults, three times with different draws; SEEDS= gives others.
SEEDS ?= 1 2 3
FAULTS := MEDBENCH_FAULT_KILLS=50 MEDBENCH_FAULT_CELLS=24 MEDBENCH_FAULT_PATIENCE=3600
FAULT_TESTS := tests/faults/test_local_faults.py tests/faults/test_ray_faults.py
test-faults: .venv/installed
	for seed in $(SEEDS); do $(FAULTS) MEDBENCH_FAULT_SEED=$$seed $(PYTEST) -s -m slow --timeout 0 $(FAULT_TESTS) || exit 1; done

# Facts and costs of all networks, stored with the package; after a change to one, or to how costs are counted.
catalogue: .venv/installed
	$(BIN)/python -m bench.cost.cataloguing

# The records of real runs, without weights and predictions of patients' images, and the tables made from them; a test makes the tables again.
RECORDS := results/example/records
REPORT := $(BIN)/medbench report --results results/example --output results/example
# The one table and the one picture of README.md.
MAIN_TABLE := $(BIN)/medbench report --results results/example --dataset acdc --preset standard
example: .venv/installed
	mkdir -p $(RECORDS)
	tar -C results/runs --exclude=./phantom --exclude='*.safetensors' --exclude='checkpoint.pt*' --exclude=error.log \
	  --exclude=predictions.npz --exclude=.lock --exclude='.lease*' -cf - . | tar -C $(RECORDS) -xf -
	$(BIN)/python -m bench.records.packing $(RECORDS)  # the large ones, in half of the room
	mkdir -p results/example/units
	cp results/units/*.json results/example/units
	mkdir -p results/example/tuning
	tar -C results/tuning --exclude='checkpoint.pt*' --exclude=error.log --exclude=predictions.npz --exclude=.lock \
	  --exclude='.lease*' -cf - . | tar -C results/example/tuning -xf -
	$(REPORT)/tables.md --format markdown
	$(REPORT)/tables.tex --format latex --style full
	$(REPORT)/tables.csv --format csv
	$(BIN)/medbench data leaks --results results/example --format markdown > results/example/leaks.md
	$(REPORT)/acdc.md --dataset acdc --preset standard --format markdown
	$(REPORT)/attention.md --dataset acdc --preset standard --models segformer_b0_s,segformer_b0_s_identity \
	  --reference segformer_b0_s --format markdown
	$(REPORT)/attention-swin.md --dataset acdc --preset standard --models swin_unet_s,swin_unet_s_identity \
	  --reference swin_unet_s --format markdown
	$(REPORT)/trials.md --trials
	$(REPORT)/speeds.md --speeds
	$(REPORT)/conventions.md --conventions --dataset acdc
	mkdir -p results/example/studies
	cp results/studies/*.log results/example/studies
	$(BIN)/medbench ablate show --results results/example --output results/example/ablations > /dev/null
	rm results/example/ablations/*.png  # its SVG is the same in a thirtieth of the bytes
	$(BIN)/medbench ablate replay --results results/example --dataset acdc,sars-cov2-ct --format markdown \
	  > results/example/ablations/replay.md
	$(BIN)/medbench profile --results results/example/repeats/first --compare results/example/repeats/second \
	  --format markdown > results/example/repeats.md
	rm -rf build/figures
	$(MAIN_TABLE) --figures build/figures
	cp build/figures/acdc-*-training.png results/example/training.png
	$(MAIN_TABLE) --top 12 --brief --into README.md
	$(REPORT)/report.html --format html
	$(BIN)/medbench plan --protocol > docs/protocol.md

clean:
	rm -rf .venv build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache
