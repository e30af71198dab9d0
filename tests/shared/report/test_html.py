"""The page: complete on its own, safe, well-formed, and without empty sections."""

import re
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest

from shared.core.errors import ConfigError, EnvironmentProblem
from shared.report import figures, html
from shared.report.html import Confusion, FeatureRow, Figure, Headline, MetricRow, RuleRow, RunReport, Slice, TableRow

HOSTILE = """<script>alert("x")</script><img src=//evil.example onerror='x'>"""
VOID = {"meta", "link", "br", "img", "hr", "input", "source", "wbr", "base", "col"}
LOADS = {"script", "link", "img", "iframe", "object", "embed", "base", "video", "audio", "form", "image"}


class Page(HTMLParser):
    """Reads a page strictly: every element that opens closes, in order; keeps what the tests look at."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.handle_startendtag(tag, attrs)
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Sequence[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        found = self.open.pop() if self.open else None
        if found != tag:
            pytest.fail(f"</{tag}> closes <{found}> at line {self.getpos()[0]}")

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words.append(data)

    def values(self, *names: str) -> list[str]:
        return [value for _, name, value in self.attributes if name in names]

    @property
    def text(self) -> str:
        return re.sub(r"\s+", " ", " ".join(self.words))


def bare() -> RunReport:
    return RunReport("Title", "Question?", "run-1", datetime(2026, 1, 2, 3, 4, tzinfo=UTC), "a.csv")


def test_every_element_closes_in_order_and_ids_are_unique(realistic: RunReport) -> None:
    page = Page(html.render(realistic))
    assert page.open == []
    ids = page.values("id")
    assert len(ids) == len(set(ids))


def test_the_page_loads_nothing_and_links_only_into_itself(realistic: RunReport) -> None:
    text = html.render(realistic)
    page = Page(text)
    assert not LOADS & set(page.tags)
    links = page.values("href", "src", "xlink:href", "action", "srcset")
    assert links
    assert all(link.startswith("#") and link[1:] in page.values("id") for link in links)
    assert set(re.findall(r"url\((.)", text)) <= {"#"}
    assert "@import" not in text
    assert "://" not in text
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_the_page_forbids_itself_scripts_and_addresses() -> None:
    policy = [value for value in Page(html.render(bare())).values("content") if "default-src" in value]
    assert policy == ["default-src 'none'; style-src 'unsafe-inline'"]


def test_hostile_text_is_shown_and_never_run(realistic: RunReport) -> None:
    report = replace(
        realistic,
        title=HOSTILE,
        subtitle=HOSTILE,
        question=HOSTILE,
        run_id=HOSTILE,
        source=HOSTILE,
        summary=[HOSTILE],
        headlines=[Headline(HOSTILE, HOSTILE, HOSTILE)],
        features=[FeatureRow(HOSTILE, 1.0, HOSTILE, HOSTILE)],
        dropped={HOSTILE: HOSTILE},
        features_note=HOSTILE,
        metrics=[MetricRow(HOSTILE, 0.5, meaning=HOSTILE)],
        metrics_note=HOSTILE,
        candidates={HOSTILE: {HOSTILE: 0.5}},
        figures=[Figure(HOSTILE, figures.gains([(0, 0), (1, 1)], 0.5, positives=HOSTILE), HOSTILE)],
        slices=[Slice(HOSTILE, HOSTILE, 9, 0.1, 0.1, None)],
        decision=[HOSTILE],
        confusion=Confusion(0.5, 1, 2, 3, 4, 1.0, -1.0, 1.0, HOSTILE, HOSTILE, HOSTILE, HOSTILE),
        actions=[HOSTILE],
        notes=[HOSTILE],
        tables=[TableRow(HOSTILE, 1, 1)],
        quality=[RuleRow(HOSTILE, HOSTILE, 1, 1, HOSTILE, HOSTILE, [HOSTILE])],
        config=HOSTILE,
    )
    text = html.render(report)
    page = Page(text)
    assert "<script" not in text
    assert not LOADS & set(page.tags)
    assert page.text.count("alert") >= 25
    assert not [name for _, name, _ in page.attributes if name.startswith("on")]


def test_a_figure_that_is_no_drawing_is_refused() -> None:
    for svg in ("<img src=x>", "<svg ><script>1</script></svg>", ""):
        with pytest.raises(ConfigError, match="FIGURE_NOT_SVG"):
            html.render(replace(bare(), figures=[Figure("F", svg)]))


def test_a_section_without_content_leaves_neither_heading_nor_link() -> None:
    page = Page(html.render(bare()))
    assert not {"section", "h2", "table", "figure", "svg"} & set(page.tags)
    assert page.values("href") == ["#content"]


@pytest.mark.parametrize(
    ("content", "section"),
    [
        ({"summary": ["Good."]}, "answer"),
        ({"metrics": [MetricRow("auc", 0.8)]}, "result"),
        ({"candidates": {"a": {"auc": 0.8}}}, "result"),
        ({"decision": ["Do it."]}, "decision"),
        ({"confusion": Confusion(0.5, 1, 2, 3, 4)}, "decision"),
        ({"figures": [Figure("P", figures.profit([(0, 0), (1, 1)], 0.5), section="decision")]}, "decision"),
        ({"actions": ["Go."]}, "next"),
        ({"features": [FeatureRow("x", 0.0)]}, "features"),
        ({"dropped": {"x": "constant"}}, "features"),
        ({"slices": [Slice("a", "b", 0, 0.0, 0.0, None)]}, "slices"),
        ({"notes": ["One row."]}, "data"),
        ({"tables": [TableRow("t", 1, 0)]}, "data"),
        ({"quality": [RuleRow("not_null", None, 0, 0)]}, "data"),
        ({"config": "seed: 7"}, "run"),
    ],
)
def test_any_content_alone_gives_its_section_and_a_link_to_it(content: dict[str, object], section: str) -> None:
    page = Page(html.render(replace(bare(), **content)))
    assert page.open == []
    assert page.tags.count("section") == 1
    assert [value for tag, name, value in page.attributes if (tag, name) == ("a", "href")] == [
        "#content",
        f"#{section}",
    ]
    assert ("section", "id", section) in page.attributes


def test_the_same_content_gives_the_same_page_in_another_process(realistic: RunReport, tmp_path: Path) -> None:
    text = html.render(realistic)
    assert text == html.render(realistic)
    draw = "from shared.report import figures; print(figures.roc([(0, 0), (0.2, 0.7), (1, 1)], 0.75), end='')"
    again = subprocess.run([sys.executable, "-c", draw], capture_output=True, text=True, check=True)
    assert again.stdout == figures.roc([(0, 0), (0.2, 0.7), (1, 1)], 0.75)


def test_the_page_is_light_and_reads_well_to_machines_too(realistic: RunReport) -> None:
    text = html.render(realistic)
    page = Page(text)
    assert len(text.encode()) < 500_000
    assert text.startswith('<!doctype html>\n<html lang="en">')
    assert page.tags.count("h1") == page.tags.count("main") == page.tags.count("title") == 1
    assert page.tags.count("svg") == len(realistic.figures)
    named = [value for tag, name, value in page.attributes if (tag, name) == ("svg", "aria-label")]
    assert sorted(named) == sorted(f"{figure.title}. {figure.caption}" for figure in realistic.figures)


def test_a_metric_is_shown_on_its_way_from_baseline_to_ceiling() -> None:
    shown = Page(html.render(replace(bare(), metrics=[MetricRow("auc", 0.8, 0.75, 0.85, 0.5, 0.9)])))
    assert "ROC AUC" in shown.text
    assert "0.750 to 0.850" in shown.text
    assert "75% of the way to the ceiling" in shown.text
    styles = shown.values("style")
    assert styles[:3] == ["width:75.0%", "left:62.5%;right:12.5%", "left:75.0%"]


@pytest.mark.parametrize(
    ("row", "reached"),
    [
        (MetricRow("auc", 0.75, baseline=0.5), 0.5),
        (MetricRow("brier", 0.12, baseline=0.2, ceiling=0.1), 0.8),
        (MetricRow("auc", 0.4, baseline=0.5), -0.2),
        (MetricRow("lift_at_10pct", 3.0, baseline=1.0), None),
        (MetricRow("lift_at_10pct", 3.0, baseline=1.0, perfect=5.0), 0.5),
        (MetricRow("auc", 0.8, baseline=0.5, ceiling=0.5), None),
        (MetricRow("auc", 0.8, baseline=0.5, ceiling=0.4), None),
        (MetricRow("auc", float("nan"), baseline=0.5), None),
        (MetricRow("auc", 0.8), None),
    ],
)
def test_the_way_from_baseline_to_the_end_is_known_only_where_both_are(row: MetricRow, reached: float | None) -> None:
    assert row.reached(row.value) == reached


def test_a_model_below_its_baseline_is_said_to_be() -> None:
    shown = Page(html.render(replace(bare(), metrics=[MetricRow("auc", 0.45, 0.4, 0.5, 0.5, 0.9)])))
    assert "no better than the baseline" in shown.text
    assert "left:0%" in shown.values("style")


def test_the_best_candidate_is_bold_by_the_sense_of_its_metric() -> None:
    values = {"tree": {"auc": 0.7, "brier": 0.11, "own": 1.0}, "line": {"auc": 0.8, "brier": 0.12}}
    text = html.render(replace(bare(), candidates=values, chosen="line"))
    assert re.findall(r"<td class=\"n\" data-label=\"[^\"]+\"><b>([^<]+)</b>", text) == ["0.1100", "0.8000"]
    assert re.findall(r'<tr class="chosen"><td>(\w+)', text) == ["line"]
    assert Page(text).text.count("in use") == 1
    assert '<td class="n" data-label="own">–</td>' in text


@pytest.mark.parametrize(
    ("rows", "observed", "predicted", "is_off"),
    [
        (1_000, 0.30, 0.20, True),
        (1_000, 0.22, 0.20, False),  # two points, but within three standard errors
        (30, 0.30, 0.20, False),
        (1_000_000, 0.21, 0.20, False),  # certain, but one point
        (0, 0.0, 0.5, False),
    ],
)
def test_a_slice_is_marked_only_when_off_beyond_chance_and_by_enough(
    rows: int, observed: float, predicted: float, is_off: bool
) -> None:
    part = Slice("plan", "basic", rows, observed, predicted, None)
    assert part.is_off is is_off
    assert ("points too" in html.render(replace(bare(), slices=[part]))) is is_off


def test_slices_stand_under_their_column_in_the_order_given() -> None:
    parts = [Slice("z", "1", 9, 0.1, 0.1, 0.5), Slice("a", "2", 9, 0.1, 0.1, 0.5), Slice("z", "3", 9, 0.1, 0.1, 0.5)]
    text = html.render(replace(bare(), slices=parts))
    assert re.findall(r'<th colspan="6" scope="rowgroup">(\w)</th>|<tr><td>(\d)</td>', text) == [
        ("z", ""),
        ("", "1"),
        ("", "3"),
        ("a", ""),
        ("", "2"),
    ]


def test_the_money_of_the_decision_adds_up_and_is_left_out_where_unknown() -> None:
    known = Confusion(0.25, 10, 20, 3, 400, earned=1_000.0, spent=-200.0, missed=300.0)
    shown = Page(html.render(replace(bare(), confusion=known))).text
    assert known.profit == 800.0
    assert all(words in shown for words in ("1,000 earned", "200 spent", "300 missed", "800", "score from 25.0%"))
    unknown = Page(html.render(replace(bare(), confusion=Confusion(0.25, 10, 20, 3, 400)))).text
    assert not any(words in unknown for words in ("earned", "spent", "profit"))


def test_rows_of_a_stored_table_can_be_passed_as_they_are() -> None:
    stored = {
        "table": "silver",
        "rule": "in_set",
        "column": "plan",
        "checked": 400,
        "failed": 3,
        "examples": ["Premum"],
    }
    text = html.render(replace(bare(), quality=[{**stored, "severity": "warning", "scope": "row"}]))
    assert text == html.render(
        replace(bare(), quality=[RuleRow("in_set", "plan", 400, 3, "warning", "silver", ["Premum"])])
    )
    assert all(words in Page(text).text for words in ("1 rule checked, 1 broken", "0.8%", "Premum", "warning"))


def test_features_after_the_fifteenth_are_folded_away() -> None:
    rows = [FeatureRow(f"f{place}", 1 / place) for place in range(1, 18)]
    before, after = html.render(replace(bare(), features=rows)).split("<details>")
    assert "f15<" in before
    assert "f16<" not in before
    assert "2 more features" in after
    assert '<td class="n soft rank">16</td><td><code>f16</code>' in after


def test_a_report_is_replaced_whole_and_nothing_else_is_left_behind(tmp_path: Path) -> None:
    path = tmp_path / "reports" / "run-1" / "report.html"
    assert html.write(bare(), path) == path
    html.write(replace(bare(), title="Another"), path)
    assert "Another" in path.read_text(encoding="utf-8")
    with pytest.raises(ConfigError):
        html.write(replace(bare(), figures=[Figure("F", "no")]), path)
    assert "Another" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("a file")
    with pytest.raises(EnvironmentProblem, match="REPORT_NOT_WRITABLE") as problem:
        html.write(bare(), tmp_path / "taken" / "report.html")
    assert "taken" in str(problem.value)
    (tmp_path / "report.html").mkdir()
    with pytest.raises(EnvironmentProblem, match="REPORT_NOT_WRITABLE"):
        html.write(bare(), tmp_path / "report.html")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["report.html", "taken"]


def test_the_template_is_found_inside_a_zip(tmp_path: Path) -> None:
    source = Path(html.__file__).parents[1]
    with zipfile.ZipFile(tmp_path / "accel.zip", "w") as archive:
        for folder in ("core", "report"):
            for file in (source / folder).iterdir():
                if file.suffix in {".py", ".j2"}:
                    archive.write(file, f"shared/{folder}/{file.name}")
        archive.write(source / "__init__.py", "shared/__init__.py")
    code = (
        "import datetime; from shared.report import html; print(html.__file__);"
        "print(html.render(html.RunReport('Zipped', '', 'r', datetime.datetime(2026, 1, 1), 's')))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        cwd=tmp_path,
        env={"PYTHONPATH": str(tmp_path / "accel.zip")},
    )
    assert "accel.zip" in done.stdout.splitlines()[0]
    assert "<h1>Zipped</h1>" in done.stdout
