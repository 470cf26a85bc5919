# make demo: the robot's camera narrates itself, on this machine.   make test: lint, types, tests.
# Both set up all they need first; ARGS="..." is passed on, e.g. make demo ARGS="--source video.mp4".
# ROS_DISTRO_PYPI=jazzy make test: the tests on ROS 2 Jazzy; lint and types are the same there.
PYTHON ?= python3
ARGS ?=
SUFFIX := $(if $(filter jazzy,$(ROS_DISTRO_PYPI)),-jazzy,)
VENV := .venv$(SUFFIX)

.PHONY: demo test lint setup clean

demo: setup
	@$(VENV)/bin/stride-ros demo $(ARGS)

test: $(if $(SUFFIX),setup,lint)
	@$(VENV)/bin/python -m pytest test $(ARGS)

lint: setup
	@$(VENV)/bin/python -m ruff check .
	@$(VENV)/bin/python -m mypy

setup:
	@$(PYTHON) tools/bootstrap.py

clean:
	rm -rf .venv .venv-jazzy build build-jazzy install install-jazzy log
