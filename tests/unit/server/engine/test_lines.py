"""What is ahead of a job, of one look at the queues."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from edgeconv.server.engine.engine import Job, JobKind
from edgeconv.server.engine.lines import Lines

JOBS = st.lists(
    st.tuples(st.builds(Job, st.sampled_from(JobKind), st.text(max_size=2)), st.booleans()),
    unique_by=lambda each: each[0],
)


@given(JOBS)
def test_ahead_is_what_runs_and_what_was_started_before_of_the_same_kind(
    jobs: list[tuple[Job, bool]],
) -> None:
    lines = Lines.of(jobs)
    for place, (job, waits) in enumerate(jobs):
        alike = [(each, later) for each, later in jobs if each.kind is job.kind]
        runs = [each for each, later in alike if not later]
        before = [each for each, later in jobs[:place] if later and each.kind is job.kind]
        assert lines.ahead_of(job) == ([*runs, *before] if waits else [])
        assert lines.knows(job)


def test_nothing_is_ahead_of_what_is_not_known() -> None:
    known = Job(JobKind.CONVERSION, "a")
    other = Job(JobKind.CONVERSION, "b")
    for waits in (False, True):
        lines = Lines.of([(known, waits)])
        assert not lines.knows(other)
        assert lines.ahead_of(other) == []
