"""The jobs of a vertical, defined once: which verbs, in which order, when, and on how much.

Manifests for platforms are rendered from it (`shared.deploy.manifests`), and `python -m <vertical> job NAME` runs a job's
verbs on the spot. Imports no Spark.
"""

import re
from dataclasses import dataclass
from typing import Final

from shared.core.errors import ConfigError

_FIELDS: Final = {"minute": (0, 59), "hour": (0, 23), "day of month": (1, 31), "month": (1, 12), "day of week": (0, 6)}
_DAYS: Final = ("SUN", "MON", "TUE", "WED", "THU", "FRI", "SAT")


@dataclass(frozen=True)
class Size:
    """What a job runs on.

    Args:
        workers: executors; 0 is one machine that is driver and executor.
        cores: of each executor, and of the driver.
        memory_gib: heap of each executor, and of the driver.
    """

    workers: int
    cores: int = 4
    memory_gib: int = 8


@dataclass(frozen=True)
class Task:
    """One verb; it starts when the verbs in ``after`` have ended well.

    Args:
        verb: of the vertical's command line.
        after: verbs of tasks of the same job.
    """

    verb: str
    after: tuple[str, ...] = ()


@dataclass(frozen=True)
class Job:
    """Tasks with a schedule.

    Args:
        name: e.g. ``score``.
        summary: one sentence on what it is for.
        cron: five fields in UTC, each a star, numbers, ranges or steps; Sunday is 0.
        tasks: in an order in which they can run one after the other.
        size: what they run on.
        timeout_minutes: after which the job counts as failed.
    """

    name: str
    summary: str
    cron: str
    tasks: tuple[Task, ...]
    size: Size
    timeout_minutes: int

    def __post_init__(self) -> None:
        check_cron(self.cron)
        seen: set[str] = set()
        for task in self.tasks:
            ahead = [verb for verb in task.after if verb not in seen]
            if ahead or task.verb in seen:
                raise ConfigError(
                    "JOB_INVALID",
                    f"Task '{task.verb}' of job '{self.name}' is there twice, or runs after {ahead}.",
                    "Each verb once, after verbs of tasks before it.",
                )
            seen.add(task.verb)

    @property
    def verbs(self) -> tuple[str, ...]:
        """The verbs in order."""
        return tuple(task.verb for task in self.tasks)


@dataclass(frozen=True)
class JobSpec:
    """All jobs of a vertical.

    Args:
        vertical: its name, which is also the wheel's entry point.
        jobs: with names of their own.
        arguments: of every task, e.g. ``("--set", "model.knots=7")``; one model has one set of settings, so no task has its
            own. Where tables and models are is the platform's to say, which wins.
    """

    vertical: str
    jobs: tuple[Job, ...]
    arguments: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        names = [job.name for job in self.jobs]
        if len(set(names)) < len(names):
            raise ConfigError("JOB_INVALID", f"The jobs of {self.vertical} are called {names}.", "Each name once.")

    @property
    def verbs(self) -> dict[str, tuple[str, ...]]:
        """Per job its verbs in order."""
        return {job.name: job.verbs for job in self.jobs}


def check_cron(cron: str) -> None:
    """Refuse what is no cron line of five fields, and one with both a day of month and a day of week.

    Raises:
        ConfigError: it is one of these. Cron runs on either day where both are named, Quartz knows no such thing.
    """
    fields = cron.split()
    wrong = [
        name for (name, bounds), field in zip(_FIELDS.items(), fields, strict=False) if not _is_field(field, *bounds)
    ]
    if len(fields) != len(_FIELDS) or wrong or "*" not in (fields[2], fields[4]):
        raise ConfigError(
            "CRON_INVALID",
            f"'{cron}' is no schedule{': ' + ', '.join(wrong) if wrong else ''}.",
            "minute hour day-of-month month day-of-week, in numbers, with a star for one of the days.",
        )


def quartz(cron: str) -> str:
    """Return a checked cron line in the form of Quartz: seconds in front, a question mark for the day not named.

    >>> quartz("0 4 * * *"), quartz("30 1 1 * *"), quartz("0 6 * * 0"), quartz("0 6 * * 1-5")
    ('0 0 4 * * ?', '0 30 1 1 * ?', '0 0 6 ? * SUN', '0 0 6 ? * MON-FRI')
    """
    check_cron(cron)
    minute, hour, day, month, weekday = cron.split()
    if weekday == "*":
        return f"0 {minute} {hour} {day} {month} ?"
    # Quartz counts days from 1, cron from 0: names leave no doubt. A step after a slash is no day.
    named = re.sub(r"(?<![/\d])\d", lambda number: _DAYS[int(number[0])], weekday)
    return f"0 {minute} {hour} ? {month} {named}"


def _is_field(field: str, least: int, most: int) -> bool:
    for part in field.split(","):
        match = re.fullmatch(r"(?:\*|(\d+)(?:-(\d+))?)(?:/([1-9]\d*))?", part)
        if match is None:
            return False
        numbers = [int(number) for number in match.groups()[:2] if number is not None]
        if any(not least <= number <= most for number in numbers) or numbers != sorted(numbers):
            return False
    return True
