# `make run` and `make test` do everything from a bare clone with Python 3.11 and make.
PYTHON ?= python3.11
VENV   ?= .venv
BIN    := $(VENV)/bin
PORT   ?= 8000

.PHONY: help setup setup-dev run test test-slow test-waiting lint demo bench clean
.DEFAULT_GOAL := help

help:
	@echo "make run    set up, start on SQLite and two folders with sample customers, print address and sign-ins"
	@echo "make test   set up, pass the quick tests on SQLite and on a real PostgreSQL"
	@echo "make demo   a customer's data imported, backed up, lost and restored, unattended, in a scratch home"
	@echo "make setup  .venv with the pinned packages"
	@echo "make lint   ruff, mypy, import contracts, missing migrations"
	@echo "make bench  measured comparisons (minutes)"

$(VENV)/.installed: requirements.txt constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install -q --disable-pip-version-check -r requirements.txt -c constraints.txt
	touch $@

$(VENV)/.installed-dev: requirements-dev.txt $(VENV)/.installed
	$(BIN)/pip install -q --disable-pip-version-check -r requirements-dev.txt -c constraints.txt
	touch $@

setup: $(VENV)/.installed
setup-dev: $(VENV)/.installed-dev

run: setup
	$(BIN)/python manage.py init --sample
	$(BIN)/python manage.py serve --port $(PORT)

test: setup-dev
	$(BIN)/python -m tests.both_databases -m "not slow"

test-slow: setup-dev
	$(BIN)/python -m tests.both_databases --at-once -m "slow and not waiting"

test-waiting: setup-dev
	$(BIN)/python -m tests.both_databases --only sqlite -n 4 -m "waiting"

lint: setup-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy audit subscriptions backups l2l docs manage.py
	$(BIN)/lint-imports --no-cache
	$(BIN)/python manage.py makemigrations --check --dry-run

demo: setup
	$(BIN)/python manage.py demo

bench: setup-dev
	$(BIN)/python -m tests.bench

clean:
	rm -rf $(VENV) var .mypy_cache .ruff_cache .pytest_cache
