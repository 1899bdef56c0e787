"""A pytest session in a process of its own: one mutant, some tests, the first failure ends it."""

import json
import os
from collections import defaultdict
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType
from typing import Any

import psutil
import pytest
from mutmut.mutation.trampoline import set_mutant_under_test
from mutmut.state import state

# As a "mutant": no fault, but it is noted which functions each test calls.
STATS = "stats"


def run(job: dict[str, Any], database: str, outcome: Path) -> int:
    """Run the job's tests under its mutant; write what happened; return pytest's exit status."""
    set_mutant_under_test(job["mutant"])
    session = Session(database, outcome, mutant=job["mutant"] != STATS)
    deselected = [f"--deselect={test}" for test in job.get("without", [])]
    arguments = ["-q", "-p", "no:randomly", "-p", "no:cacheprovider", "--tb=short"]
    arguments += ["-o", f"timeout={job['timeout']}", *deselected, *job["tests"]]
    status = pytest.main(arguments, plugins=[session])
    session.write()
    return int(status)


class Session:
    """The plugin that gives the session its database, and notes how its tests fare."""

    def __init__(self, database: str, outcome: Path, *, mutant: bool) -> None:
        self._database = database
        self._outcome = outcome
        self._mutant = mutant
        self._seconds: dict[str, float] = defaultdict(float)
        self._failed: str | None = None
        self._why = ""
        # What each test calls itself, and what only its fixtures do.
        self._called: dict[str, set[str]] = defaultdict(set)
        self._prepared: dict[str, set[str]] = defaultdict(set)

    def pytest_configure(self, config: pytest.Config) -> None:
        # Registered late, its fixture is the one that the suite's own conftest builds on.
        config.pluginmanager.register(_database_plugin(self._database))

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        self._seconds[report.nodeid] += report.duration
        if report.failed:
            self._failed = report.nodeid
            self._why = report.longreprtext
            self.write()
            # What a failed test leaves behind can make the teardown wait for ever.
            end_descendants(os.getpid())
            os._exit(1)
        if not self._mutant:
            noted = self._called if report.when == "call" else self._prepared
            noted[report.nodeid] |= state()._stats
            state()._stats.clear()

    def pytest_collectreport(self, report: pytest.CollectReport) -> None:
        if report.failed:
            self._failed = report.nodeid
            self._why = report.longreprtext

    def write(self) -> None:
        """Leave the outcome where the server looks for it."""
        finished = {test: self._seconds[test] for test in self._seconds if test != self._failed}
        outcome = {
            "failed": self._failed,
            "why": self._why,
            "seconds": finished,
            "called": {test: sorted(names) for test, names in self._called.items()},
            "prepared": {test: sorted(names) for test, names in self._prepared.items()},
        }
        self._outcome.write_text(json.dumps(outcome))


def end_descendants(pid: int) -> None:
    """Kill the processes that the process has started, and theirs."""
    with suppress(psutil.NoSuchProcess):
        for process in psutil.Process(pid).children(recursive=True):
            with suppress(psutil.NoSuchProcess):
                process.kill()


def _database_plugin(name: str) -> ModuleType:
    """The clone in place of the test database that pytest-django would make."""

    @pytest.fixture(scope="session")
    def django_db_setup(django_test_environment: None) -> Iterator[None]:
        from django.conf import settings
        from django.db import connections

        settings.DATABASES["default"]["NAME"] = name
        connections["default"].settings_dict["NAME"] = name
        yield
        connections.close_all()

    plugin = ModuleType("mutants_database")
    plugin.django_db_setup = django_db_setup  # type: ignore[attr-defined]
    return plugin
