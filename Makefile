# Two commands do everything: `make demo` and `make test`. Neither needs an activated environment.
VERTICAL ?= churn
PYTHON := .venv/bin/python
PACKAGE := dist/spark_accelerators.zip

.PHONY: demo test check package wheel locks setup clean

demo: setup
	@$(PYTHON) -m $(VERTICAL) run

# In the order of collection: the long files come first, and no worker ends with one.
test: setup
	@$(PYTHON) -m pytest -q -n 2 --dist loadfile --no-loadscope-reorder

check: setup
	@$(PYTHON) -m ruff check . && $(PYTHON) -m ruff format --check .
	@$(PYTHON) -m mypy
	@.venv/bin/lint-imports

package: setup
	@$(PYTHON) -m shared package $(PACKAGE)

# Not from what an earlier build left: it would end up in the wheel.
wheel: setup
	@rm -rf build dist/*.whl && $(PYTHON) -m build --wheel --no-isolation --outdir dist

# The images' packages, in the versions of requirements.lock. Needs uv.
LOCK := uv pip compile -q --generate-hashes --no-emit-index-url --no-header --no-annotate --python-version 3.11 \
	-c .setup/versions
locks: setup
	@$(PYTHON) -m pip freeze --exclude-editable | grep == >.setup/versions
	@$(LOCK) pyproject.toml --extra online -o requirements-cluster.lock
	@$(LOCK) requirements-online.in -o requirements-online.lock

setup:
	@./setup.sh

clean:
	rm -rf warehouse dist .pytest_cache .mypy_cache .ruff_cache
