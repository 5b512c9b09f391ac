.PHONY: demo test coverage lint format audit package docs links
PYTHON ?= python3
VENV := .venv
INSTALL := install --quiet --disable-pip-version-check
BIN := $(VENV)/bin
DIST := build/package/dist
SBOM := build/package/photovax.cdx.json
IN_EMPTY := build/package/tools/bin/pip --python build/package/empty

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip $(INSTALL) -c constraints.txt "pip>=25.1"
	$(BIN)/pip $(INSTALL) -c constraints.txt -e ".[c2pa,cluster,evaluate,heic,onnx,postgres,s3,service,watch]" --group dev
	# The second opinion on similarity, and JOD; both ask for torchvision, which what is tested does
	# not need, and which does not import beside every build of torch.
	$(BIN)/pip $(INSTALL) --no-deps -c constraints.txt piq cvvdp
	touch $@

demo: $(VENV)/installed
	$(BIN)/photovax demo -o demo

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy
	$(BIN)/zizmor --offline --pedantic --quiet --no-progress .github
	$(BIN)/hadolint container/Dockerfile

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Asks a public database (OSV) which versions are known to be vulnerable, so it takes a network that
# reaches it. What could not be asked for counts as a failure (--strict).
audit:
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip $(INSTALL) pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --vulnerability-service osv --strict --disable-pip --no-deps -r constraints.txt

# As many processes as there are cores; tests depend on neither order nor one another.
test: lint
	$(BIN)/pytest -n auto --dist worksteal $(COVERAGE)

# The same, and how much of the package it ran, which takes a quarter longer: before a release.
coverage: COVERAGE := --cov --cov-report=term:skip-covered --cov-fail-under=90
coverage: test

# The documentation site, in build/docs. MyST checks links within the repository, and a warning is an
# error; links to other sites take a network.
docs: $(VENV)/installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

links: $(VENV)/installed
	$(BIN)/sphinx-build --builder linkcheck --quiet docs build/links

# The sdist and the wheel from it, checked as the package index does; the wheel alone, with what it
# asks for, in an environment without even pip, of which the list of components (SBOM) is made, and
# the demo in it. Nothing is compiled but what that imports. (The tests' environment is compiled: they
# would take what a compiler warns of in others' code for errors.)
package:
	rm -rf build/package
	$(PYTHON) -m venv build/package/tools
	build/package/tools/bin/pip $(INSTALL) --no-compile -c constraints.txt build twine cyclonedx-bom
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt build/package/tools/bin/python -m build --outdir $(DIST) .
	build/package/tools/bin/twine check --strict $(DIST)/*
	$(PYTHON) -m venv --without-pip build/package/empty
	$(IN_EMPTY) $(INSTALL) --no-compile -c constraints.txt $(DIST)/*.whl
	$(IN_EMPTY) check
	build/package/tools/bin/cyclonedx-py environment --pyproject pyproject.toml --mc-type library \
		--output-reproducible -o $(SBOM) build/package/empty/bin/python
	build/package/tools/bin/python .ci/vendored.py $(SBOM)
	build/package/empty/bin/python .ci/packaged.py $(DIST)/*.tar.gz $(SBOM)
	build/package/empty/bin/photovax demo -o build/package/demo
