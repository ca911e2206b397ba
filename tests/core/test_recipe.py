import dataclasses
import json
from pathlib import Path

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import PAPER_LANGUAGES
from parrot_core.recipe import load_recipe, recipe_as_json

SHIPPED = sorted((Path(__file__).parents[2] / "recipes").glob("*.toml"))

WRITTEN = """\
name = "small"
languages = ["en", "tr"]

[data]
folder = "somewhere"

[model]
language_model = "./speaker"
vision_encoder = "openai/clip-vit-large-patch14-336"

[model.experts]
count = 4
active = 2

[stage1]
data = ["one.json"]
trains = ["projector"]
learning_rate = 1e-3
global_batch_size = 256

[stage2]
data = ["two.json"]
trains = ["projector", "experts", "language_model"]
learning_rate = 2e-5
global_batch_size = 128
"""


@pytest.fixture
def write(tmp_path):
    def write(*changes):
        text = WRITTEN
        for old, new in changes:
            assert text.count(old) == 1, f"{old!r} is in the recipe {text.count(old)} times"
            text = text.replace(old, new)
        path = tmp_path / "small.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def line_of(path, beginning):
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = (n for n, line in enumerate(lines, start=1) if line.startswith(beginning))
    return number


def test_recipes_are_shipped():
    assert "tiny" in {path.stem for path in SHIPPED}


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_recipe_loads_under_its_own_name(path):
    recipe = load_recipe(path)
    assert recipe.name == path.stem
    assert recipe.stage1.data
    assert recipe.stage2.data


def test_what_is_left_out_is_the_papers(write):
    recipe = load_recipe(write(('languages = ["en", "tr"]\n', "")))
    assert recipe.languages == PAPER_LANGUAGES
    assert recipe.stage1.epochs == recipe.stage2.epochs == 1.0
    assert recipe.stage1.warmup_ratio == 0.03
    assert recipe.stage1.max_length == 2048
    assert recipe.model.vision_feature_layer == -2
    assert recipe.model.experts.kind == "two_layer"


# What is changed in the recipe; where the mistake lies: the line's beginning and the key; and the
# words that say what is wrong, or what would be right.
MISTAKES = {
    "unknown key": (
        ("count = 4", "cuont = 4"),
        ("cuont", "model.experts.cuont"),
        "unknown key; did you mean count?",
    ),
    "unknown section": (
        ("[stage1]", "[stage3]\nsteps = 1\n\n[stage1]"),
        ("[stage3]", "[stage3]"),
        "unknown key; did you mean stage",
    ),
    "key of another section": (
        ('folder = "somewhere"', 'folder = "somewhere"\nepochs = 2'),
        ("epochs", "data.epochs"),
        "unknown key",
    ),
    "missing key": (
        ('folder = "somewhere"\n', ""),
        (None, "data.folder"),
        "this key is missing",
    ),
    "missing section": (
        ('[data]\nfolder = "somewhere"\n', ""),
        (None, "data"),
        "this section is missing",
    ),
    "number in quotes": (
        ("learning_rate = 2e-5", 'learning_rate = "2e-5"'),
        ("learning_rate = ", "stage2.learning_rate"),
        "expected a number, not '2e-5'; write the number without quotes",
    ),
    "fraction for a count": (
        ("count = 4", "count = 4.5"),
        ("count", "model.experts.count"),
        "expected a whole number, not 4.5",
    ),
    "truth for a count": (
        ("count = 4", "count = true"),
        ("count", "model.experts.count"),
        "expected a whole number, not True",
    ),
    "number for a truth": (
        ("active = 2", "enabled = 1"),
        ("enabled", "model.experts.enabled"),
        "expected true or false, not 1",
    ),
    "number for a text": (
        ('folder = "somewhere"', "folder = 7"),
        ("folder", "data.folder"),
        "expected a text in quotes, not 7",
    ),
    "text for a list": (
        ('data = ["one.json"]', 'data = "one.json"'),
        ("data = ", "stage1.data"),
        "expected a list, not 'one.json'",
    ),
    "value for a section": (
        ('[data]\nfolder = "somewhere"\n', ""),
        ("data", "data"),
        "expected a section, not 'here'",
    ),
    "none of the choices": (
        ("active = 2", 'kind = "two_layers"'),
        ("kind", "model.experts.kind"),
        "'two_layers' is none of 'two_layer', 'gated'; did you mean two_layer?",
    ),
    "none of the parts": (
        ('trains = ["projector"]', 'trains = ["projektor"]'),
        ("trains = ", "stage1.trains"),
        "did you mean projector?",
    ),
    "unknown language": (
        ('"en", "tr"', '"en", "xx"'),
        ("languages", "languages"),
        "unknown language 'xx'",
    ),
    "no expert": (
        ("count = 4\nactive = 2", "count = 0"),
        ("count", "model.experts.count"),
        "there must be at least one expert",
    ),
    "more experts active than there are": (
        ("active = 2", "active = 5"),
        ("active", "model.experts.active"),
        "must lie between 1 and count = 4",
    ),
    "learning rate of 0": (
        ("learning_rate = 2e-5", "learning_rate = 0"),
        ("learning_rate = 0", "stage2.learning_rate"),
        "must be above 0",
    ),
    "no data": (
        ('data = ["one.json"]', "data = []"),
        ("data = []", "stage1.data"),
        "names no file of samples",
    ),
    "dropout of everything": (
        ("global_batch_size = 256", "global_batch_size = 256\nvision_feature_dropout = 1.0"),
        ("vision_feature_dropout", "stage1.vision_feature_dropout"),
        "must lie in [0, 1)",
    ),
    "cached features of an encoder that learns": (
        (
            'trains = ["projector"]',
            'trains = ["projector", "vision_encoder"]\ncache_vision_features = true',
        ),
        ("cache_vision_features", "stage1.cache_vision_features"),
        "only a frozen vision encoder can be cached",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_with_its_line_its_key_and_what_would_be_right(write, kind):
    change, (beginning, key), words = MISTAKES[kind]
    also = [('name = "small"', 'name = "small"\ndata = "here"')] if beginning == "data" else []
    path = write(change, *also)
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    section, _, name = key.rpartition(".")
    place = path if beginning is None else f"{path}:{_line(path, beginning, section, name)}"
    (problem,) = caught.value.problem.splitlines()
    assert problem.startswith(f"{place}: {key}: ")
    assert words in problem
    assert caught.value.hint


def _line(path, beginning, section, name):
    """The line that begins so within a section: two stages have keys of the same name."""
    inside = ""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), start=1):
        if line.startswith("[") and line != beginning:
            inside = line.strip("[]")
        elif line.startswith(beginning) and (inside == section or name.startswith("[")):
            return number
    raise AssertionError(f"no line begins with {beginning!r}")


def test_every_mistake_is_told_at_once(write):
    path = write(
        ("count = 4", "cuont = 4"),
        ('folder = "somewhere"', "folder = 7"),
        ("learning_rate = 1e-3\n", ""),
        ('trains = ["projector"]', 'trains = ["eyes", "ears"]'),
    )
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides=["stage2.epochs=many"])
    problems = caught.value.problem.splitlines()
    assert len(problems) == 6
    for words in ("cuont", "folder", "stage1.learning_rate", "'eyes'", "'ears'", "--set stage2.ep"):
        assert sum(words in problem for problem in problems) == 1


def test_contradictions_are_told_at_once(write):
    path = write(("active = 2", "active = 9"), ('"en", "tr"', '"en", "xx", "yy"'))
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides=["stage1.steps=-1"])
    assert len(caught.value.problem.splitlines()) == 4


def test_a_remark_behind_a_section_does_not_hide_its_lines(write):
    path = write(("[model.experts]", "[model.experts] # section 3.3"), ("count = 4", "cuont = 4"))
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    assert f":{line_of(path, 'cuont')}: model.experts.cuont" in caught.value.problem


def test_a_file_that_is_not_toml_or_not_text_is_said_so(write, tmp_path):
    with pytest.raises(UsageError, match=r"not TOML: .*line 5"):
        load_recipe(write(('folder = "somewhere"', "folder = somewhere")))
    path = tmp_path / "latin.toml"
    path.write_bytes('name = "ağaç"'.encode("iso-8859-9"))
    with pytest.raises(UsageError, match="not TOML"):
        load_recipe(path)


def test_a_recipe_that_is_not_there_is_missing(tmp_path):
    with pytest.raises(MissingError, match="no such recipe"):
        load_recipe(tmp_path / "no.toml")


def test_an_override_changes_its_value_alone(write):
    path = write()
    plain = load_recipe(path)
    changed = load_recipe(
        path,
        overrides=["stage2.learning_rate=1e-5", "name=other", "stage1.precision = float32"],
    )
    assert changed == dataclasses.replace(
        plain,
        name="other",
        stage1=dataclasses.replace(plain.stage1, precision="float32"),
        stage2=dataclasses.replace(plain.stage2, learning_rate=1e-5),
    )


def test_an_override_reaches_a_section_that_the_file_leaves_out(write):
    path = write(("[model.experts]\ncount = 4\nactive = 2\n", ""))
    recipe = load_recipe(path, overrides=["model.experts.count=3", 'languages=["en"]'])
    assert recipe.model.experts.count == 3
    assert recipe.languages == ("en",)


@pytest.mark.parametrize(
    ("override", "words"),
    [
        ("seed", "is not key=value"),
        ("=1", "is not key=value"),
        ("name.first=1", "name is not a section"),
        ("seeed=1", "--set seeed: unknown key; did you mean seed?"),
        ("seed=one", "--set seed: expected a whole number, not 'one'"),
    ],
)
def test_an_override_that_cannot_be_is_named(write, override, words):
    with pytest.raises(UsageError) as caught:
        load_recipe(write(), overrides=[override])
    assert words in caught.value.problem


def test_a_recipe_does_not_change(write):
    recipe = load_recipe(write())
    for part, name in (
        (recipe, "seed"),
        (recipe.stage2, "epochs"),
        (recipe.model.experts, "count"),
    ):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(part, name, 1)
    hash(recipe)  # nothing in it can be changed in place either


def test_only_paths_that_begin_with_a_dot_are_relative_to_the_recipe(write, tmp_path):
    recipe = load_recipe(write())
    assert Path(recipe.model.language_model) == tmp_path / "speaker"
    assert recipe.data.folder == "somewhere"
    hub = load_recipe(write(('"./speaker"', '"Qwen/Qwen2-7B-Instruct"')))
    assert hub.model.language_model == "Qwen/Qwen2-7B-Instruct"


def test_the_saved_recipe_has_every_value(write):
    recipe = load_recipe(write())
    saved = json.loads(recipe_as_json(recipe))
    assert saved["stage2"]["weight_decay"] == 0.0
    assert saved["model"]["experts"]["active"] == 2
    assert set(saved) == {entry.name for entry in dataclasses.fields(recipe)}
