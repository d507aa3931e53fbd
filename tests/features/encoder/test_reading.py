from pathlib import Path

import pytest
from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from features.encoder.encoder import Encoder, load_encoder
from features.encoder.reading import READING, Reading, read_with, reading_before, reading_of
from recsys.config import EncoderSettings

SHOPS = {
    "Chinese": ["新蓝牙耳机 降噪版", "无线蓝牙耳机", "不锈钢保温杯 500ml", "男士运动鞋 透气"],
    "Japanese": ["ワイヤレスイヤホン", "ステンレス水筒 500ml", "炊飯器 5.5合炊き", "折りたたみ日傘"],
    "Thai": ["หูฟังบลูทูธไร้สาย", "รองเท้าวิ่งผู้ชาย", "หม้อหุงข้าวไฟฟ้า"],
    "Arabic": ["سماعة بلوتوث لاسلكية", "حذاء رياضي للرجال"],
    "Vietnamese": ["Nồi cơm điện Sunhouse 1.8L", "Tai nghe không dây"],
    "German": ["Küchenmaschine weiß", "Bügeleisen mit Dampf"],
    "English": ["Wireless headphones", "Steel bottle 500 ml"],
    "mixed": ["Sony headphones 无线 WH-1000XM5", "Bosch electric toothbrush 电动牙刷"],
}


@pytest.fixture(scope="module")
def minilm() -> Encoder:
    return load_encoder(EncoderSettings(precision="fp32"))


def read(encoder: Encoder, texts: list[str]) -> Reading:
    return reading_of(encoder, texts, max_unread=1 / 3)


@pytest.mark.parametrize("language", ["Chinese", "Japanese", "Thai"])
def test_texts_of_letters_that_the_encoder_does_not_know_are_left_out(minilm: Encoder, language: str) -> None:
    reading = read(minilm, SHOPS[language])
    assert reading.unread > 1 / 3
    assert reading.left_out


@pytest.mark.parametrize("language", ["Arabic", "Vietnamese", "German", "English"])
def test_texts_of_known_letters_are_used(minilm: Encoder, language: str) -> None:
    reading = read(minilm, SHOPS[language])
    assert reading.unread <= 0.03
    assert not reading.left_out


def test_a_language_that_is_only_spelled_is_told_apart_from_one_that_is_read(minilm: Encoder) -> None:
    assert read(minilm, SHOPS["Arabic"]).spelled == pytest.approx(1.0)
    assert read(minilm, SHOPS["German"]).spelled == 0.0


def test_few_foreign_words_are_counted_by_script(minilm: Encoder) -> None:
    reading = read(minilm, SHOPS["mixed"])
    assert 0.03 < reading.unknown < 1 / 3
    assert [each.script for each in reading.scripts] == ["LATIN", "CJK"]
    assert reading.scripts[0].unknown == 0.0
    assert reading.scripts[1].unknown > 0.5
    assert "Chinese characters" in reading.says()


def test_unequal_texts_of_equal_tokens_are_counted_and_other_spellings_are_not(minilm: Encoder) -> None:
    assert read(minilm, ["蓝牙", "键盘", "lamp", "sofa"]).equal == 0.5
    assert read(minilm, ["LAMP", "lamp", "Café", "cafe"]).equal == 0.0


def test_the_share_above_which_texts_are_left_out_can_be_set(minilm: Encoder) -> None:
    assert not reading_of(minilm, SHOPS["Thai"], max_unread=1.0).left_out


def test_a_shop_without_texts_is_read(minilm: Encoder) -> None:
    assert read(minilm, ["", ""]) == Reading()


def test_a_reading_is_stored(minilm: Encoder, tmp_path: Path) -> None:
    reading = read(minilm, SHOPS["mixed"])
    READING.write(tmp_path, reading)
    assert READING.read(tmp_path).says() == reading.says()


def test_a_tokenizer_of_the_language_knows_its_letters() -> None:
    """The kind that multilingual encoders have: it splits at no spaces and has a token for the unknown."""
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(vocab_size=120, unk_token="<unk>", special_tokens=["<unk>"], show_progress=False)
    tokenizer.train_from_iterator(SHOPS["Chinese"] + SHOPS["Thai"], trainer)
    known = read_with(tokenizer, tokenizer.token_to_id("<unk>"), SHOPS["Chinese"] + SHOPS["Thai"])
    assert (known.unknown, known.equal) == (0.0, 0.0)
    other = read_with(tokenizer, tokenizer.token_to_id("<unk>"), SHOPS["Arabic"])
    assert other.unknown == 1.0


def test_before_the_encoder_is_loaded_its_tokenizers_file_gives_the_same_figures(minilm: Encoder) -> None:
    texts = [text for texts in SHOPS.values() for text in texts]
    assert reading_before(EncoderSettings(), texts) == reading_of(minilm, texts, max_unread=1.0)


def test_an_encoder_whose_files_are_not_here_gives_no_figures(tmp_path: Path) -> None:
    assert reading_before(EncoderSettings(model=str(tmp_path)), ["蓝牙"]) == Reading()
