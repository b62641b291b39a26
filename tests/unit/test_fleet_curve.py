"""The plot and the section of the simulated fleet in docs/benchmarks.md."""

from __future__ import annotations

from xml.etree import ElementTree as ET

from benchmarks.cores import while_whole
from benchmarks.curve import Line, draw
from benchmarks.fleet_paper import HEADING, Found, kept_apart, lines, reports, written

SVG = "{http://www.w3.org/2000/svg}"


def found(nodes: int, p99_s: float) -> Found:
    return Found(
        nodes=nodes, agents=33 * nodes, rate=500, sent=2, to_recorder=[p99_s / 2, p99_s], accepting=[0.001],
        pages=[0.02], wholes=[0.04], gone_s=[17.0], broker_idle=1.5,
    )  # fmt: skip


def test_each_line_of_the_plot_has_a_point_for_each_fleet_and_higher_is_more() -> None:
    plot = ET.fromstring(draw([Line("a & b", [1, 10, 90])], x=[1, 30, 300], title="nodes"))
    (line,) = plot.iter(f"{SVG}polyline")
    places = [tuple(map(float, point.split(","))) for point in line.get("points", "").split()]
    assert len(places) == 3
    assert places == sorted(places)
    assert [top for _, top in places] == sorted((top for _, top in places), reverse=True)
    assert "a & b" in [text.text for text in plot.iter(f"{SVG}text")]


def test_a_value_of_zero_and_a_single_fleet_are_drawn() -> None:
    ET.fromstring(draw([Line("none", [0.0]), Line("some", [3.0])], x=[300], title="nodes"))
    ET.fromstring(draw(lines([found(1, 0.002), found(300, 0.04)]), x=[1, 300], title="nodes"))


def test_the_section_takes_the_place_of_the_one_before_and_the_rest_stays() -> None:
    before = "# Benchmarks\n\n## The control socket\n\n- a note\n"
    once = written(before, reports([found(1, 0.002), found(300, 0.04)]))
    again = written(once, reports([found(1, 0.003), found(300, 0.06)]))
    assert again.startswith(before)
    assert again.count(HEADING) == 1
    assert "| 60.0 ms | <= 50 ms | MISSED |" in again
    rest, section = kept_apart(again)
    assert rest.rstrip() == before.rstrip()
    assert section.startswith(HEADING)


def test_a_lost_message_misses_its_target() -> None:
    one = found(300, 0.01)
    one.lost = 1
    _, judged = reports([one])
    assert [row.target for row in judged.rows if row.met is False] == ["each once"]


def test_what_was_sent_while_a_core_was_whole_is_told_apart() -> None:
    paces = [(10.0, 0.002), (11.0, 0.004), (12.0, 0.0024), (13.0, 0.0026)]
    times = [(9.9, 1.0), (10.5, 2.0), (11.0, 3.0), (11.9, 4.0), (12.0, 5.0), (13.5, 6.0)]
    assert while_whole(paces, 0.002, times) == (0.5, [1.0, 2.0, 5.0])
    assert while_whole([], 0.002, times) == (0.0, [])


def test_how_fast_the_cores_were_is_told_and_judges_nothing() -> None:
    one = found(300, 0.06)
    one.sent_at, one.paces, one.least_work_s = [10.1, 11.1], [(10.0, 0.002), (11.0, 0.004)], 0.002
    plain, told = (reports([each])[1] for each in (found(300, 0.06), one))
    added = [row for row in told.rows if row.what not in {row.what for row in plain.rows}]
    assert [(row.values, row.met) for row in added] == [
        (("2.0; 2.0 to 4.0, median 2.0",), None), (("30.0 ms (50% of the time)",), None),
    ]  # fmt: skip
