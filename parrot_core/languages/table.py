"""The table of languages: what Parrot must know of each."""

import difflib
from dataclasses import dataclass

from parrot_core.errors import UsageError


@dataclass(frozen=True, kw_only=True, slots=True)
class Language:
    """What Parrot must know of a language.

    Attributes:
        code: ISO 639-1 code, the paper's spelling (`zh`, not `cn`).
        name: English name.
        native_name: What its speakers call it.
        scripts: Names of its letters' Unicode blocks as `unicodedata.name` begins them.
        yes: The word that affirms, as a sentence would begin with it.
        no: The word that denies.
        answer_request: The request to answer in it, in its own words.
        apologies: Beginnings of the words with which its speakers, and models that decline, say
            that they are sorry; lower case.
        flores: Its name in FLORES-200, which NLLB uses: ISO 639-3 code and script.
        other_codes: Further three-letter codes by which translation models call it.
        right_to_left: Whether it is written from right to left.
        letters: Letters that it has beyond a to z; None where it is not written in Latin ones.
        foreign_letters: Letters of a to z that only foreign words have in it.
        profile: Name of its letter frequencies in langdetect, if not its code.
    """

    code: str
    name: str
    native_name: str
    scripts: tuple[str, ...] = ("LATIN",)
    yes: str
    no: str
    answer_request: str
    apologies: tuple[str, ...]
    flores: str
    other_codes: tuple[str, ...] = ()
    right_to_left: bool = False
    letters: str | None = None
    foreign_letters: str = ""
    profile: str | None = None


_ROWS = (
    Language(
        code="en",
        name="English",
        native_name="English",
        yes="Yes",
        no="No",
        answer_request="Answer in English.",
        apologies=(
            "sorry",
            "apolog",
            "excuse",
            "pardon",
            "forgive",
            "regret",
            "afraid",
            "unfortunately",
        ),
        flores="eng_Latn",
        letters="",
    ),
    Language(
        code="zh",
        name="Chinese",
        native_name="中文",
        scripts=("CJK",),
        yes="是",
        no="否",
        answer_request="请用中文回答。",
        apologies=("抱歉", "很抱歉", "非常抱歉", "对不起", "不好意思"),
        flores="zho_Hans",
        other_codes=("cmn",),
        profile="zh-cn",
    ),
    Language(
        code="pt",
        name="Portuguese",
        native_name="português",
        yes="Sim",
        no="Não",
        answer_request="Responda em português.",
        apologies=("desculp", "lamento", "sinto muito", "perdão", "perdoe"),
        flores="por_Latn",
        letters="áâãàçéêíóôõú",
        foreign_letters="kwy",
    ),
    Language(
        code="ar",
        name="Arabic",
        native_name="العربية",
        scripts=("ARABIC",),
        yes="نعم",
        no="لا",
        answer_request="أجب بالعربية.",
        apologies=("عذرا", "عذرًا", "آسف", "أنا آسف", "أعتذر", "معذرة"),
        flores="arb_Arab",
        other_codes=("ara",),
        right_to_left=True,
    ),
    Language(
        code="tr",
        name="Turkish",
        native_name="Türkçe",
        yes="Evet",
        no="Hayır",
        answer_request="Türkçe yanıtla.",
        apologies=("üzgünüm", "özür", "affed", "kusura bak"),
        flores="tur_Latn",
        letters="âçğıîöşûü",
        foreign_letters="qwx",
    ),
    Language(
        code="ru",
        name="Russian",
        native_name="русский",
        scripts=("CYRILLIC",),
        yes="Да",
        no="Нет",
        answer_request="Ответь по-русски.",
        apologies=(
            "извин",
            "простите",
            "прости,",
            "сожалею",
            "прошу прощения",
            "приношу извинения",
        ),
        flores="rus_Cyrl",
    ),
    Language(
        code="bn",
        name="Bengali",
        native_name="বাংলা",
        scripts=("BENGALI",),
        yes="হ্যাঁ",
        no="না",
        answer_request="বাংলায় উত্তর দিন।",
        apologies=("দুঃখিত", "আমি দুঃখিত", "ক্ষমা"),
        flores="ben_Beng",
    ),
    Language(
        code="cs",
        name="Czech",
        native_name="čeština",
        yes="Ano",
        no="Ne",
        answer_request="Odpověz česky.",
        apologies=("omlouv", "promiň", "je mi líto"),
        flores="ces_Latn",
        letters="áčďéěíňóřšťúůýž",
        foreign_letters="qwx",
    ),
    Language(
        code="de",
        name="German",
        native_name="Deutsch",
        yes="Ja",
        no="Nein",
        answer_request="Antworte auf Deutsch.",
        apologies=("es tut mir leid", "tut mir leid", "entschuldig", "verzeih"),
        flores="deu_Latn",
        letters="äöüß",
    ),
    Language(
        code="el",
        name="Greek",
        native_name="ελληνικά",
        scripts=("GREEK",),
        yes="Ναι",
        no="Όχι",
        answer_request="Απάντησε στα ελληνικά.",
        apologies=("λυπάμαι", "συγγνώμη", "με συγχωρ"),
        flores="ell_Grek",
    ),
    Language(
        code="es",
        name="Spanish",
        native_name="español",
        yes="Sí",
        no="No",
        answer_request="Responde en español.",
        apologies=("lo siento", "disculp", "perdón", "perdone", "lamento"),
        flores="spa_Latn",
        letters="áéíñóúü",
        foreign_letters="kw",
    ),
    Language(
        code="fa",
        name="Persian",
        native_name="فارسی",
        scripts=("ARABIC",),
        yes="بله",
        no="خیر",
        answer_request="به فارسی پاسخ بده.",
        apologies=("متأسف", "متاسف", "ببخشید", "پوزش", "عذر"),
        flores="pes_Arab",
        other_codes=("fas",),
        right_to_left=True,
    ),
    Language(
        code="fr",
        name="French",
        native_name="français",
        yes="Oui",
        no="Non",
        answer_request="Réponds en français.",
        apologies=("désolé", "je suis désolé", "pardon", "excusez", "je regrette"),
        flores="fra_Latn",
        letters="àâæçéèêëîïôœùûüÿ",
    ),
    Language(
        code="he",
        name="Hebrew",
        native_name="עברית",
        scripts=("HEBREW",),
        yes="כן",
        no="לא",
        answer_request="ענה בעברית.",
        apologies=("מצטער", "אני מצטער", "סליחה"),
        flores="heb_Hebr",
        right_to_left=True,
    ),
    Language(
        code="hi",
        name="Hindi",
        native_name="हिन्दी",
        scripts=("DEVANAGARI",),
        yes="हाँ",
        no="नहीं",
        answer_request="हिन्दी में उत्तर दें।",
        apologies=("क्षमा", "माफ़", "माफ", "मुझे खेद"),
        flores="hin_Deva",
    ),
    Language(
        code="hu",
        name="Hungarian",
        native_name="magyar",
        yes="Igen",
        no="Nem",
        answer_request="Válaszolj magyarul.",
        apologies=("sajnálom", "elnézést", "bocsán"),
        flores="hun_Latn",
        letters="áéíóöőúüű",
        foreign_letters="qwx",
    ),
    Language(
        code="id",
        name="Indonesian",
        native_name="Bahasa Indonesia",
        yes="Ya",
        no="Tidak",
        answer_request="Jawab dalam bahasa Indonesia.",
        apologies=("maaf", "mohon maaf"),
        flores="ind_Latn",
        letters="",
    ),
    Language(
        code="it",
        name="Italian",
        native_name="italiano",
        yes="Sì",
        no="No",
        answer_request="Rispondi in italiano.",
        apologies=("mi dispiace", "scusa", "scusi", "perdon"),
        flores="ita_Latn",
        letters="àèéìîòóùú",
        foreign_letters="jkwxy",
    ),
    Language(
        code="ja",
        name="Japanese",
        native_name="日本語",
        scripts=("HIRAGANA", "KATAKANA", "CJK"),
        yes="はい",
        no="いいえ",
        answer_request="日本語で答えてください。",
        apologies=("申し訳", "すみません", "ごめん"),
        flores="jpn_Jpan",
    ),
    Language(
        code="ko",
        name="Korean",
        native_name="한국어",
        scripts=("HANGUL",),
        yes="예",
        no="아니요",
        answer_request="한국어로 대답해 주세요.",
        apologies=("죄송", "미안"),
        flores="kor_Hang",
    ),
    Language(
        code="nl",
        name="Dutch",
        native_name="Nederlands",
        yes="Ja",
        no="Nee",
        answer_request="Antwoord in het Nederlands.",
        apologies=("het spijt me", "sorry", "excuseer"),
        flores="nld_Latn",
        letters="áäéèëêíïóöúü",
    ),
    Language(
        code="pl",
        name="Polish",
        native_name="polski",
        yes="Tak",
        no="Nie",
        answer_request="Odpowiedz po polsku.",
        apologies=("przepraszam", "przykro mi", "wybacz"),
        flores="pol_Latn",
        letters="ąćęłńóśźż",
        foreign_letters="qvx",
    ),
    Language(
        code="ro",
        name="Romanian",
        native_name="română",
        yes="Da",
        no="Nu",
        answer_request="Răspunde în română.",
        apologies=("îmi pare rău", "scuze", "scuzați"),
        flores="ron_Latn",
        letters="ăâîșțşţ",
        foreign_letters="kqwy",
    ),
    Language(
        code="sv",
        name="Swedish",
        native_name="svenska",
        yes="Ja",
        no="Nej",
        answer_request="Svara på svenska.",
        apologies=("jag är ledsen", "förlåt", "ursäkta"),
        flores="swe_Latn",
        letters="åäöé",
        foreign_letters="qwz",
    ),
    Language(
        code="sw",
        name="Swahili",
        native_name="Kiswahili",
        yes="Ndiyo",
        no="Hapana",
        answer_request="Jibu kwa Kiswahili.",
        apologies=("samahani", "naomba radhi", "ninasikitika"),
        flores="swh_Latn",
        other_codes=("swa",),
        letters="",
        foreign_letters="qx",
    ),
    Language(
        code="ta",
        name="Tamil",
        native_name="தமிழ்",
        scripts=("TAMIL",),
        yes="ஆம்",
        no="இல்லை",
        answer_request="தமிழில் பதிலளிக்கவும்.",
        apologies=("மன்னிக்க", "வருந்துகிறேன்"),
        flores="tam_Taml",
    ),
    Language(
        code="th",
        name="Thai",
        native_name="ไทย",
        scripts=("THAI",),
        yes="ใช่",
        no="ไม่ใช่",
        answer_request="ตอบเป็นภาษาไทย",
        apologies=("ขออภัย", "ขอโทษ"),
        flores="tha_Thai",
    ),
    Language(
        code="uk",
        name="Ukrainian",
        native_name="українська",
        scripts=("CYRILLIC",),
        yes="Так",
        no="Ні",
        answer_request="Відповідай українською.",
        apologies=("вибач", "пробач", "перепрош"),
        flores="ukr_Cyrl",
    ),
    Language(
        code="ur",
        name="Urdu",
        native_name="اردو",
        scripts=("ARABIC",),
        yes="ہاں",
        no="نہیں",
        answer_request="اردو میں جواب دیں۔",
        apologies=("معذرت", "معاف کیجیے", "مجھے افسوس"),
        flores="urd_Arab",
        right_to_left=True,
    ),
    Language(
        code="vi",
        name="Vietnamese",
        native_name="Tiếng Việt",
        yes="Có",
        no="Không",
        answer_request="Trả lời bằng tiếng Việt.",
        apologies=("xin lỗi", "rất tiếc"),
        flores="vie_Latn",
        foreign_letters="fjwz",
    ),
)
LANGUAGES: dict[str, Language] = {row.code: row for row in _ROWS}
"""Every language that Parrot knows, by code."""

PAPER_LANGUAGES: tuple[str, ...] = ("en", "zh", "pt", "ar", "tr", "ru")
"""The six languages of the paper (section 2.3), in the order of its tables."""

_ALIASES = {"cn": "zh", "zh-cn": "zh", "zh_cn": "zh", "pt-br": "pt", "pt_br": "pt"}


def get_language(code: str) -> Language:
    """Returns the language of a code, a spelling that the field uses for it, or its English name.

    Raises:
        UsageError: if no language goes by that name; the hint names the nearest.
    """
    key = code.strip().lower()
    key = _ALIASES.get(key, key)
    by_name = {language.name.lower(): language for language in LANGUAGES.values()}
    found = LANGUAGES.get(key) or by_name.get(key)
    if found is not None:
        return found
    near = difflib.get_close_matches(key, [*LANGUAGES, *by_name], n=1, cutoff=0.6)
    hint = f"Did you mean {near[0]}? " if near else ""
    raise UsageError(
        f"unknown language {code!r}", hint=f"{hint}Parrot knows: {', '.join(LANGUAGES)}."
    )


def parse_languages(text: str) -> list[str]:
    """Reads `tr,ar` or `all` (the paper's six) into codes, in the order given, without repeats."""
    if text.strip().lower() == "all":
        return list(PAPER_LANGUAGES)
    codes = [get_language(part).code for part in text.split(",") if part.strip()]
    if not codes:
        raise UsageError(f"no language in {text!r}", hint="Give codes such as tr,ar, or all.")
    return list(dict.fromkeys(codes))
