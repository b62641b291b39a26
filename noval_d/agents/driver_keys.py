"""The keys of a driver's file: which field each is, and what it takes."""

from __future__ import annotations

from collections.abc import Mapping

from noval_d.agents import driver_values as takes
from noval_d.agents.driver import APIS, ENTERS, KINDS, STRATEGIES
from noval_d.agents.start import PROMPT, SESSION

# section -> key -> (field of Driver, how it is read)
KEYS: Mapping[str, Mapping[str, tuple[str, takes.Read]]] = {
    "driver": {
        "name": ("name", takes.name),
        "version": ("version", takes.string),
        "kind": ("kind", takes.choice(KINDS)),
        "commands": ("commands", takes.several(takes.string)),
        "processes": ("processes", takes.several(takes.pattern)),
    },
    "composer": {
        "find": ("strategy", takes.choice(STRATEGIES)),
        "rule": ("rule", takes.pattern),
        "rule_dim": ("rule_dim", takes.flag),
        "prompts": ("prompts", takes.several(takes.glyph)),
        "modes": ("modes", takes.several(takes.glyph)),
        "prompt": ("prompt", takes.pattern),
        "status": ("status", takes.pattern),
        "indent": ("indent", takes.whole),
        "placeholder": ("placeholder", takes.pattern),
        "ghosts": ("ghosts", takes.several(takes.colour, frozenset)),
        "empty": ("empty", takes.several(takes.string)),
        "home": ("home", takes.pattern),
        "cursor_visible": ("cursor_visible", takes.flag),
    },
    "dialog": {
        "rows": ("dialog_rows", takes.whole),
        "patterns": ("dialogs", takes.several(takes.pattern)),
        "option": ("dialog_option", takes.option),
        "answer": ("dialog_answer", takes.several(takes.answer_key)),
        "next": ("dialog_next", takes.choice(("Right", "Down", "Tab"))),
        "at_cursor": ("dialog_at_cursor", takes.flag),
        "marks": ("dialog_marks", takes.several(takes.mark)),
    },
    "transcript": {
        "where": ("transcript_where", takes.several(takes.condition)),
        "prompt": ("transcript_prompt", takes.string),
        "queued_where": ("transcript_queued_where", takes.several(takes.condition)),
        "queued": ("transcript_queued", takes.string),
    },
    "title": {
        "idle": ("title_idle", takes.pattern),
        "busy": ("title_busy", takes.pattern),
        "elsewhere": ("title_elsewhere", takes.pattern),
    },
    "busy": {
        "patterns": ("busy", takes.several(takes.pattern)),
        "above": ("busy_above", takes.whole),
        "cursor_hidden": ("busy_cursor_hidden", takes.flag),
        "queues": ("queues_while_busy", takes.flag),
        "pending": ("pending", takes.several(takes.pattern)),
    },
    "limit": {
        "patterns": ("limits", takes.several(takes.pattern)),
        "over": ("limit_over", takes.pattern),
        "waits": ("limit_waits", takes.several(takes.pattern)),
        "rows": ("limit_rows", takes.whole),
    },
    "compacting": {
        "patterns": ("compacting", takes.several(takes.pattern)),
        "alone": ("compacting_alone", takes.flag),
    },
    "paste": {
        "settle_s": ("settle_s", takes.seconds),
        "landed_within_s": ("landed_within_s", takes.seconds),
        "again_behind_space": ("retypes_lost", takes.flag),
        "take_back": ("takes_back", takes.flag),
        "marker": ("marker", takes.pattern),
    },
    "enter": {
        "with": ("enter", takes.choice(ENTERS)),
        "window_s": ("enter_window_s", takes.seconds),
        "again_after_space": ("defers_dialogs", takes.flag),
        "space_wait_s": ("space_wait_s", takes.seconds),
        "unsent_if_kept": ("unsent_if_kept", takes.flag),
        "clear": ("clear_keys", takes.choice(("", "C-u", "C-u C-k"))),
    },
    "ready": {
        "after_s": ("ready_after_s", takes.seconds),
        "after_hook_s": ("ready_after_hook_s", takes.seconds),
        "sign": ("ready_sign", takes.pattern),
        "resumed": ("ready_resumed", takes.pattern),
        "resumed_sign": ("ready_resumed_sign", takes.pattern),
    },
    "api": {
        "kind": ("api_kind", takes.choice(APIS)),
        "port": ("api_port", takes.string),
        "user": ("api_user", takes.string),
        "password": ("api_password", takes.string),
        "title": ("api_title", takes.pattern_of("title")),
        "agent": ("api_agent", takes.pattern_of("agent")),
        "limit": ("api_limit", takes.pattern),
    },
    "prompt": {
        "ends": ("prompt_ends", takes.pattern),
        "asks": ("prompt_asks", takes.pattern),
        "rests_s": ("prompt_rests_s", takes.seconds),
        "unsure_s": ("prompt_unsure_s", takes.seconds),
    },
    "text": {
        "prefix": ("prefix", takes.string),
        "harmless": ("harmless", takes.string),
        "trailing": ("trailing", takes.string),
        "commands": ("accepts_commands", takes.flag),
        "max_line_bytes": ("max_line_bytes", takes.whole),
    },
}

START_KEYS: Mapping[str, tuple[str, takes.Read]] = {
    "command": ("command", takes.several(takes.word)),
    "prompt": ("prompt", takes.words_with(PROMPT)),
    "resume": ("resume", takes.words_with(SESSION)),
    "quit": ("quit", takes.string),
}
DIALOG_KEYS: Mapping[str, tuple[str, takes.Read]] = {
    "marks": ("marks", takes.several(takes.mark)),
    "keys": ("keys", takes.several(takes.key)),
}
SECTIONS = {**KEYS, "hooks": {}, "start": START_KEYS}  # these two are read by functions of their own
