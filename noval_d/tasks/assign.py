"""Decide which agent gets which task, and say why. Pure.

Only an agent that is idle, has the role and all the skills may have a task. Among those the score decides:

| part | worth | why |
|---|---|---|
| `history` | 0 to 10 | how much of what it was given it has done: (done + 1) / (done + failed + 2) |
| `load` | -10 to 0 | how busy the machine of its node is |
| `spare skills` | -5 to 0 | a skill that the task does not need is kept for one that does |
| `had it` | -20 or 0 | who gave it back, or had it taken back, comes after everybody else |
| `rest` | 0 to 2 | how long it has been idle, two minutes at most, so that work goes round |
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from nova_torch.errors import NotFound
from nova_torch.nearest import suggestion
from noval_d.tasks.task import Task

REST_S = 60.0
SPARE_MOST = 5
HAD_IT = 20
STAND_BACK_S = 0.5
STAND_BACK_MOST = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An agent of the fleet, as far as it matters here."""

    agent: str
    role: str = ""
    skills: frozenset[str] = frozenset()
    node: str = ""
    why_not: str = ""
    """Why it gets nothing now; empty: it is idle."""
    load: float = 0.0
    """How busy its node is: 0 to 1."""
    done: int = 0
    failed: int = 0
    idle_s: float = 0.0


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a candidate may have a task, why not, and what it scores."""

    candidate: Candidate
    why_not: str = ""
    parts: tuple[tuple[str, float], ...] = ()
    never: bool = False
    """Whether it could not have it even if it were idle."""

    @property
    def score(self) -> float:
        """The sum of the parts."""
        return sum(value for _, value in self.parts)

    @property
    def told(self) -> str:
        """Return the score with its parts."""
        return f"{self.score:.2f} = " + ", ".join(f"{name} {value:+.2f}" for name, value in self.parts)

    def to_json(self) -> dict[str, Any]:
        """Return the row of `task show`."""
        return {
            "agent": self.candidate.agent,
            "node": self.candidate.node,
            "score": None if self.why_not else round(self.score, 2),
            "parts": {name: round(value, 2) for name, value in self.parts},
            "why_not": self.why_not,
        }


def judge(task: Task, candidate: Candidate) -> Verdict:
    """Say whether `candidate` may have `task` now, and how good a choice it is."""
    never = unfit(task, candidate)
    if never or candidate.why_not:
        return Verdict(candidate, never or candidate.why_not, never=bool(never))
    parts = (*_worth_parts(candidate), ("spare skills", -_spare(task, candidate)))
    return Verdict(candidate, parts=(*parts, ("had it", -HAD_IT)) if _had(task, candidate) else parts)


def worth(candidate: Candidate) -> float:
    """Return what an agent scores for a task that needs all its skills: no task scores more."""
    return sum(value for _, value in _worth_parts(candidate))


def _worth_parts(candidate: Candidate) -> tuple[tuple[str, float], ...]:
    return (
        ("history", 10.0 * (candidate.done + 1) / (candidate.done + candidate.failed + 2)),
        ("load", -10.0 * min(max(candidate.load, 0.0), 1.0)),
        ("rest", min(max(candidate.idle_s, 0.0) / REST_S, 2.0)),
    )


def _spare(task: Task, candidate: Candidate) -> float:
    return float(min(len(candidate.skills) - len(task.skills), SPARE_MOST))


def unfit(task: Task, candidate: Candidate) -> str:
    """Return why an agent can never have a task, idle or not; empty: it could."""
    if task.wanted and candidate.agent != task.wanted:
        return f"the task is for {task.wanted}"
    if task.role and candidate.role != task.role:
        return f"its role is {candidate.role or 'none'}, not {task.role}"
    missing = [skill for skill in task.skills if skill not in candidate.skills]
    return f"it lacks {', '.join(missing)}" if missing else ""


def _had(task: Task, candidate: Candidate) -> bool:
    return task.attempt > 0 and candidate.agent in task.tried


def _less(task: Task, candidate: Candidate) -> float:
    """Return how much less a candidate scores for this task than it is worth."""
    return _spare(task, candidate) + (HAD_IT if _had(task, candidate) else 0)


def ranked(task: Task, candidates: Iterable[Candidate]) -> list[Verdict]:
    """Return the verdict on each: the best choice first, then who is not idle, then who never may."""
    verdicts = [judge(task, candidate) for candidate in candidates]
    return sorted(verdicts, key=lambda v: (v.never, bool(v.why_not), -v.score, v.candidate.agent))


def choose(ready: Iterable[Task], candidates: Iterable[Candidate]) -> list[tuple[Task, Verdict]]:
    """Give each idle agent at most one task: the most urgent and oldest task chooses first, the best agent."""
    idle = by_worth(candidate for candidate in candidates if not candidate.why_not)
    chosen: list[tuple[Task, Verdict]] = []
    for task in sorted(ready, key=lambda task: task.place):
        if not idle:
            break
        if (place := _best(task, idle)) is not None:
            chosen.append((task, judge(task, idle.pop(place)[1])))
    return chosen


def by_worth(candidates: Iterable[Candidate]) -> list[tuple[float, Candidate]]:
    """Return what each is worth, the best first: whoever looks for a better one need not look at all."""
    return sorted(
        ((worth(candidate), candidate) for candidate in candidates),
        key=lambda pair: (-pair[0], pair[1].agent),
    )


def _best(task: Task, idle: Sequence[tuple[float, Candidate]]) -> int | None:
    """Return the place of the best agent for a task; of equals that of the first name."""
    found, best = None, (float("-inf"), "")
    for place, (most, candidate) in enumerate(idle):
        if most < best[0]:
            break
        if not _fits(task, candidate):
            continue
        score = most - _less(task, candidate)
        if found is None or score > best[0] or (score == best[0] and candidate.agent < best[1]):
            found, best = place, (score, candidate.agent)
    return found


def _fits(task: Task, candidate: Candidate) -> bool:
    """Tell what `unfit` explains, many times a second."""
    return (
        (not task.role or candidate.role == task.role)
        and candidate.skills.issuperset(task.skills)
        and (not task.wanted or candidate.agent == task.wanted)
    )


def stand_back_s(task: Task, mine: Verdict, others: Sequence[tuple[float, Candidate]]) -> float:
    """Return how long an agent's node leaves a task to better ones elsewhere: what it knows of them may be old.

    `others` are the idle agents of the other nodes, as `by_worth` returns them.
    """
    better = 0
    for most, candidate in others:
        if most <= mine.score or better == STAND_BACK_MOST:
            break
        better += _fits(task, candidate) and most - _less(task, candidate) > mine.score
    return STAND_BACK_S * better


def impossible(task: Task, candidates: Sequence[Candidate]) -> tuple[str, str] | None:
    """Return what is missing, and the nearest there is, when no agent, idle or not, could ever have this task."""
    if any(not unfit(task, candidate) for candidate in candidates):
        return None
    roles = {candidate.role for candidate in candidates if candidate.role}
    if task.role and task.role not in roles:
        near = suggestion(task.role, roles, otherwise=f"Known: {', '.join(sorted(roles)) or 'none'}.")
        return f"no agent has the role {task.role!r}.", near
    of_role = [each for each in candidates if not task.role or each.role == task.role]
    known = {skill for candidate in of_role for skill in candidate.skills}
    whose = f" of the role {task.role}" if task.role else ""
    nobody = [skill for skill in task.skills if skill not in known]
    if nobody:
        near = suggestion(nobody[0], known, otherwise=f"Known: {', '.join(sorted(known)) or 'none'}.")
        return f"no agent{whose} has the skill {', '.join(nobody)}.", near
    return f"no agent{whose} has all of: {', '.join(task.skills) or 'nothing'}.", ""


def refuse_impossible(task: Task, candidates: Sequence[Candidate]) -> None:
    """Raise NotFound, with what is missing, when no agent of the fleet could ever have this task."""
    found = impossible(task, candidates)
    if found is not None:
        cure = "Add it all the same, for agents that are still to come: --anyway"
        raise NotFound(found[0], f"{found[1]} {cure}".strip())


def lacking(task: Task, candidates: Sequence[Candidate]) -> str:
    """Return why a task that waits could be nobody's as the fleet is now; empty: somebody could have it."""
    if task.wanted:
        named = next((each for each in candidates if each.agent == task.wanted), None)
        why = "it is not registered" if named is None else unfit(task, named)
        return f"for {task.wanted}: {why}" if why else ""
    found = impossible(task, candidates)
    return "" if found is None else f"{found[0]} {found[1]}".strip()
