"""Quoting, held against tmux's own parser."""

from __future__ import annotations

import asyncio

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from noval_d.tmux.control import ControlClient, quote
from tests.lab.tmux import PrivateTmux
from tests.support.tmux import HIDDEN, socket_of

SPECIAL = "'\"\\;#{}$~%!&|<>()[]*?^=-+,.:@ \t\n\r\x1b\x07a0é…❯🙂"
TEXT = st.lists(
    st.one_of(
        st.sampled_from(
            ["#{pane_id}", "$HOME", "${HOME}", "~", "~root", ";", "\\;", "%if", "%1", "#(date)", "{ x }"]
        ),
        st.text(st.sampled_from(SPECIAL), max_size=6),
        st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=6),
    ),
    max_size=8,
).map("".join)


def test_tmux_reads_back_exactly_what_was_quoted(tmux: PrivateTmux) -> None:
    tmux.open("cat")
    with asyncio.Runner() as runner:
        client = runner.run(ControlClient.connect(socket_of(tmux), session=HIDDEN))

        @settings(max_examples=400, deadline=None, suppress_health_check=[HealthCheck.too_slow])
        @given(TEXT)
        @example("")
        @example("x;")
        @example("a\\")
        @example("-x")
        @example("%if 1")
        @example("a # b")
        def round_trip(text: str) -> None:
            # once as an argument, once as one of a command in an argument, as guards have it
            nested = quote(f"set-option -g @nested {quote(text)}")
            line = f"set-option -g @plain {quote(text)} ; if-shell -F 1 {nested}"
            show = "display-message -p '#{@plain}' ; display-message -p '#{@nested}'"
            answer = runner.run(client.run(f"{line} ; {show}"))
            assert answer.error is None
            plain, nested_back = answer.blocks[-2:]
            assert b"\n".join(plain.lines).decode() == text
            assert b"\n".join(nested_back.lines).decode() == text

        round_trip()
        runner.run(client.close())
