"""A slow model of a calendar: it looks at the clock on the wall, minute by minute.

Shares nothing with what it judges but the words of a calendar: no offsets are added, no windows
are laid out. An instant is open if the local time read from `zoneinfo` lies inside a window.
"""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

MINUTE = timedelta(minutes=1)
Windows = list[tuple[int, int]]  # minutes of the local day; the end may be on the day after


class Model:
    """Windows by weekday (0 is Monday) and by date; a cut-off minute by weekday, or none."""

    def __init__(
        self,
        time_zone: str,
        weekly: list[Windows],
        dates: dict[date, Windows],
        cut_offs: list[int | None],
    ) -> None:
        self.zone = ZoneInfo(time_zone)
        self.weekly = weekly
        self.dates = dates
        self.cut_offs = cut_offs
        self._opening: dict[date, datetime] = {}
        self._shown: dict[date, datetime] = {}

    def windows(self, day: date) -> Windows:
        return self.dates.get(day, self.weekly[day.weekday()])

    def day_open(self, at: datetime) -> date | None:
        """Return the date whose window is open at an instant; of two, the earlier."""
        local = at.astimezone(self.zone).replace(tzinfo=None)
        for back in (1, 0):
            day = local.date() - timedelta(days=back)
            minute = back * 1440 + local.hour * 60 + local.minute
            if any(first <= minute < last for first, last in self.windows(day)):
                return day
        return None

    def after_work(self, at: datetime, minutes: int, limit: int) -> datetime | None:
        """Count open minutes one by one; nothing to do is done when it is open."""
        left = minutes
        for _ in range(limit):
            if self.day_open(at) is not None:
                if left == 0:
                    return at
                left -= 1
                if left == 0:
                    return at + MINUTE
            at += MINUTE
        return None

    def day_taken(self, at: datetime, limit: int) -> tuple[date, datetime] | None:
        """Return the day on which work counts, and when it may begin there.

        It is the first one that is still to be open and whose cut-off has not been seen.
        """
        for n in range(limit):
            day = self.day_open(at + n * MINUTE)
            if day is not None and not self._has_cut_off_passed(day, at):
                return day, self._begin(day, at)
        return None

    def _begin(self, day: date, at: datetime) -> datetime:
        """Return the later of the instant and the day's first opening."""
        if day not in self._opening:
            now = _well_before(day)
            while self.day_open(now) != day:
                now += MINUTE
            self._opening[day] = now
        return max(self._opening[day], at)

    def _has_cut_off_passed(self, day: date, at: datetime) -> bool:
        """Read the clock from the day before on, until it shows the cut-off or has jumped it."""
        cut_off = self.cut_offs[day.weekday()]
        if cut_off is None:
            return False
        if day not in self._shown:
            local = datetime(day.year, day.month, day.day) + cut_off * MINUTE  # noqa: DTZ001
            now = _well_before(day)
            while now.astimezone(self.zone).replace(tzinfo=None) < local:
                now += MINUTE
            self._shown[day] = now
        return self._shown[day] <= at


def _well_before(day: date) -> datetime:
    return datetime(day.year, day.month, day.day, tzinfo=UTC) - timedelta(days=1)
