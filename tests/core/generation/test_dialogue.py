import pytest

from parrot_core.errors import UsageError
from parrot_core.generation import Dialogue


def keep(dialogue, question, answer, **more):
    dialogue.keep(question, language="en", answer=answer, routing=None, **more)


def test_the_model_sees_all_that_was_said_and_every_picture(tiny):
    dialogue = Dialogue(system="Be brief.")
    dialogue.show(tiny.image(0), name="first")
    keep(dialogue, "What?", "A cat.")
    keep(dialogue, "Why?", "It purrs.")
    dialogue.show(tiny.image(1), name="second")
    conversation = dialogue.put("And this?", language="en")
    assert [(m["role"], m["content"]) for m in conversation.messages] == [
        ("system", "Be brief."),
        ("user", "<image>\nWhat?"),
        ("assistant", "A cat."),
        ("user", "Why?"),
        ("assistant", "It purrs."),
        ("user", "<image>\nAnd this?"),
    ]
    assert conversation.images == (tiny.image(0), tiny.image(1))


def test_asking_keeps_nothing_until_an_answer_is_kept(tiny):
    dialogue = Dialogue()
    dialogue.show(tiny.image(0), name="a")
    once = dialogue.put("What?", language="tr")
    assert dialogue.put("What?", language="tr") == once
    keep(dialogue, "What?", "")  # the model said nothing
    assert dialogue.turns == []
    assert len(dialogue.waiting) == 1


@pytest.mark.parametrize("words", [("<image> what?", ""), ("What?", "Look at <image>.")])
def test_nobody_writes_what_stands_for_a_picture(words):
    question, system = words
    with pytest.raises(UsageError, match="<image> stands for a picture"):
        Dialogue(system=system).put(question, language="en")


def test_a_new_picture_before_any_question_replaces_the_first(tiny):
    dialogue = Dialogue()
    dialogue.show(tiny.image(0), name="a")
    dialogue.show(tiny.image(1), name="b")
    assert dialogue.put("What?", language="en").images == (tiny.image(1),)


def test_taking_back_restores_the_picture_and_what_was_asked(tiny):
    dialogue = Dialogue()
    dialogue.show(tiny.image(0), name="a")
    before = dialogue.put("What?", language="en")
    keep(dialogue, "What?", "A cat.", interrupted=True)
    assert dialogue.take_back().question == "What?"
    assert dialogue.put("What?", language="en") == before
    assert dialogue.take_back() is None


def test_a_reset_forgets_words_and_shows_the_newest_picture_again(tiny):
    dialogue = Dialogue()
    for number in range(2):
        dialogue.show(tiny.image(number), name=str(number))
        keep(dialogue, "What?", "A cat.")
    dialogue.reset()
    conversation = dialogue.put("What?", language="en")
    assert conversation.images == (tiny.image(1),)
    assert len(conversation.messages) == 1
