import shutil
from pathlib import Path

import numpy as np
import pytest

from features.encoder.encoder import load_encoder
from jobs.embedding.encoder_files import encoder_files, local_encoder
from recsys.config import EncoderSettings


@pytest.fixture
def tiny(tiny_bert: Path) -> EncoderSettings:
    return EncoderSettings(model=str(tiny_bert), precision="fp32")


def test_a_machine_without_the_folder_encodes_as_the_one_that_has_it(tiny: EncoderSettings, tmp_path: Path) -> None:
    here = tmp_path / "here"
    shutil.copytree(tiny.model, here)
    (here / "more").mkdir()
    (here / "more" / "note.txt").write_text("kept below its folder")
    settings = tiny.model_copy(update={"model": str(here)})
    expected = load_encoder(settings)
    files = encoder_files(settings)
    shutil.rmtree(here)
    with local_encoder(settings, files) as local:
        folder = Path(local.model)
        assert (folder / "more" / "note.txt").read_text() == "kept below its folder"
        encoder = load_encoder(local)
    assert not folder.exists()
    assert encoder.id == expected.id
    np.testing.assert_array_equal(encoder.encode(["red shoes"]), expected.encode(["red shoes"]))


def test_what_every_machine_has_is_not_copied(tiny: EncoderSettings) -> None:
    with local_encoder(tiny, encoder_files(tiny)) as local:
        assert local is tiny
    named = EncoderSettings()
    assert encoder_files(named) is None
    with local_encoder(named, None) as local:
        assert local is named
