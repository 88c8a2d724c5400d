"""Reviews: tables and aclImdb in every format, errors by line, and the corpus from templates."""

import csv
import gzip
import io
import lzma
import re
import tarfile
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from alphazero.supervised import corpus, tables, texts
from alphazero.supervised.vocabulary import tokenize

IMDB = Path(__file__).parents[2] / "shared" / "data" / "imdb"
PACK = {"": bytes, ".gz": gzip.compress, ".xz": lzma.compress}
ROWS = [(0, "Not good."), (1, "Good, not bad."), (0, 'A "bad" film'), (1, "Fine, \u201cyes\u201d")]
REVIEWS = {
    "train/neg/0_3.txt": "Bad.<br /><br />Really bad.",
    "train/neg/10_1.txt": "Awful",
    "train/pos/0_9.txt": "Good",
    "test/neg/0_2.txt": "Dull",
    "test/pos/0_10.txt": "Caf\u00e9 life, superb",
    "train/unsup/0_0.txt": "No idea",
    "train/unsup/1_0.txt": "None<BR>either",
}


def quiet(line: str) -> None:
    pass


def table(rows, kind: str) -> bytes:
    if kind == ".tsv":
        return "".join("\t".join(map(str, row)) + "\n" for row in rows).encode()
    file = io.StringIO(newline="")
    csv.writer(file).writerows(rows)
    return file.getvalue().encode()


def tables_in(folder: Path, train: bytes, test: bytes, ending: str = ".tsv") -> Path:
    (folder / f"train{ending}").write_bytes(train)
    (folder / f"test{ending}").write_bytes(test)
    return folder


def folder_of(path: Path, reviews: dict[str, str]) -> Path:
    for name, text in reviews.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_text(text, encoding="utf-8")
    return path


def archive(path: Path, members: dict[str, bytes], link: tarfile.TarInfo | None = None) -> Path:
    with tarfile.open(path, "w:gz") as file:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            file.addfile(member, io.BytesIO(content))
        if link:
            file.addfile(link)
    return path


def members(reviews: dict[str, str]) -> dict[str, bytes]:
    return {f"aclImdb/{name}": text.encode() for name, text in reversed(reviews.items())}


def refused(path: Path) -> str:
    with pytest.raises(ValueError) as caught:  # noqa: PT011 (the callers look at the message)
        texts.load(path, quiet)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def assert_rows(read: texts.Texts, rows) -> None:
    assert read.texts == [text for _, text in rows]
    assert read.labels.dtype == np.int64
    np.testing.assert_array_equal(read.labels, [label for label, _ in rows])


@pytest.mark.parametrize("packed", PACK)
@pytest.mark.parametrize("kind", [".tsv", ".csv"])
@pytest.mark.parametrize("header", [False, True], ids=["bare", "header"])
@pytest.mark.parametrize("wide", [False, True], ids=["two", "four"])
def test_tables_are_read_in_every_format_and_compression(tmp_path, packed, kind, header, wide):
    rows = [(label, 7, 10, text) if wide else (label, text) for label, text in ROWS]
    names = [("label", "id", "stars", "text") if wide else ("label", "text")]
    data = PACK[packed](table(names * header + rows, kind))
    reviews = texts.load(tables_in(tmp_path, data, data, kind + packed), quiet)
    assert_rows(reviews.train, ROWS)
    assert_rows(reviews.test, ROWS)
    assert reviews.name == tmp_path.name
    assert reviews.classes == ("negative", "positive")


def test_a_first_line_that_names_the_columns_sets_their_order(tmp_path):
    rows = [("Stars", "Text", "Label"), (3, "Bad", "neg"), (9, "Good", "Positive")]
    data = table(rows, ".csv")
    reviews = texts.load(tables_in(tmp_path, data, data, ".csv"), quiet)
    assert_rows(reviews.train, [(0, "Bad"), (1, "Good")])


@pytest.mark.parametrize(
    ("name", "data"),
    [
        # IMDb on Kaggle, SST-2 of GLUE, Kaggle's labeledTrainData, pandas with its index, Yelp
        ("a.csv", 'review,sentiment\n"Bad, dull",negative\nGood,positive\n'),
        ("a.tsv", "sentence\tlabel\nBad, dull\t0\nGood\t1\n"),
        ("a.tsv", 'id\tsentiment\treview\n"5_8"\t0\tBad, dull\n"2_9"\t1\tGood\n'),
        ("a.csv", ',text,label\n0,"Bad, dull",0.0\n1,Good,1.0\n'),
        ("a.csv", '1,"Bad, dull"\n2,Good\n'),
        ("a.csv", "Label;Comment;Id\nFalse;Bad, dull;3\nTrue;Good;4\n"),
        ("a.csv", "tweet\ttarget\nBad, dull\t0\nGood\t4\n"),
        ("a.csv", '"polarity"|"content"\n"-1"|"Bad, dull"\n"1"|"Good"\n'),
        ("a.csv", "0;Bad, dull\n1;Good\n"),
        ("a.tsv", "Bad, dull\t0\nGood\t1\n"),
        ("A.CSV", 'Text,Sentiment\n"Bad, dull",NEG\nGood,Pos\n'),
    ],
)
def test_columns_separators_and_labels_may_have_any_usual_spelling(tmp_path, name, data):
    path = tmp_path / name
    path.write_text(data)
    assert tables.is_table(path)
    assert [row[1:] for row in tables.read(path)] == [(0, "Bad, dull"), (1, "Good")]


@pytest.mark.parametrize(
    ("labels", "said"),
    [
        ("0 1 2", ":3: label '2', should be 0 or 1"),
        ("-1 0 1", ":2: label '0', should be -1 or 1"),
        ("1 2 3 4 5", ":3: label '3', should be 1 or 2"),
        ("1.0 0.0 0.5", ":3: label '0.5', should be 0 or 1"),
        ("pos neutral neg", ":2: label 'neutral', should be 0 and 1, negative and positive"),
        ("nan 1", ":1: label 'nan', should be 0 and 1"),
    ],
)
def test_the_first_label_that_fits_no_pair_is_named(tmp_path, labels, said):
    path = tmp_path / "a.tsv"
    path.write_text("".join(f"{label}\tx\n" for label in labels.split()))
    assert f"{path}{said}" in refused(path)


def test_a_byte_order_mark_anywhere_does_not_matter(tmp_path):
    mark, data = b"\xef\xbb\xbf", table([(0, "bad"), (1, "good")], ".csv")
    joined = mark + b'"label","text"\r\n' + data + mark + data + mark
    reviews = texts.load(tables_in(tmp_path, joined, joined, ".csv"), quiet)
    assert_rows(reviews.train, [(0, "bad"), (1, "good")] * 2)


def test_utf_16_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("label,text\n0,bad\n", encoding="utf-16")
    assert refused(path) == f"{path}:1: not UTF-8: UTF-16"


def test_a_table_in_a_zip_is_read_and_of_several_one_must_be_named(tmp_path):
    path = tmp_path / "archive.zip"
    rows = table(ROWS, ".csv")
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("IMDB Dataset.csv", rows)
    assert len(texts.load(path, quiet).train.texts) == 2
    with zipfile.ZipFile(path, "a") as file:
        file.writestr("more/test.csv", rows)
    assert refused(path).startswith(f"{path}: holds 2 files, IMDB Dataset.csv, more/test.csv: name")
    assert len(texts.load(path / "more" / "test.csv", quiet).train.texts) == 2


def test_the_tables_of_sst_2_are_read_though_its_test_has_no_labels(tmp_path):
    data = table([("sentence", "label"), *((text, label) for label, text in ROWS)], ".tsv")
    tables_in(tmp_path, data, b"index\tsentence\n0\tGood\n")
    assert refused(tmp_path).startswith(f"{tmp_path / 'test.tsv'}:1: the columns should be label")
    (tmp_path / "dev.tsv").write_bytes(data)
    lines: list[str] = []
    assert_rows(texts.load(tmp_path, lines.append).test, ROWS)
    assert lines == [f"{tmp_path}: dev.tsv is used for testing: test.tsv has no labels"]
    assert list(texts.unlabelled(tmp_path / "test.tsv")) == ["Good"]


def test_a_class_with_a_single_review_is_named(tmp_path):
    path = tmp_path / "a.csv"
    path.write_text("0,bad\n0,worse\n1,good\n")
    assert refused(path) == (f"{path}: has only 1 positive review: training and test need one each")


def test_a_text_in_csv_may_have_several_lines_and_marks(tmp_path):
    rows = [(0, 'He said:\n"bad", then left'), (1, "Good\r\n\r\nindeed")]
    data = table(rows, ".csv")
    reviews = texts.load(tables_in(tmp_path, data, data, ".csv"), quiet)
    assert reviews.train.texts == ['He said: "bad", then left', "Good indeed"]


def test_a_last_text_may_have_tabs_in_tsv_and_nothing_else_may(tmp_path):
    data = b"0\tbad\n1\tgood\tor\t\tbetter\n"
    assert texts.load(tables_in(tmp_path, data, data), quiet).train.texts == [
        "bad",
        "good or better",
    ]
    data = b"text\tlabel\nbad\t0\ngood\tor\tbetter\t1\n"
    (tmp_path / "train.tsv").write_bytes(data)
    assert refused(tmp_path).endswith("train.tsv:3: 4 columns, the first line has 2")
    data = b"0,bad\n1,good,or better\n"
    (tmp_path / "train.tsv").unlink()
    tables_in(tmp_path, data, data, ".csv")
    assert refused(tmp_path).endswith("train.csv:2: 3 columns, the first line has 2")


def test_line_breaks_of_web_pages_are_blanks(tmp_path):
    data = table([(0, "Bad.<br /><br/>Very<BR>bad < br"), (1, "a < b")], ".tsv")
    assert texts.load(tables_in(tmp_path, data, data), quiet).test.texts[0] == "Bad. Very bad < br"


def test_a_byte_order_mark_and_windows_line_ends_do_not_matter(tmp_path):
    data = b"\xef\xbb\xbf" + table(ROWS, ".tsv").replace(b"\n", b"\r\n")
    assert_rows(texts.load(tables_in(tmp_path, data, data), quiet).train, ROWS)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(st.integers(0, 1), st.text(min_size=1).filter(lambda text: text.strip())),
        min_size=1,
    )
)
def test_any_texts_come_back_from_csv_but_for_their_white_space(tmp_path_factory, rows):
    rows = [(0, "against"), *((label, text.replace("\0", "")) for label, text in rows), (1, "for")]
    rows = [(label, text) for label, text in rows if text.split() and "\ufeff" not in text]
    rows = [row for row in rows if not re.search("<br", row[1], re.IGNORECASE)]
    rows = [(label, text.encode("utf-8", "replace").decode()) for label, text in rows]
    data = table(rows, ".csv")
    reviews = texts.load(tables_in(tmp_path_factory.mktemp("csv"), data, data, ".csv"), quiet)
    assert_rows(reviews.test, [(label, " ".join(text.split())) for label, text in rows])


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (b"2\tgood", "label '2', should be 0 or 1"),
        (b"\tgood", "label '', should be"),
        (b"1", "1 columns, the first line has 2"),
        (b"1\t <br /> ", "the text is empty"),
        (b"1\tcaf\xe9", "not UTF-8"),
        (b"1\tgo\rod", "new-line character"),
    ],
)
@pytest.mark.parametrize("packed", PACK)
def test_a_wrong_line_is_named(tmp_path, line, said, packed):
    good, bad = (table(ROWS, ".tsv") + more for more in (b"", line + b"\n"))
    tables_in(tmp_path, PACK[packed](good), PACK[packed](bad), f".tsv{packed}")
    message = refused(tmp_path)
    assert message.startswith(f"{tmp_path / 'test.tsv'}{packed}:5: ")
    assert said in message


def test_quotation_marks_that_never_close_are_named(tmp_path):
    tables_in(tmp_path, b'0,bad\n1,"good\n', b"0,bad\n1,good\n", ".csv")
    assert refused(tmp_path).startswith(f"{tmp_path / 'train.csv'}:2: unexpected end of data")


@pytest.mark.parametrize("packed", [".gz", ".xz"])
def test_a_table_cut_short_is_named(tmp_path, packed):
    data = PACK[packed](table(ROWS * 1000, ".tsv"))
    tables_in(tmp_path, data, data[:-20], f".tsv{packed}")
    kind = {".gz": "gzip", ".xz": "xz"}[packed]
    name = f"{tmp_path / 'test.tsv'}{packed}"
    assert refused(tmp_path).startswith(f"{name}: not a whole {kind} file: ")


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"", "is empty"),
        (b"label\ttext\n", "has no negative review"),
        (b"0\tbad\n", "has no positive review"),
        (b"0\t1\tbad\n", ":1: the columns should be"),
        (b"text\tid\nbad\t3\n", ":1: the columns should be"),
        (b"sentiment\treview\n1\tgood\n", "has no negative review"),
        (b"mood\tfilm\n1\tgood\n", ":1: label 'mood', should be 0 and 1, negative and positive"),
    ],
)
def test_a_table_without_what_is_needed_is_refused(tmp_path, data, said):
    message = refused(tables_in(tmp_path, data, data))
    assert message.startswith(str(tmp_path / "train.tsv"))
    assert said in message


def test_one_table_of_two_is_not_enough(tmp_path):
    (tmp_path / "test.csv.gz").write_bytes(gzip.compress(table(ROWS, ".csv")))
    assert refused(tmp_path) == (
        f"{tmp_path}: has test.csv.gz, but no such table for train; name the file itself, and a "
        "fifth of it is kept for the test"
    )


def test_of_a_single_table_a_fifth_of_each_class_is_for_testing(tmp_path):
    path = tmp_path / "all.csv.gz"
    rows = [(int(number % 3 == 0), f"review {number}") for number in range(150)]
    path.write_bytes(gzip.compress(table(rows, ".csv")))
    lines: list[str] = []
    reviews, again = texts.load(path, lines.append), texts.load(path, lines.append)
    assert reviews.name == "all"
    assert lines[0] == f"{path}: 30 of 150 reviews are kept for testing"
    assert np.bincount(reviews.test.labels).tolist() == [20, 10]
    assert sorted(reviews.train.texts + reviews.test.texts) == sorted(text for _, text in rows)
    assert again.test.texts == reviews.test.texts
    assert max(int(text.split()[1]) for text in reviews.test.texts) > 100  # not the first ones
    labels = dict((text, label) for label, text in rows)
    for part in (reviews.train, reviews.test):
        assert part.labels.tolist() == [labels[text] for text in part.texts]


def test_aclimdb_is_the_same_as_a_folder_in_a_folder_and_as_an_archive(tmp_path):
    folder_of(tmp_path / "aclImdb", REVIEWS)
    packed = archive(tmp_path / "aclImdb_v1.tar.gz", members(REVIEWS))
    short = archive(tmp_path / "reviews.tgz", members(REVIEWS))
    alone = tmp_path / "alone"
    alone.mkdir()
    archive(alone / "aclImdb_v1.tar.gz", members(REVIEWS))
    for path in (tmp_path / "aclImdb", tmp_path, packed, short, alone):
        reviews = texts.load(path, quiet)
        assert_rows(reviews.train, [(0, "Bad. Really bad."), (0, "Awful"), (1, "Good")])
        assert_rows(reviews.test, [(0, "Dull"), (1, "Caf\u00e9 life, superb")])
        assert list(texts.unlabelled(path)) == ["No idea", "None either"]


def test_only_reviews_are_read_from_an_archive_and_nothing_is_written(tmp_path):
    path = tmp_path / "a.tar.gz"
    more = {
        "aclImdb/train/urls_pos.txt": b"http://",
        "aclImdb/train/pos/readme.md": b"\xff",
        "aclImdb/train/pos/deeper/0_1.txt": b"no",
        "../../outside.txt": b"no",
        "/etc/train/else/1_1.txt": b"no",
    }
    archive(path, more | members(REVIEWS))
    assert texts.load(path, quiet).train.texts == ["Bad. Really bad.", "Awful", "Good"]
    assert list(tmp_path.iterdir()) == [path]
    assert not (tmp_path.parent / "outside.txt").exists()


@pytest.mark.parametrize("kind", [tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.FIFOTYPE])
def test_links_in_an_archive_are_not_followed(tmp_path, kind):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret")
    link = tarfile.TarInfo("aclImdb/train/pos/5_5.txt")
    link.type, link.linkname = kind, str(secret)
    path = archive(tmp_path / "a.tar.gz", members(REVIEWS), link)
    assert texts.load(path, quiet).train.texts == ["Bad. Really bad.", "Awful", "Good"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"aclImdb/train/pos/1_9.txt": b"caf\xe9"}, "train/pos/1_9.txt: not UTF-8"),
        ({"aclImdb/train/pos/1_9.txt": b" <br />\n"}, "train/pos/1_9.txt: the text is empty"),
        (
            {"aclImdb/train/pos/1_9.txt": b"x" * ((1 << 20) + 1)},
            "1,048,577 bytes, should be 1,048,576",
        ),
    ],
)
def test_a_wrong_review_in_an_archive_is_named(tmp_path, change, said):
    path = archive(tmp_path / "a.tar.gz", members(REVIEWS) | change)
    message = refused(path)
    assert message.startswith(str(path))
    assert said in message


def test_an_archive_without_one_class_is_refused(tmp_path):
    reviews = {name: text for name, text in REVIEWS.items() if "test/pos" not in name}
    path = archive(tmp_path / "a.tar.gz", members(reviews))
    assert refused(path) == f"{path / 'test'}: has no positive review"


@pytest.mark.parametrize("place", [-1, -20, -600])
@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_a_damaged_archive_is_named(tmp_path, place, damage):
    rng = np.random.default_rng(0)
    noise = {f"aclImdb/train/neg/{n}_1.txt": rng.bytes(200).hex().encode() for n in range(20)}
    path = archive(tmp_path / "a.tar.gz", members(REVIEWS) | noise)
    data = bytearray(path.read_bytes())
    data[place] ^= 4
    path.write_bytes(data[:place] if damage == "cut" else data)
    assert refused(path).startswith(f"{path}: not a whole gzip file")


def test_a_file_that_is_no_archive_is_named(tmp_path):
    path = tmp_path / "a.tar.gz"
    path.write_bytes(b"<html>not found</html>" * 100)
    assert refused(path).startswith(f"{path}: not a whole gzip file")


def test_a_path_without_reviews_says_what_should_be_there(tmp_path):
    for path in (tmp_path, tmp_path / "nowhere"):
        message = refused(path)
        assert message.startswith(f"{path}: no reviews here; should be an aclImdb folder")


@pytest.mark.parametrize(
    "rows",
    [
        [(0, "one"), (1, "two <br /> three")],
        [("id", "text"), (0, "one"), (1, "two three")],
        [("Text", "id"), ("one", 0), ("two three", 1)],
        [("one",), ("two three",)],
    ],
)
def test_unlabelled_reviews_are_the_last_column_or_the_one_called_text(tmp_path, rows):
    (tmp_path / "unsup.tsv.xz").write_bytes(lzma.compress(table(rows, ".tsv")))
    for path in (tmp_path, tmp_path / "unsup.tsv.xz"):
        assert list(texts.unlabelled(path)) == ["one", "two three"]


def test_the_real_reviews_are_read_whole():
    if not IMDB.is_dir():
        pytest.skip(f"needs the reviews in {IMDB}")
    reviews = texts.load(IMDB, quiet)
    assert reviews.name == "imdb"
    for part in (reviews.train, reviews.test):
        assert np.bincount(part.labels).tolist() == [12_500, 12_500]
        assert not any("<br" in text for text in part.texts)
    assert sum(1 for _ in texts.unlabelled(IMDB)) == 50_000


def test_prepared_tokens_are_whole_numbers_of_torchs_own_size():
    prepared = texts.prepare(np.array([[3, 1, 0]], np.int32), None)
    assert prepared.dtype == torch.int64
    assert prepared.tolist() == [[3, 1, 0]]


def test_without_a_path_reviews_are_made_from_templates():
    reviews, again = texts.load(None), texts.load(None)
    assert reviews.name == "generated"
    assert (len(reviews.train.texts), len(reviews.test.texts)) == (2000, 500)
    assert np.bincount(reviews.train.labels).tolist() == [1000, 1000]
    assert np.bincount(reviews.test.labels).tolist() == [250, 250]
    assert reviews.train.texts == again.train.texts
    every = [*reviews.train.texts, *reviews.test.texts]
    assert len(set(every)) == 2500
    more = list(texts.unlabelled(None))
    assert len(more) == 2000
    assert len(set(more) & set(every)) < 20


DENIALS = {"not", "didn't", "never", tokenize(corpus.DENYING[3])[0]}
"""Words that deny what their sentence says; the fourth template begins with one."""


def _for_and_against(review: str) -> tuple[int, int]:
    """Opinions counted by reading each sentence, not by how it was made."""
    against, for_ = 0, 0
    for sentence in review.split("."):
        words = tokenize(sentence)
        bad, good = (sum(word in words for word in kind) for kind in corpus.QUALITIES)
        denied = bool(DENIALS & set(words))
        against, for_ = against + (good if denied else bad), for_ + (bad if denied else good)
    return against, for_


def test_the_opinions_of_a_made_up_review_agree():
    reviews, labels = corpus.generate(500, seed=3)
    for review, label in zip(reviews, labels, strict=True):
        counts = _for_and_against(review)
        assert counts[label] >= 2
        assert counts[1 - label] == 0


def test_fewer_made_up_reviews_are_the_first_of_more():
    assert corpus.generate(50, seed=1)[0] == corpus.generate(80, seed=1)[0][:50]
    assert corpus.generate(50, seed=1)[0] != corpus.generate(50, seed=2)[0]


def test_single_words_are_not_enough_to_classify_made_up_reviews_but_groups_of_words_are():
    """Against scikit-learn's classifier of bags of words, and of bags of their neighbourhoods."""
    linear = pytest.importorskip("sklearn.linear_model")
    text = pytest.importorskip("sklearn.feature_extraction.text")
    reviews = texts.load(None)
    score = {}
    for most in (1, 4):
        bag = text.CountVectorizer(ngram_range=(1, most), tokenizer=tokenize, token_pattern=None)
        inputs = bag.fit_transform(reviews.train.texts)
        model = linear.LogisticRegression(max_iter=1000).fit(inputs, reviews.train.labels)
        score[most] = model.score(bag.transform(reviews.test.texts), reviews.test.labels)
    assert 0.6 < score[1] < 0.8
    assert score[4] > 0.9
