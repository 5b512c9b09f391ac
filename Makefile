.PHONY: demo test lint format audit package docs links
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt "pip>=25.1"
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e ".[c2pa,cluster,evaluate,heic,onnx,postgres,s3,service,watch]" --group dev
	# The second opinion on similarity, and JOD; both ask for torchvision, which what is tested does
	# not need, and which does not import beside every build of torch.
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps -c constraints.txt piq cvvdp
	touch $@

demo: $(VENV)/installed
	$(BIN)/photovax demo -o demo

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/mypy

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Asks a public database (OSV) which versions are known to be vulnerable, so it takes a network that
# reaches it. What could not be asked for counts as a failure (--strict).
audit:
	$(PYTHON) -m venv $(VENV)/audit
	$(VENV)/audit/bin/pip install --quiet --disable-pip-version-check pip-audit==2.10.1
	$(VENV)/audit/bin/pip-audit --vulnerability-service osv --strict --disable-pip --no-deps -r constraints.txt

# As many processes as there are cores; tests depend on neither order nor one another.
test: lint
	$(BIN)/pytest -n auto --dist worksteal --cov --cov-report= --cov-fail-under=90

# The documentation site, in build/docs. MyST checks links within the repository, and a warning is an
# error; links to other sites take a network.
docs: $(VENV)/installed
	$(BIN)/sphinx-build --fail-on-warning --keep-going --quiet docs build/docs

links: $(VENV)/installed
	$(BIN)/sphinx-build --builder linkcheck --quiet docs build/links

# The sdist, the wheel from the sdist, and the wheel alone in an empty environment.
package:
	rm -rf build/package
	$(PYTHON) -m venv build/package/tools
	build/package/tools/bin/pip install --quiet --disable-pip-version-check -c constraints.txt build
	PIP_CONSTRAINT=$(CURDIR)/constraints.txt build/package/tools/bin/python -m build --outdir build/package .
	$(PYTHON) -m venv build/package/empty
	build/package/empty/bin/pip install --quiet --disable-pip-version-check --no-deps build/package/*.whl
	build/package/empty/bin/python .ci/packaged.py build/package/*.tar.gz
