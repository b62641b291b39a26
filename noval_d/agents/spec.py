"""Write and read what a pane and the state file keep of an agent: its description as one text. Pure."""

from __future__ import annotations

import json
from dataclasses import replace

from nova_torch.reading import json_value
from nova_torch.values import AGENT_ID, AgentId, AgentSpec
from noval_d.agents.driver import Driver


def fitted(driver: Driver, spec: AgentSpec) -> Driver:
    """Return the driver with what was learned of this very agent when it was registered."""
    return driver if spec.empty is None else replace(driver, empty=(*driver.empty, spec.empty))


def _text_or_none(value: object) -> str | None:
    return value if isinstance(value, str) else None


def write_spec(spec: AgentSpec) -> str:
    """Return what the pane and the state file keep of an agent."""
    return json.dumps(
        {
            "role": spec.role,
            "skills": list(spec.skills),
            "driver": spec.driver,
            "program": spec.program,
            "script": spec.script,
            "empty": spec.empty,
        }
    )


def read_spec(agent_id: str, packed: str | bytes) -> AgentSpec | None:
    """Return what `write_spec` wrote, or None when it is not that."""
    try:
        data = json_value(packed)
        skills = data["skills"]
        if not AGENT_ID.match(agent_id) or not all(isinstance(skill, str) for skill in skills):
            return None
        return AgentSpec(
            agent_id=AgentId(agent_id),
            role=str(data["role"]),
            skills=tuple(skills),
            driver=str(data["driver"]),
            program=str(data["program"]),
            script=_text_or_none(data.get("script")),
            empty=_text_or_none(data.get("empty")),
        )
    except (ValueError, KeyError, TypeError):
        return None
