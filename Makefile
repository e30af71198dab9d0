# Two commands do everything: `make demo` and `make test`. Neither needs an activated environment.
VERTICAL ?= churn
PYTHON := .venv/bin/python
PACKAGE := dist/spark_accelerators.zip

.PHONY: demo test check package setup clean

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

setup:
	@./setup.sh

clean:
	rm -rf warehouse dist .pytest_cache .mypy_cache .ruff_cache
