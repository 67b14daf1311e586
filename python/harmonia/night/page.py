"""The report's page: one file with the picture inside, the two recordings beside it. No script, no other source."""

import base64
import html
from pathlib import Path
from typing import Any

from harmonia.night.picture import colour

_STYLE = """
:root { color-scheme: dark; --ink: #e8e6f0; --muted: #b3afc6; --paper: #12101c; --panel: #1a1728; --line: #2d2942;
  --glow: #7cc7ff; }
* { box-sizing: border-box; }
body { margin: 0; background: radial-gradient(circle at 70% -10%, #2b2350, var(--paper) 55%) no-repeat var(--paper);
  color: var(--ink); font: 1rem/1.6 system-ui, sans-serif; }
main { max-width: 68rem; margin: 0 auto; padding: 3rem 1.25rem 5rem; }
h1 { font-size: clamp(2rem, 5vw, 3.2rem); line-height: 1.1; margin: 0 0 .5rem; letter-spacing: -.02em; }
h2 { margin: 3rem 0 .75rem; font-size: 1.3rem; }
p, figcaption { color: var(--muted); max-width: 46rem; }
strong { color: var(--ink); }
.facts { display: grid; grid-template-columns: repeat(auto-fit, minmax(11rem, 1fr)); gap: 1rem; padding: 0;
  margin: 2rem 0; list-style: none; }
.facts li, .card, figure { background: var(--panel); border: 1px solid var(--line); border-radius: .9rem; }
.facts li { padding: 1rem 1.2rem; color: var(--muted); }
.facts b { display: block; font-size: 1.6rem; color: var(--ink); font-variant-numeric: tabular-nums; }
.players { display: grid; grid-template-columns: repeat(auto-fit, minmax(18rem, 1fr)); gap: 1rem; }
.card { padding: 1.2rem 1.4rem; }
.card h3 { margin: 0; font-size: 1.05rem; }
.card p { margin: .2rem 0 .9rem; font-size: .92rem; }
audio { width: 100%; }
figure { margin: 0; padding: .75rem; }
figure img { width: 100%; height: auto; display: block; border-radius: .5rem; }
.scroll { overflow-x: auto; border: 1px solid var(--line); border-radius: .9rem; background: var(--panel); }
table { border-collapse: collapse; width: 100%; font-variant-numeric: tabular-nums; font-size: .93rem; }
caption { text-align: left; padding: .9rem 1rem; color: var(--muted); }
th, td { padding: .5rem 1rem; text-align: right; border-top: 1px solid var(--line); white-space: nowrap; }
th:first-child, td:last-child, th:last-child { text-align: left; }
thead th { color: var(--muted); font-weight: 600; }
.dot { display: inline-block; width: .7rem; height: .7rem; border-radius: 50%; margin-right: .6rem; }
a { color: var(--glow); }
a:focus-visible, audio:focus-visible, .scroll:focus-visible { outline: 3px solid var(--glow); outline-offset: 3px; }
"""


def write(path: Path, summary: dict[str, Any], picture: Path) -> None:
    """Writes the page of ``summary`` to ``path``."""
    path.write_text(render(summary, picture.read_bytes()), encoding="utf-8")


def render(summary: dict[str, Any], png: bytes) -> str:
    """The page as HTML."""
    people = summary["sleepers"]
    leavers = [person["name"] for person in people if person["opted_out_ns"] is not None]
    setters = [person["name"] for person in people if person["offset_set_ns"] is not None]
    silent = [person["name"] for person in people if not person["grants_recording"]]
    image = base64.b64encode(png).decode()
    unrecorded = f" {_names(silent)} did not allow recording and is in neither." if silent else ""
    described = (
        f"Three charts over time: clock errors within their certified bounds, phases against the rhythm where "
        f"{_names(setters)} moves to plus a quarter turn and {_names(leavers)} falls silent half-way, and levels."
    )
    held = "always" if summary["every_error_within_its_bound"] else "not always"
    return f"""<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{html.escape(summary["title"])}: a night with Harmonia</title>
<style>{_STYLE}</style>
<main>
<h1>{html.escape(summary["title"])}</h1>
<p>{len(people)} sleepers, each with a clock deliberately wrong by up to half a second and a hundred parts in a million,
kept to one rhythm for {summary["minutes"]:g} min. Half-way <strong>{_names(setters)}</strong> moved a quarter turn
away from it, and <strong>{_names(leavers)}</strong> opted out of everything.</p>
<ul class="facts">
{_fact(_us(summary["error_us_p95"]), "clock error that 95 % of all moments stay under")}
{_fact(_us(summary["error_us_max"]), "largest clock error, five seconds after joining or later")}
{_fact(held, "within the bound that each platform certifies")}
{_fact(str(len(people)), "sleepers, in processes of their own")}
</ul>
<h2>Listen</h2>
<div class="players">
<section class="card"><h3>{html.escape(summary["mix_of"])}'s mix</h3>
<p>What one sleeper heard: their own voice among the others.</p>
<audio controls preload="metadata" src="mix.wav" aria-label="One sleeper's mix"></audio></section>
<section class="card"><h3>The field</h3>
<p>The sum of the consenting voices, as nobody in particular heard it.</p>
<audio controls preload="metadata" src="field.wav" aria-label="The field"></audio></section>
</div>
<p>Best with headphones: most of the beat arises between the ears. Both hold only those who allowed
recording.{unrecorded}</p>
<h2>The night at a glance</h2>
<figure><img src="data:image/png;base64,{image}" alt="{html.escape(described)}">
<figcaption>Every line is one sleeper. Times and errors are against the sanctuary's true clock, which no sleeper
knows.</figcaption></figure>
<h2>Sleeper by sleeper</h2>
<div class="scroll" tabindex="0" role="region" aria-label="Table of sleepers">
<table>
<caption>Errors in µs, five seconds after the first exchange or later; phase error in turns.</caption>
<thead><tr><th scope="col">sleeper</th><th scope="col">clock was off by</th><th scope="col">drift</th>
<th scope="col">error, median</th><th scope="col">error, 95 %</th><th scope="col">largest</th>
<th scope="col">bound, median</th><th scope="col">phase error</th><th scope="col">offset</th>
<th scope="col">recorded</th><th scope="col">half-way</th></tr></thead>
<tbody>
{"".join(_row(number, person) for number, person in enumerate(people))}</tbody>
</table></div>
<p>All of it as data: <a href="summary.json">summary.json</a>. The picture alone: <a href="night.png">night.png</a>.</p>
</main>
</html>
"""


def _row(number: int, person: dict[str, Any]) -> str:
    happenings = (("offset_set_ns", "set a quarter turn"), ("opted_out_ns", "opted out"))
    happened = ", ".join(what for key, what in happenings if person[key] is not None)
    cells = (
        f"{person['clock_offset_s'] * 1e3:+.0f} ms",
        f"{person['clock_drift_ppm']:+.1f} ppm",
        _cell(person["error_us_p50"], ".1f"),
        _cell(person["error_us_p95"], ".1f"),
        _cell(person["error_us_max"], ".1f"),
        _cell(person["bound_us_p50"], ".1f"),
        _cell(person["phase_error_turns_p95"], ".5f"),
        _cell(person["offset_turns"], "+.3f"),
        "yes" if person["grants_recording"] else "no",
        happened,
    )
    dot = f'<span class="dot" style="background:{colour(number)}" aria-hidden="true"></span>'
    name = f'<th scope="row">{dot}{html.escape(person["name"])}</th>'
    return f"<tr>{name}{''.join(f'<td>{cell}</td>' for cell in cells)}</tr>\n"


def _fact(value: str, meaning: str) -> str:
    return f"<li><b>{html.escape(value)}</b>{html.escape(meaning)}</li>"


def _cell(value: float | None, form: str) -> str:
    return "–" if value is None else format(value, form)


def _us(value: float | None) -> str:
    return "–" if value is None else f"{value:.0f} µs"


def _names(names: list[str]) -> str:
    return html.escape(" and ".join(names)) or "nobody"
