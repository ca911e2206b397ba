import pytest

from parrot_core.languages import LANGUAGES, PAPER_LANGUAGES, identify

SHORT = {
    "en": ["red apple", "fire engine", "The cat sleeps.", "What is this?", "a small boat", "Yes"],
    "zh": ["苹果", "红色的消防车", "猫在睡觉。", "这是什么？", "小船", "是"],
    "pt": [
        "maçã vermelha",
        "carro de bombeiros",
        "O gato dorme.",
        "O que é isto?",
        "um barco",
        "Não",
    ],
    "ar": ["تفاحة حمراء", "سيارة إطفاء", "القطة نائمة.", "ما هذا؟", "قارب صغير", "نعم"],
    "tr": ["kırmızı elma", "itfaiye aracı", "Kedi uyuyor.", "Bu nedir?", "küçük tekne", "Hayır"],
    "ru": ["красное яблоко", "пожарная машина", "Кошка спит.", "Что это?", "лодка", "Нет"],
}


def test_short_texts_are_told_apart_or_left_open_but_hardly_ever_mistaken():
    answers = [
        (identify(text, PAPER_LANGUAGES), code) for code, texts in SHORT.items() for text in texts
    ]
    right = sum(found == code for found, code in answers)
    wrong = [pair for pair in answers if pair[0] not in (None, pair[1])]
    assert len(answers) == 36
    assert right >= 34
    assert len(wrong) <= 1


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("This picture shows a small house beside a tall tree.", "en"),
        ("Esta imagem mostra uma pequena casa ao lado de uma árvore.", "pt"),
        ("Bu resimde yüksek bir ağacın yanında küçük bir ev görülüyor.", "tr"),
        ("Das Bild zeigt ein kleines Haus neben einem hohen Baum.", "de"),
        ("La imagen muestra una casa pequeña junto a un árbol alto.", "es"),
        ("L'image montre une petite maison à côté d'un grand arbre.", "fr"),
        ("Gambar ini menunjukkan sebuah rumah kecil di samping pohon.", "id"),
        ("L'immagine mostra una piccola casa accanto a un albero alto.", "it"),
        ("写真には高い木のそばの小さな家が写っています。", "ja"),
        ("图片显示一棵大树旁边有一座小房子。", "zh"),
        ("圖片顯示一棵大樹旁邊有一座小房子。", "zh-tw"),
        ("Op de foto staat een klein huis naast een hoge boom.", "nl"),
        ("Na zdjęciu widać mały dom obok wysokiego drzewa.", "pl"),
        ("Picha inaonyesha nyumba ndogo karibu na mti mrefu.", "sw"),
        ("На малюнку зображено маленький будинок біля високого дерева.", "uk"),
        ("На картинке маленький дом рядом с высоким деревом.", "ru"),
        ("تصویر یک خانه کوچک را در کنار درختی بلند نشان می‌دهد.", "fa"),
        ("تصویر میں ایک لمبے درخت کے پاس ایک چھوٹا سا گھر ہے۔", "ur"),
        ("تظهر الصورة بيتا صغيرا بجانب شجرة طويلة.", "ar"),
        ("चित्र में एक ऊँचे पेड़ के पास एक छोटा घर है।", "hi"),
        ("사진에는 큰 나무 옆에 작은 집이 있습니다.", "ko"),
        ("ภาพแสดงบ้านหลังเล็กข้างต้นไม้สูง", "th"),
        ("Hình ảnh cho thấy một ngôi nhà nhỏ bên cạnh một cái cây cao.", "vi"),
        ("Bilden visar ett litet hus bredvid ett högt träd.", "sv"),
        ("Na obrázku je malý dům vedle vysokého stromu.", "cs"),
        ("Imaginea arată o casă mică lângă un copac înalt.", "ro"),
        ("A képen egy kis ház látható egy magas fa mellett.", "hu"),
    ],
)
def test_a_sentence_is_told_among_all_languages(text: str, code: str):
    assert identify(text, list(LANGUAGES)) == code


def test_chinese_in_signs_that_both_ways_of_writing_share_is_left_open():
    assert identify("你好", ["zh", "zh-tw"]) is None
    assert identify("你好", ["en", "zh"]) == identify("圖片", ["en", "zh"]) == "zh"


def test_what_has_no_letters_or_another_script_is_left_open():
    assert identify("42 – 17 = ?", PAPER_LANGUAGES) is None
    assert identify("สวัสดี", PAPER_LANGUAGES) is None
    assert identify("", PAPER_LANGUAGES) is None


def test_a_foreign_name_does_not_change_a_long_text():
    text = (
        "The painter Łukasz Żółkiewski lived in this small house beside the river for many years."
    )
    assert identify(text, PAPER_LANGUAGES) == "en"
