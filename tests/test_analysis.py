import json
import pickle
import sys
import unicodedata
from concurrent.futures import ThreadPoolExecutor
from time import perf_counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparseret.analysis import (
    LANGUAGES,
    Analysis,
    Analyzer,
    Span,
    load_analyzer,
    restore_analyzer,
)
from sparseret.errors import ConfigurationError

SIMPLE = Analyzer(None)

# Characters at which scripts, normalisation and case folding are awkward, besides any others.
AWKWARD = (
    "\u00a0\u3000"
    "aIiİıſßẞßΣσςǅǰﬁ½²①ªﷺ㎏℃Åé\u0301\u0307\u0316\u0345\u200b\u200c\u200d\u00ad"
    "\ufe0f\u20e3_'’-. \n\t"
    "1٣๓語日々〇ーｰカｶﾞﾟ한글\u1100\u1161\u11a8\u115fไทยกำเ\u0e31\u0e4dລາວ\u0eb3ខ្មែរမြန်မာက္ကहिन्दीक्षمیخواهمـ"
    "كيًᏣꭰ👩\U000e0100\U0001d400\ud800\U0010ffff"
)
texts = st.text() | st.text(st.sampled_from(AWKWARD), max_size=30)
analyzers = st.sampled_from(
    [SIMPLE, Analyzer(), *(Analyzer(code) for code in ("tr", "fa", "de", "ar", "el", "hi", "yi"))]
)


@pytest.mark.parametrize(
    ("language", "text", "terms"),
    [
        ("english", "The running dogs ran to the dog's house", "run dog ran dog hous"),
        ("english", "Vitamin C, don't; snake_case x2 3.5", "vitamin c don t snake_cas x2 3 5"),
        ("english", "“Quoted”—naïve café", "quot naïv café"),
        ("porter", "generously", "gener"),
        ("english", "generously", "generous"),
        ("german", "Die Häuser und die Straße, STRASSE", "haus strass strass"),
        ("french", "L'avion où l’on mange des pommes", "avion mang pomm"),
        ("russian", "Книги и книга в библиотеках", "книг книг библиотек"),
        ("greek", "ΟΔΟΣ οδός οδοσ", "οδ οδ οδ"),
        ("hindi", "हिन्दी में किताबें और किताब", "हिन्द किताब किताब"),
        ("arabic", "الكتاب كِتَاب", "كتاب كتاب"),
        ("persian", "کتاب‌ها كتاب نمی‌دانم", "کتاب کتاب نمید"),
        ("turkish", "IRMAK ırmak İZMİR I\u0307zmir izmir", "ırmak ırmak izmir izmir izmir"),
        ("english", "ISTANBUL İstanbul", "istanbul istanbul"),
        ("thai", "ภาษา", "ภา าษ ษา"),
    ],
)
def test_languages(language, text, terms):
    assert Analyzer(language)(text) == terms.split()


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("", ""),
        ("... — !? «»", ""),
        ("A b C", "a b c"),
        ("東京都は、日本", "東京 京都 都は 日本"),
        ("犬", "犬"),
        ("データー", "デー ータ ター"),
        ("ﾃﾞｰﾀ データ", "デー ータ デー ータ"),
        ("時々〇", "時々 々〇"),
        ("漢字ABCかな", "漢字 abc かな"),
        ("2024年です", "2024 年で です"),
        ("한국어 언어", "한국 국어 언어"),
        (unicodedata.normalize("NFD", "한국어"), "한국 국어"),
        ("ที่นี่", "ที่นี่"),
        ("กำ", "กํา"),  # NFKC writes the vowel as a mark and a letter
        ("ພາສາ", "ພາ າສ ສາ"),
        ("ខ្មែរ", "ខ្មែរ"),
        ("ក្ß İ\u0300 İ\u0307", "ក្ ss ì i"),
        ("ကကက္ကာ", "ကက ကက္ကာ"),
        ("हिन्दी", "हिन्दी"),
        ("क्\u200dष क्ष", "क्ष क्ष"),
        ("co\u00adoperate", "cooperate"),
        ("Ｆｕｌｌ　ｗｉｄｔｈ", "full width"),
        ("ﬁne x² ½", "fine x2 1 2"),
        ("cafe\u0301 café", "café café"),
        ("❤️👩‍🚀🇩🇪", ""),
        ("1️⃣", "1\u20e3"),
        ("\ud800a\udfff", "a"),
        ("l'avion dog’s", "l avion dog s"),
        ("K\u212a Å\u212b", "kk åå"),
    ],
)
def test_tokens(text, tokens):
    assert SIMPLE.tokens(text) == tokens.split()


def test_long_words_are_cut():
    assert SIMPLE.tokens("x" * 600) == ["x" * 255, "x" * 255, "x" * 90]
    assert SIMPLE.tokens("é " + "x" * 600) == ["é", "x" * 255, "x" * 255, "x" * 90]
    assert [len(token) for token in SIMPLE.tokens("я" * 600)] == [255, 255, 90]


def test_stop_words_are_matched_before_stemming_and_after_folding():
    assert Analyzer(stop_words=["Running"])("running runs RUNNING the") == ["run", "the"]
    assert Analyzer("german", stop_words=["GROẞ"])("groß gross Haus") == ["haus"]
    assert Analyzer(stop_words=False)("the dogs") == ["the", "dog"]
    assert Analyzer(stem=False)("the dogs") == ["dogs"]
    assert Analyzer(stop_words=("b", "a", "B")).stop_words == ("a", "b")


@pytest.mark.parametrize(
    ("stop_words", "message"),
    [(["new york"], "2 tokens"), (["..."], "0 tokens"), ("the", "collection of words")],
)
def test_unusable_stop_words(stop_words, message):
    with pytest.raises(ConfigurationError, match=message):
        Analyzer(stop_words=stop_words)


@pytest.mark.parametrize("language", LANGUAGES)
def test_every_language_by_name_and_code(language):
    analyzer = load_analyzer(language)
    assert analyzer == load_analyzer(LANGUAGES[language]) == load_analyzer(language.upper())
    assert isinstance(analyzer, Analysis)
    assert analyzer.term("x1") == "x1"
    settings = json.loads(json.dumps(analyzer.to_dict()))
    restored = restore_analyzer(settings)
    assert restored == analyzer
    assert restored.spec == analyzer.spec
    for word in analyzer.stop_words:
        assert analyzer.tokens(word) == [word]
        assert analyzer.term(word) is None


@pytest.mark.parametrize("name", ["none", "simple", "cjk", "zh", "japanese", "ko", "th"])
def test_names_without_stems_and_stop_words(name):
    assert load_analyzer(name) == SIMPLE
    assert load_analyzer(name)("The dogs") == ["the", "dogs"]


def test_unknown_language_lists_the_known():
    for make in (Analyzer, load_analyzer):
        with pytest.raises(ConfigurationError, match=r"'klingon'.*simple.*german \(de\)"):
            make("klingon")


def test_a_language_the_stemmers_lack_says_so(monkeypatch):
    import Stemmer

    monkeypatch.setattr(Stemmer, "algorithms", lambda: ["english"])
    analyzer = Analyzer("sesotho")
    with ThreadPoolExecutor(1) as pool, pytest.raises(ConfigurationError, match="no stemmer for"):
        pool.submit(analyzer.term, "motho").result()


def test_spec_tells_apart_what_gives_other_terms():
    different = [
        Analyzer(),
        Analyzer("german"),
        Analyzer("porter"),
        Analyzer("turkish", stem=False, stop_words=False),
        Analyzer(stem=False),
        Analyzer(stop_words=False),
        Analyzer(stop_words=["the"]),
        SIMPLE,
    ]
    assert len({analyzer.spec for analyzer in different}) == len(set(different)) == len(different)
    assert Analyzer("simple").spec == Analyzer("de", stem=False, stop_words=False).spec
    assert SIMPLE.spec == "words/1;folding=;stem=;stop="


@pytest.mark.parametrize(
    "change",
    [
        {"extra": 1},
        {"stem": "yes"},
        {"stop_words": "the"},
        {"stop_words": [1]},
        {"language": 5},
        {"language": "klingon"},
        {"analyzer": "absent-plug-in"},
    ],
)
def test_unusable_settings(change):
    with pytest.raises(ConfigurationError):
        restore_analyzer(Analyzer().to_dict() | change)


def test_pickles_and_works_in_threads():
    analyzer = pickle.loads(pickle.dumps(Analyzer()))
    assert analyzer == Analyzer()
    assert hash(analyzer) == hash(Analyzer())
    words = [f"{stem}{end}" for stem in ("run", "nation", "gener") for end in ("s", "ing", "ally")]
    text = " ".join(words * 500)
    with ThreadPoolExecutor(4) as pool:
        assert set(map(tuple, pool.map(analyzer, [text] * 8))) == {tuple(analyzer(text))}


def test_spans_point_into_the_original():
    text = "The ﬁne İzmir,\n東京都 & cafe\u0301s"
    assert list(Analyzer().spans(text)) == [
        Span(4, 7, "fine"),
        Span(8, 13, "izmir"),
        Span(15, 17, "東京"),
        Span(16, 18, "京都"),
        Span(21, 27, "café"),
    ]
    assert list(SIMPLE.spans("a½b")) == [Span(0, 2, "a1"), Span(1, 3, "2b")]


@given(texts, analyzers)
def test_spans_give_the_terms_of_the_text(text, analyzer):
    spans = list(analyzer.spans(text))
    assert [span.term for span in spans] == analyzer(text)
    assert all(0 <= span.start < span.end <= len(text) for span in spans)
    assert [span.start for span in spans] == sorted(span.start for span in spans)


# Without U+0345, the one mark that case folding makes a letter: alone it is no token.
@given(texts.map(lambda text: text.replace("\u0345", "")), analyzers)
def test_spans_are_where_the_tokens_come_from(text, analyzer):
    bare = Analyzer(analyzer.language, stem=False, stop_words=False)
    for start, end, term in bare.spans(text):
        assert term in bare.tokens(text[start:end])


@given(texts, analyzers)
def test_tokens_are_never_empty_and_are_their_own_tokens(text, analyzer):
    for token in analyzer.tokens(text):
        assert 0 < len(token) <= 255
        assert analyzer.tokens(token) == [token]
        assert analyzer.term(token) != ""


@given(st.text(st.characters(exclude_categories=["Cs"])))
def test_composed_and_decomposed_agree(text):
    composed = unicodedata.normalize("NFC", text)
    assert SIMPLE(unicodedata.normalize("NFD", composed)) == SIMPLE(composed)


@given(st.text(st.characters(codec="ascii")))
def test_ascii_as_anywhere_else(text):
    assert SIMPLE.tokens(text) == [t for t in SIMPLE.tokens(text + " é") if t != "é"]


@pytest.mark.parametrize(
    "unit",
    [
        "x",
        "é",
        "x é ",
        "語",
        "ไทย",
        "\u0301\u0316",
        "a\u0301\u0316",
        "I",
        "\u200c",
        "\u1100",
        "ﷺ",
        "—",
        "x—",
    ],
)
def test_long_texts_take_linear_time(unit):
    text = "a" + unit * (100_000 // len(unit))
    begin = perf_counter()
    tokens = Analyzer("turkish").tokens(text)
    # Time quadratic in the text would be minutes; the limit leaves room for a busy machine.
    assert perf_counter() - begin < 10
    assert tokens


PLUGIN = """
from sparseret.analysis import Span

class Letters:
    spec = "letters"
    def tokens(self, text): return [c for c in text if c.isalpha()]
    def term(self, token): return token
    def spans(self, text): return (Span(i, i + 1, c) for i, c in enumerate(text) if c.isalpha())
    def to_dict(self): return {"analyzer": "letters"}
    @classmethod
    def from_dict(cls, settings): return cls()
"""


def test_plug_ins_by_entry_point(tmp_path, monkeypatch):
    (tmp_path / "letters_plugin.py").write_text(PLUGIN)
    metadata = tmp_path / "letters_plugin-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: letters-plugin\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(
        "[sparseret.analyzers]\nletters = letters_plugin:Letters\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    analyzer = load_analyzer("letters")
    assert isinstance(analyzer, Analysis)
    assert analyzer.tokens("a1b") == ["a", "b"]
    assert type(restore_analyzer(analyzer.to_dict())) is type(analyzer)
    with pytest.raises(ConfigurationError, match=r"plug-in \(.*letters.*\)"):
        load_analyzer("klingon")
    sys.modules.pop("letters_plugin")
