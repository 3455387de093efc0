"""When a schedule is due: the ticks of a cron expression in a time zone. Pure; all instants are in UTC.

Summer time follows Debian's cron. A fixed hour that a day skips is due at the first minute after the gap, and one that a day
has twice is due the first time. A minute or an hour that begins with a star counts elapsed time.
"""

from __future__ import annotations

import difflib
import heapq
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

from cronsim import CronSim, CronSimError

from tenants.clock import timezones
from tenants.errors import Invalid

LONGEST = 100
#: Minutes between two ticks.
LEAST_MINUTES = 5
FIELDS = "minute, hour, day of month, month, day of week"
EXAMPLE = "`0 6 * * 1` is every Monday at 6:00"
NAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}
#: Clocks are put back by less.
LONGEST_REPEAT = timedelta(hours=3)
SOME_DAY = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Ticks:
    """The ticks of a span, oldest first: those newest ones that were asked for, and how many there were in all."""

    newest: tuple[datetime, ...]
    count: int


def faults(cron: str, zone: str) -> dict[str, list[str]]:
    """Return what is wrong with an expression and a zone, by field; empty if nothing is."""
    found: dict[str, list[str]] = {}
    if said := _zone_fault(zone):
        found["zone"] = [said]
    if said := _cron_fault(cron, "UTC" if found else zone):
        found["cron"] = [said]
    return found


def require(cron: str, zone: str) -> None:
    """Raise Invalid with the fields `cron` and `zone` unless both can be used."""
    if found := faults(cron, zone):
        raise Invalid(fields=found)


def upcoming(cron: str, zone: str, after: datetime, count: int = 1) -> list[datetime]:
    """Return the next ticks after an instant; fewer if there are no more. The expression and the zone are valid."""
    return list(islice(_ticks(cron, zone, after), count))


def between(cron: str, zone: str, first: datetime, until: datetime, most: int) -> Ticks:
    """Return the ticks from a first one, which counts, to an instant, which counts, too; of them the newest `most`."""
    newest, count = deque([first], most), 1
    for tick in _ticks(cron, zone, first):
        if tick > until:
            break
        newest.append(tick)
        count += 1
    return Ticks(tuple(newest), count)


def words(cron: str) -> str:
    """Return a valid expression in words, such as `At 06:00 on Monday`."""
    return CronSim(_plain(cron), SOME_DAY).explain()


def _ticks(cron: str, zone: str, after: datetime) -> Iterator[datetime]:
    """Yield the ticks after an instant, each later than the one before.

    The expression is read as times of a wall clock, which has no gaps; each of these is then none, one or two instants.
    """
    there, last, ahead = ZoneInfo(zone), after.astimezone(UTC), list[datetime]()
    plain = _plain(cron)
    elapsed = any(field.startswith("*") for field in plain.split()[:2])
    try:
        for wall in CronSim(plain, last.astimezone(there).replace(tzinfo=None) - LONGEST_REPEAT):
            found = _instants(wall, there, elapsed=elapsed)
            while ahead and found and ahead[0] < found[0]:  # no later time of the wall clock comes before
                tick = heapq.heappop(ahead)
                if tick > last:
                    last = tick
                    yield tick
            for tick in found:
                heapq.heappush(ahead, tick)
    except OverflowError:  # the end of the calendar
        return


def _instants(wall: datetime, there: ZoneInfo, *, elapsed: bool) -> list[datetime]:
    """Return when a wall clock shows a time: twice in an hour that a day has twice, if elapsed time counts."""
    while wall != (first := wall.replace(tzinfo=there).astimezone(UTC)).astimezone(there).replace(tzinfo=None):
        if elapsed:
            return []
        wall += timedelta(minutes=1)
    second = wall.replace(tzinfo=there, fold=1).astimezone(UTC)
    return sorted({first, second}) if elapsed else [first]


def _plain(cron: str) -> str:
    return NAMES.get(cron.strip().lower(), cron.strip())


def _zone_fault(zone: str) -> str:
    if zone in timezones():
        return ""
    near = difflib.get_close_matches(zone[:60], timezones(), 1)
    meant = f" Did you mean {near[0]}?" if near else ""
    return f"There is no such time zone. Use a name such as Europe/Zurich or UTC.{meant}"


def _cron_fault(cron: str, zone: str) -> str:
    plain = _plain(cron)
    if len(cron) > LONGEST or len(plain.split()) != 5:
        return f"Use five fields, {FIELDS}: {EXAMPLE}."
    try:
        parsed = CronSim(plain, SOME_DAY)
    except CronSimError as wrong:
        field = str(wrong).removeprefix("Bad ").replace("-", " ")
        return f"The field {field} cannot be read. The five fields are {FIELDS}: {EXAMPLE}."
    if _least_gap(parsed.minutes, parsed.hours) < LEAST_MINUTES:
        return f"Two runs would be less than {LEAST_MINUTES} minutes apart. Use `*/{LEAST_MINUTES}` minutes at most."
    if not upcoming(cron, zone, SOME_DAY):
        return "No day fits this expression. Change the day of month, the month or the day of week."
    return ""


def _least_gap(minutes: set[int], hours: set[int]) -> int:
    """Return the least minutes between two ticks; midnight counts as if every day were one of the schedule's."""
    own = sorted(minutes)
    gaps = [later - earlier for earlier, later in pairwise(own)]
    if any((hour + 1) % 24 in hours for hour in hours):
        gaps.append(60 - own[-1] + own[0])
    return min(gaps, default=60)
