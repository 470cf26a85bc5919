# make demo: the robot's camera narrates itself, on this machine.   make test: lint, types, tests.
# make test-fast: the tests that need neither ROS nodes nor long, for a first answer; CONTRIBUTING.md says more.
# All set up what they need first; ARGS="..." is passed on, e.g. make demo ARGS="--source video.mp4".
# make PYTHON=python3.12 demo: with this Python, which later commands then use too.
# The tests run in several processes, since most of them wait for nodes; make test ARGS="-n0 --pdb" in one.
# ROS_DISTRO_PYPI=kilted make test: the tests on ROS 2 Kilted; lint and types are the same there.
ARGS ?=
TESTS ?= test
PYTEST := -m pytest -n 3 --dist loadfile
SUFFIX := $(if $(filter-out jazzy,$(ROS_DISTRO_PYPI)),-$(ROS_DISTRO_PYPI),)
VENV := .venv$(SUFFIX)
CHOSEN := $(shell cat $(VENV)/chosen-python 2>/dev/null)

.PHONY: demo test test-fast lint setup lock clean

demo: setup
	@$(VENV)/bin/stride-ros demo $(ARGS)

test: $(if $(SUFFIX),setup,lint)
	@$(VENV)/bin/python $(PYTEST) $(TESTS) $(ARGS)

test-fast: setup
	@$(VENV)/bin/python $(PYTEST) $(TESTS) -m "not slow and not ros" $(ARGS)

lint: setup
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m ruff format --check .
	@$(VENV)/bin/lint-imports --no-cache --no-logo
	@$(VENV)/bin/python -m mypy

setup:
	@python=$$(sh tools/find_python.sh $(or $(PYTHON),$(CHOSEN) python3)) \
		&& "$$python" tools/bootstrap.py $(if $(PYTHON),--chosen)
	$(if $(filter setup,$(MAKECMDGOALS)),@echo "Ready for make demo and $(VENV)/bin/stride-ros --help.")

# The newest versions that the ranges allow, for CI. To raise one only: make lock ARGS="-P torch==2.13.0"
lock: setup
	@$(VENV)/bin/python tools/lock_requirements.py $(ARGS)

clean:
	rm -rf .venv .venv-kilted build build-kilted install install-kilted log
