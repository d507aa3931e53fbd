"""When a candidate is adopted, and what its folder holds."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pytest
import torch

from features.encoder.encoder import encoder_id, load_encoder
from features.encoder.selection import SENTIMENT_ENCODER, workspace_model
from features.finetune.export import save_encoder
from features.finetune.record import FinetuneRecord
from features.finetune.sentiment_head import HeadNetwork, SentimentHead
from jobs.finetune.candidate import MIN_ANCHORS, Candidate, adoption_of, judge, save_candidate
from jobs.finetune.data import TuningData
from jobs.finetune.stages import HEAD, MODEL, TunedEncoder
from recsys import config
from recsys.config import Settings
from recsys.workspace import Workspace

AS_OF = datetime(2025, 5, 10, tzinfo=UTC)
RECORD = FinetuneRecord("base", "", 0, "cpu", ())
ALL_HELD_OUT = Settings.model_validate({"finetune": {"contrastive": {"held_out": 0.99}}})


@pytest.fixture
def current(bert_folder: Path) -> config.EncoderSettings:
    return config.EncoderSettings(model=str(bert_folder), precision="fp32", max_tokens=32)


def data(n_pairs: int | None) -> TuningData:
    """Each query is its text plus one word, so any encoder finds some of the texts."""
    pairs = None
    if n_pairs is not None:
        anchors = [f"w{number % 40} w{number // 40}" for number in range(n_pairs)]
        pairs = pl.DataFrame({"anchor": anchors, "positive": [f"{anchor} w7" for anchor in anchors]})
    return TuningData([], pairs, "no pairs to tune on", pl.DataFrame(), pl.DataFrame())


def made_in(
    folder: Path, current: config.EncoderSettings, *, model: bool, head: bool, reader: bool = False
) -> TunedEncoder:
    encoder = load_encoder(current)
    with torch.no_grad():
        next(iter(encoder.model.parameters())).mul_(1.01)
    if model:
        save_encoder(encoder, folder / MODEL)
    if head:
        SentimentHead(encoder.id, 3, "weighted", 1.0, HeadNetwork(encoder.dim, 0, 3, 0.0)).save(folder / HEAD)
    if reader:
        save_encoder(encoder, folder / HEAD / SENTIMENT_ENCODER)
    return TunedEncoder(folder, RECORD)


@pytest.mark.parametrize(
    ("changed", "has_head", "n_pairs", "adopted", "reason"),
    [
        (False, False, None, False, "every stage was skipped"),
        (False, True, None, True, "new sentiment head, encoder unchanged"),
        (True, True, None, False, "no pairs to evaluate on: no pairs to tune on"),
        (True, True, MIN_ANCHORS - 1, False, "too few held-out texts: 19, at least 20 are needed"),
        (True, True, 2 * MIN_ANCHORS, False, "not significantly better"),
    ],
)
def test_only_a_significantly_better_encoder_is_adopted(
    changed: bool, has_head: bool, n_pairs: int | None, adopted: bool, reason: str, current: config.EncoderSettings
) -> None:
    """The candidate is the current encoder itself: as good, but not better."""
    verdict = judge(
        Workspace(Path("nowhere")), Candidate("c", current, changed, has_head), current, data(n_pairs), ALL_HELD_OUT
    )
    assert verdict.adopted is adopted and reason in verdict.reason
    assert verdict.before == verdict.after and (verdict.low, verdict.high) == (0.0, 0.0)


def test_a_better_encoder_wins_in_both_orders(current: config.EncoderSettings, workspace: Workspace) -> None:
    worse = load_encoder(current)
    with torch.no_grad():
        worse.model.get_input_embeddings().weight[5:] = 1.0  # to it all words are one
    save_encoder(worse, workspace.encoders / "worse")
    other = current.model_copy(update={"model": workspace_model("worse")})
    up = judge(workspace, Candidate("c", current, True, False), other, data(120), ALL_HELD_OUT)
    down = judge(workspace, Candidate("worse", other, True, False), current, data(120), ALL_HELD_OUT)
    assert up.adopted and not down.adopted
    assert up.n_anchors == down.n_anchors > 100
    assert (up.before, up.after) == (down.after, down.before)
    assert (up.low, up.high) == pytest.approx((-down.high, -down.low))


@pytest.mark.parametrize("reader", [False, True])
def test_a_head_names_the_encoder_that_it_reads(
    reader: bool, current: config.EncoderSettings, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.encoders.mkdir(parents=True)
    tuned = made_in(tmp_path / "made", current, model=True, head=True, reader=reader)
    candidate = save_candidate(workspace, tuned, current, AS_OF, tmp_path)
    folder = workspace.encoders / candidate.name
    read = current.model_copy(update={"model": str(folder / SENTIMENT_ENCODER if reader else folder)})
    assert SentimentHead.load(folder).encoder_id == encoder_id(read)
    assert candidate.name.startswith("finetuned-20250510T000000Z-")
    adopted = adoption_of(workspace, candidate, current.model)
    assert (adopted.model, adopted.head) == (workspace_model(candidate.name), candidate.name)
    assert (f"{candidate.name}/{SENTIMENT_ENCODER}/model.safetensors" in adopted.files) is reader
    assert {f"{candidate.name}/{name}" for name in ("model.safetensors", "sentiment.json")} <= adopted.files.keys()


def test_a_head_alone_reads_the_encoder_in_use(
    current: config.EncoderSettings, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.encoders.mkdir(parents=True)
    tuned = made_in(tmp_path / "made", current, model=False, head=True)
    candidate = save_candidate(workspace, tuned, current, AS_OF, tmp_path)
    assert (candidate.changed, candidate.encoder) == (False, current)
    assert SentimentHead.load(workspace.encoders / candidate.name).encoder_id == encoder_id(current)
    adopted = adoption_of(workspace, candidate, current.model)
    assert (adopted.base, adopted.model, adopted.head) == (current.model, current.model, candidate.name)
    assert adopted.files.keys() == {f"{candidate.name}/sentiment.{kind}" for kind in ("json", "safetensors")}


def test_equal_contents_have_equal_names_and_are_saved_once(
    current: config.EncoderSettings, workspace: Workspace, tmp_path: Path
) -> None:
    workspace.encoders.mkdir(parents=True)
    names = []
    for number in range(2):
        drafts = tmp_path / str(number)
        tuned = made_in(drafts / "made", current, model=True, head=False)
        names.append(save_candidate(workspace, tuned, current, AS_OF, drafts).name)
    assert names[0] == names[1]
    assert [path.name for path in workspace.encoders.iterdir()] == names[:1]
