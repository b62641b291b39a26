"""What is known of an agent and its pane at one moment: the input of every decision. Values only."""

from __future__ import annotations

from dataclasses import dataclass

from noval_d.agents.driver import Driver
from noval_d.agents.prompt import Spot
from noval_d.agents.sight import Sight
from noval_d.tmux.panes import PaneFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentView:
    """One agent at one moment. `facts` is None when its pane is gone; `sight` is None for `line` agents."""

    driver: Driver
    facts: PaneFacts | None
    sight: Sight | None = None
    present: bool = True
    """The agent's own program is in the foreground, not a shell it left behind."""
    behind: bool = False
    """It is the pane's own shell, and a command that it runs is in front."""
    running: str = ""
    """What is in the foreground, for people."""
    ready: bool = True
    """It has said that it started, or its prompt was seen long enough."""
    opening: bool = False
    """Its first prompt is opening its conversation: what is pasted now is lost with the start screen."""
    paused: bool = False
    unread_bytes: int = 0
    """What the terminal holds that the program has not read (FIONREAD)."""
    line_buffered: bool = False
    terminal: bool = True
    """The terminal could be asked; if not, the two above say nothing."""
    spot: Spot | None = None
    """Where the cursor of a line-based program stands, if its screen was looked at."""
    at_prompt: bool = False
    """That is its prompt."""
    half_typed: str = ""
    """That is its prompt, and this behind it."""
    rested: bool = True
    """Its input box has stood for a moment since it worked: what was typed ahead has been read by now."""
    working: bool = False
    """A hook reported a prompt, and none the end of its turn."""
    asking: bool = False
    """A hook reported a permission request that is not settled yet."""
    direct: bool = False
    """Messages reach it past its screen: what stands in its input box, and whether it works, is in no one's way."""
    lease_ok: bool = True
    launching: bool = False
    """It is being started by this node."""
    ending: bool = False
    """It is being ended by order."""
