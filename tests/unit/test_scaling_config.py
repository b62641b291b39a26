"""What `[scaling]` may say, and the one sentence for each contradiction."""

from __future__ import annotations

from pathlib import Path

import pytest

from nova_torch.config import load
from nova_torch.errors import ConfigInvalid

RIGHT = """
[agents.worker]
command = ["claude"]
[agents.big]
role = "builder"
[scaling]
hard_cap = 10
[scaling.worker]
min = 1
max = 4
budget_per_day = 20
"""


def read(tmp_path: Path, text: str) -> str:
    file = tmp_path / "config.toml"
    file.write_text(text)
    with pytest.raises(ConfigInvalid) as error:
        load(str(file), {})
    return f"{error.value.message} {error.value.hint}"


def test_what_is_right_is_read_and_off_without_a_role(tmp_path: Path) -> None:
    file = tmp_path / "config.toml"
    file.write_text(RIGHT)
    config = load(str(file), {})
    assert (config.scaling.rules["worker"].template, config.scaling.rules["worker"].max) == ("worker", 4)
    assert config.shown()["scaling"]["worker"]["min"] == 1
    assert not load(None, {"HOME": str(tmp_path), "NOVA_TORCH_CONFIG": ""}).scaling.rules
    other = RIGHT.replace("max = 4", "max = 5")
    file.write_text(other)
    assert load(str(file), {}).scaling.digest != config.scaling.digest


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("min = 1", "min = 5", "scaling.worker.min is 5, more than scaling.worker.max, 4. Lower min"),
        ("max = 4", "max = 11", "scaling.worker.max is 11, more than scaling.hard_cap, 10."),
        ("hard_cap = 10", "", "scaling.hard_cap is missing."),
        ("budget_per_day = 20", "", "scaling.worker.budget_per_day is missing, and min = 1 starts agents again"),
        ("budget_per_day = 20", "budget_per_day = 0", "budget_per_day is 0, less than scaling.worker.min, 1."),
        ("max = 4", "", "scaling.worker.max is missing."),
        ("[scaling.worker]", "[scaling.workr]", "there is no such template. Did you mean worker?"),
        ("[scaling.worker]", "[scaling.big]", "scaling.big starts the template big, whose role is builder."),
        ("min = 1", "up_cooldown_s = -1", "scaling.worker.up_cooldown_s is -1. It must be between 0 and"),
        ("min = 1", "down_cooldown_s = -0.5", "scaling.worker.down_cooldown_s is -0.5."),
        ("min = 1", "idle_s = nan", "scaling.worker.idle_s is nan."),
        ("min = 1", "backlog_per_agent = 0", "scaling.worker.backlog_per_agent is 0. It must be between 0.01"),
        ("min = 1", "min = true", "scaling.worker.min is True. It must be a whole number."),
        ("min = 1", "mni = 1", "unknown key in section [scaling.worker]: mni. Did you mean min?"),
        ("min = 1", 'labels = ["a b"]', "scaling.worker.labels is ['a b']."),
        ("hard_cap = 10", "hard_cap = 10\nhardcap = 1", "unknown key in section [scaling]: hardcap. Did you mean"),
        ("hard_cap = 10", 'hard_cap = 10\ndry_run = "yes"', "scaling.dry_run is 'yes'. It is true or false."),
    ],
)  # fmt: skip
def test_a_contradiction_is_one_sentence_with_its_cure(tmp_path: Path, old: str, new: str, said: str) -> None:
    assert said in read(tmp_path, RIGHT.replace(old, new))


def test_the_least_of_all_roles_together_fits_below_the_cap(tmp_path: Path) -> None:
    two = RIGHT.replace("hard_cap = 10", "hard_cap = 4") + (
        '[scaling.builder]\ntemplate = "big"\nmin = 4\nmax = 4\nbudget_per_day = 9\n'
    )
    assert "the roles want 5 agents together (min), and scaling.hard_cap is 4." in read(tmp_path, two)
