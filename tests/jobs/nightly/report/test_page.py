"""The report of every run, also of one that failed."""

import html
import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from conftest import NIGHT, PublishedShop

import jobs.nightly.report.page
import jobs.nightly.steps
from features.workspace.erased_users import add_erased
from features.workspace.training_curves import read_epochs
from jobs.erase.leak_search import Needles, holds_any
from jobs.erase.workspace_files import erase_from_runs
from jobs.nightly.record import REPORT_FILE, RUN_FILE, RunRecord, StepRun, new_run_id, read_runs, write_run
from jobs.nightly.report.page import render_report, write_report
from jobs.nightly.run import Choice, nightly
from recsys.errors import StoreError
from recsys.workspace import Workspace

DAY = timedelta(days=1)
TITLE = "<script>alert('tea & \"mugs\"')</script>"
SHOPPER = 'ann "<b>" o\'hara'

PRICES = {
    "name": "price level",
    "value": 100.0,
    "low": 0.833,
    "high": 1.2,
    "severity": "stop",
    "says": "median price change: factor 100",
    "remedy": "check whether the currency changed",
}
WORSE = {
    "name": "quality, all",
    "value": -0.5,
    "low": -0.05,
    "high": None,
    "severity": "stop",
    "says": "NDCG 0.2000, served release 0.4000",
    "remedy": "run recsys releases diff",
}


def run_of(workspace: Workspace, night: int = 0, *steps: str, **changes: Any) -> RunRecord:
    """A run that has come so far, each step in a second more than the one before."""
    moment = NIGHT + night * DAY
    run = RunRecord(new_run_id(workspace, moment), moment, None, "publish", [])
    run.steps = [StepRun(name, "made", seconds=1.0 + place, peak_mb=500) for place, name in enumerate(steps)]
    run = replace(run, **changes)
    write_run(workspace, run)
    return run


def put(workspace: Workspace, folder: str, name: str, content: Any) -> None:
    path = workspace.runs / folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(content))


def metrics(ndcg: float) -> dict[str, Any]:
    lists = {"n_users": 40, "recall": 0.5, "ndcg": ndcg, "ndcg_low": ndcg - 0.05, "ndcg_high": ndcg + 0.05}
    return {"fused": {"all": lists, "cold_user": lists | {"n_users": 0}}, "popularity": {"all": {"ndcg": 0.1}}}


def published(workspace: Workspace, night: int, ndcg: float) -> RunRecord:
    run = run_of(workspace, night, "read", "evaluate", "gate", "publish", status="published", release_id=f"r{night}")
    put(workspace, f"r{night}", "report.json", {"as_of": (NIGHT + night * DAY).isoformat(), "metrics": metrics(ndcg)})
    put(workspace, f"r{night}", "gate.json", {"figures": {"neighbour_churn": 0.1 * night}, "findings": []})
    return run


def words(page: str) -> str:
    """What a reader sees."""
    shown = re.sub(r"<(style|title|head).*?</\1>", "", page, flags=re.DOTALL)
    return " ".join(html.unescape(re.sub(r"<[^>]+>", " ", shown)).split())


OUTCOMES: list[tuple[dict[str, Any], tuple[str, ...], str]] = [
    ({"status": "published", "release_id": "r9"}, ("read", "publish"), "Published Release r9 is live."),
    (
        {"status": "finished", "release_id": "r9"},
        ("read", "publish"),
        "No changes No changes since release r9: nothing was published",
    ),
    (
        {"status": "finished", "until": "embed"},
        ("read", "embed"),
        "Partial run Only the steps up to “embed” were requested",
    ),
    (
        {"status": "failed", "error": "encoder <x>: no such folder"},
        ("read", "embed"),
        (
            "Failed The run failed in step “embed”; nothing was published. No release is live yet. Error: "
            "encoder <x>: no such folder"
        ),
    ),
    ({"status": "failed", "error": "no room"}, (), "Failed The run failed before the first step"),
    ({"status": "failed", "error": "killed"}, ("read",), "Killed The run was killed in step “read”"),
    ({"status": "stopped", "error": "143"}, ("learn",), "Stopped The run was stopped in step “learn”"),
    ({"status": "held back", "error": "by something"}, ("read",), "Held back Not published: by something."),
]


@pytest.mark.parametrize(("changes", "steps", "expected"), OUTCOMES)
def test_the_page_begins_with_the_outcome_of_the_run(
    workspace: Workspace, changes: dict[str, Any], steps: tuple[str, ...], expected: str
) -> None:
    run = run_of(workspace, 0, *steps, **changes)
    write_report(workspace, run)
    page = (workspace.runs / run.run_id / REPORT_FILE).read_text()
    assert words(page).startswith(expected)


@pytest.mark.parametrize(
    ("step", "name", "finding", "who"),
    [("check", "data_checks.json", PRICES, "data check"), ("gate", "gate.json", WORSE, "gate")],
)
def test_a_held_back_run_names_the_finding_and_the_remedy(
    workspace: Workspace, step: str, name: str, finding: dict[str, Any], who: str
) -> None:
    run = run_of(workspace, 0, "read", step, status="held back", error="run held back")
    put(workspace, run.run_id, name, {"findings": [finding, finding | {"severity": "ok", "remedy": ""}]})
    name_shown = finding["name"].replace(", all", ", all shoppers")
    text = words(render_report(workspace, run))
    assert text.startswith(f"Held back Not published: {who} “{name_shown}” failed: {finding['says']} (expected ")
    assert f"{name_shown}: {finding['remedy']}" in text
    assert "recsys nightly --force publishes anyway" in text


def test_findings_with_one_remedy_share_a_line(workspace: Workspace) -> None:
    run = run_of(workspace, 0, "gate", status="held back", error="x")
    head = WORSE | {"name": "quality, head", "severity": "warning"}
    put(workspace, run.run_id, "gate.json", {"findings": [head, WORSE]})
    line = "quality, all shoppers; quality, more popular half of items: run recsys releases diff"
    assert line in words(render_report(workspace, run))


def test_a_forced_run_says_so(workspace: Workspace) -> None:
    run = run_of(workspace, 0, "check", "publish", status="published", release_id="r0", forced=True)
    put(workspace, run.run_id, "data_checks.json", {"findings": [PRICES]})
    assert "Release r0 is live. It was published with --force in spite of failed checks." in words(
        render_report(workspace, run)
    )


def test_findings_of_an_earlier_attempt_are_not_shown(workspace: Workspace) -> None:
    run = run_of(workspace, 0, "read", status="failed", error="the disk is full")
    put(workspace, run.run_id, "gate.json", {"findings": [WORSE]})
    assert WORSE["says"] not in render_report(workspace, run)


class Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.seen: list[str] = []
        self.addresses: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("src", "href", "action")]


def with_slates(workspace: Workspace) -> RunRecord:
    run = run_of(workspace, 0, "gate", status="failed", error=TITLE)
    slates = [{"user_id": SHOPPER, "churn": 0.5, "before": ["mug", TITLE], "after": ["mug", "lamp"]}]
    put(workspace, run.run_id, "gate.json", {"findings": [WORSE | {"says": TITLE}], "changed_slates": slates})
    return run


def test_titles_are_text_and_the_page_needs_nothing_else(workspace: Workspace) -> None:
    page = render_report(workspace, with_slates(workspace))
    tags = Tags()
    tags.feed(page)
    assert "script" not in tags.seen and tags.addresses == []
    assert not re.search(r"url\(|@import|https?:", page)
    assert words(page).count(TITLE) == 3  # the error, the finding and the list
    assert f"− {TITLE}" in words(page) and "+ lamp" in words(page) and "− mug" not in words(page)


def needles(workspace: Workspace, user_id: str, in_bytes: bool) -> Needles:
    return Needles(user_id, in_bytes, (), 0, 0)


@pytest.mark.parametrize("in_bytes", [True, False])
@pytest.mark.parametrize("user_id", [SHOPPER, "7", "zoë"])
def test_an_erased_shopper_leaves_the_pages_that_were_written(
    workspace: Workspace, user_id: str, in_bytes: bool
) -> None:
    """An id that others' data hold, too, goes where it is marked as one; others of its letters stay."""
    run = with_slates(workspace)
    path = workspace.runs / run.run_id / "gate.json"
    record = json.loads(path.read_text())
    record["changed_slates"][0]["user_id"] = user_id
    path.write_text(json.dumps(record, indent=2))
    write_report(workspace, run)
    page = workspace.runs / run.run_id / REPORT_FILE
    before = words(page.read_text())
    assert f"Shopper {user_id} " in before
    patterns = needles(workspace, user_id, in_bytes)
    removed, written = erase_from_runs(workspace, patterns)
    assert removed["mentions"] >= 2 and {path, page} <= set(written)
    assert not any(holds_any(file, patterns) for file in (path, page))
    after = words(page.read_text())
    assert "Shopper (erased) " in after and f"Shopper {user_id} " not in after
    assert json.loads(path.read_text())["changed_slates"][0]["user_id"] == "(erased)"
    if not in_bytes:
        assert after == before.replace(f"Shopper {user_id} ", "Shopper (erased) ")


def test_an_erased_shopper_is_not_shown(workspace: Workspace) -> None:
    run = with_slates(workspace)
    add_erased(workspace, SHOPPER, NIGHT)
    assert "Nothing to show" in render_report(workspace, run)
    (workspace.erasures / "key").write_text("damaged")
    assert "Nothing to show" in render_report(workspace, run)


def test_figures_of_earlier_runs_are_shown_beside_this_one(workspace: Workspace) -> None:
    for night, ndcg in enumerate((0.31, 0.32)):
        published(workspace, night, ndcg)
    page = render_report(workspace, published(workspace, 2, 0.33))
    labels = re.findall(r'aria-label="(NDCG at 10, all shoppers[^"]*)"', page)
    figures = "from .310 (01 Jun) to .330 (.280 to .380) (03 Jun)"
    assert labels == [f"NDCG at 10, all shoppers. {figures}"]
    assert "new shoppers" not in words(page)  # nobody was measured
    assert "Changed neighbours. from 0% (01 Jun) to 20% (03 Jun)" in page
    assert "evaluate 2.0 s, usually 2.0 s to 2.0 s" in page


def test_a_run_without_changes_does_not_count_its_release_twice(workspace: Workspace) -> None:
    published(workspace, 0, 0.31)
    put(workspace, "r0", "report.json", {"as_of": NIGHT.isoformat(), "metrics": metrics(0.31)})
    again = run_of(workspace, 1, "read", "publish", status="finished", release_id="r0")
    assert "all shoppers. .310 (.260 to .360)" in render_report(workspace, again)


@pytest.mark.parametrize("damage", ["{", "[]", '{"run_id": 7}', ""])
def test_a_damaged_record_of_an_earlier_run_is_skipped(workspace: Workspace, damage: str) -> None:
    for night in range(3):
        published(workspace, night, 0.3 + night / 10)
    (workspace.runs / read_runs(workspace)[1].run_id / RUN_FILE).write_text(damage)
    (workspace.runs / "r0" / "gate.json").write_text(damage)
    page = render_report(workspace, published(workspace, 3, 0.6))
    assert "from .300 (01 Jun) to .600" in page


@pytest.mark.parametrize("ndcg", [None, "much", float("nan"), []])
def test_a_figure_that_is_none_is_left_out(workspace: Workspace, ndcg: object) -> None:
    published(workspace, 0, 0.3)
    report = {"as_of": "some day", "metrics": {"fused": {"all": {"n_users": 5, "ndcg": ndcg}}}}
    put(workspace, "r0", "report.json", report)
    page = render_report(workspace, published(workspace, 1, 0.6))
    assert "all shoppers. .600 (.550 to .650)" in page


def test_a_report_that_cannot_be_written_does_not_fail_the_run(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    run = run_of(workspace, 0, "read", status="failed", error="x")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(jobs.nightly.report.page, "write_atomically", full)
    write_report(workspace, run)
    assert "report_not_written" in caplog.text
    caplog.clear()
    monkeypatch.setattr(jobs.nightly.report.page, "read_history", lambda *_: 1 / 0)
    write_report(workspace, run)
    assert "report_not_written" in caplog.text and not (workspace.runs / run.run_id / REPORT_FILE).exists()


def test_the_first_run_writes_a_complete_report(published_shop: PublishedShop) -> None:
    workspace, report = published_shop.workspace, published_shop.report
    path = workspace.runs / report.run_id / REPORT_FILE
    page, text = path.read_text(), words(path.read_text())
    assert text.startswith(f"Published Release {report.release_id} is live, with data up to ")
    assert path.stat().st_size < 300_000
    for note in ("the first that was measured", "no release to compare with", "Nothing to compare"):
        assert note in text
    assert set(read_epochs(path.parent)) == {"first", "evaluate", "fit"}
    assert "Loss by epoch" in page and "Seconds by step" in page


def test_the_second_run_is_compared_with_the_first(two_nights: Workspace) -> None:
    first, second = read_runs(two_nights)
    page = (two_nights.runs / second.run_id / REPORT_FILE).read_text()
    text = words(page)
    assert f"Compared with the served release {first.release_id} on the same choices" in text
    assert "Release gate" in text and "Changed neighbours" in text
    verdict = json.loads((two_nights.runs / second.run_id / "gate.json").read_text())
    assert 1 <= len(verdict["changed_slates"]) <= 5
    assert {slate["user_id"] for slate in verdict["changed_slates"]} == set(re.findall(r'"user-id">([^<]+)<', page))
    tags = Tags()
    tags.feed(page)
    assert tags.seen.count("svg") > 8 and tags.addresses == []


def test_commands_are_set_as_code_and_titles_stay_text(workspace: Workspace) -> None:
    run = run_of(workspace, 0, "read", status="failed", error="`<i>` failed")
    page = render_report(workspace, run)
    assert "<code>recsys nightly --resume</code>" in page and "<code>&lt;i&gt;</code>" in page


def test_figures_that_this_run_lacks_are_not_drawn(workspace: Workspace) -> None:
    """Otherwise figures of the last run would be mistaken for those of this one."""
    published(workspace, 0, 0.3)
    run = run_of(workspace, 1, "read", status="failed", error="x")
    page = render_report(workspace, run)
    assert "NDCG at 10" not in page and "Changed neighbours" not in page


def test_ingested_rows_are_shown_by_table(workspace: Workspace) -> None:
    run = run_of(workspace, 0, "ingest", "check", status="stopped")
    event = {
        "table": "events",
        "n_read": 10,
        "n_new": 7,
        "n_updated": 1,
        "n_duplicates": 0,
        "n_bad": 2,
        "reasons": {"no <user>": 2},
    }
    put(workspace, run.run_id, "arrivals.json", {"tables": [event, event | {"n_read": 1000}]})
    span = [NIGHT.isoformat(), (NIGHT + DAY).isoformat()]
    put(workspace, run.run_id, "data_checks.json", {"findings": [], "events": 1234, "window": span})
    text = words(render_report(workspace, run))
    assert "events (no <user>: 4) 1,010 14 2 4" in text
    assert "1,234 new events from 01 Jun 2025, 02:00 to 02 Jun 2025, 02:00 UTC." in text


@pytest.mark.parametrize("error", [StoreError("stop here"), KeyboardInterrupt(), ValueError("a defect")])
def test_every_run_writes_its_report(
    published_shop: PublishedShop, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    """One that was killed does so when the next begins."""
    workspace = Workspace(tmp_path / "shop")
    shutil.copytree(published_shop.workspace.root, workspace.root)
    killed = run_of(workspace, 1, "read", status="running")

    def stop(*_: object) -> None:
        raise error

    monkeypatch.setattr(jobs.nightly.steps, "publish", stop)
    with pytest.raises(type(error)):
        nightly(workspace, published_shop.settings, None, NIGHT + 2 * DAY, lambda *_: None, Choice(since="publish"))
    text = words((workspace.runs / read_runs(workspace)[-1].run_id / REPORT_FILE).read_text())
    became = "was stopped" if isinstance(error, KeyboardInterrupt) else "failed"
    live = published_shop.report.release_id
    assert f"The run {became} in step “publish”; nothing was published. Release {live} stays live." in text
    assert words((workspace.runs / killed.run_id / REPORT_FILE).read_text()).startswith("Killed")
