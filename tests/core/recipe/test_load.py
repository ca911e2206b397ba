import dataclasses
import json
from pathlib import Path

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.languages import PAPER_LANGUAGES
from parrot_core.recipe import load_recipe, recipe_as_json


def line_of(path, beginning):
    lines = path.read_text(encoding="utf-8").splitlines()
    (number,) = (n for n, line in enumerate(lines, start=1) if line.startswith(beginning))
    return number


def test_what_is_left_out_is_the_papers(write):
    recipe = load_recipe(write(('languages = ["en", "tr"]\n', "")))
    assert recipe.languages == PAPER_LANGUAGES
    assert recipe.stage1.epochs == recipe.stage2.epochs == 1.0
    assert recipe.stage1.max_length == recipe.stage2.max_length == 2048
    assert (recipe.stage1.zero, recipe.stage2.zero) == (2, 3)
    assert (recipe.stage1.device_batch_size, recipe.stage2.device_batch_size) == (16, 8)
    assert recipe.stage1.precision == recipe.stage2.precision == "bfloat16"
    assert recipe.stage1.gradient_checkpointing
    assert recipe.stage1.weight_decay == 0.0
    assert recipe.model.vision_feature_layer == -2
    assert recipe.model.experts.kind == "two_layer"


# What is changed in the recipe; where the mistake lies: the line's beginning, None for the
# section's own, and the key; and the words that say what is wrong, or what would be right.
MISTAKES = {
    "unknown key": (
        ("count = 4", "cuont = 4"),
        ("cuont", "model.experts.cuont"),
        "unknown key; did you mean count?",
    ),
    "unknown section": (
        ("[stage1]", "[stage3]\nsteps = 1\n\n[stage1]"),
        ("[stage3]", "stage3"),
        "unknown section; did you mean stage",
    ),
    "key of another section": (
        ('folder = "somewhere"', 'folder = "somewhere"\nepochs = 2'),
        ("epochs", "data.epochs"),
        "unknown key; it belongs into [stage1] or [stage2]",
    ),
    "section of another section": (
        ("[stage1]", "[lora]\nrank = 8\n\n[stage1]"),
        ("[lora]", "lora"),
        "unknown section; it belongs into [stage1] or [stage2]",
    ),
    "missing key": (
        ('folder = "somewhere"\n', ""),
        ("[data]", "data.folder"),
        "this key is missing",
    ),
    "missing section": (
        ('[data]\nfolder = "somewhere"\n', ""),
        (None, "data"),
        "this section is missing",
    ),
    "key that stands twice": (
        ("active = 2", "active = 2\ncount = 5"),
        ("count = 5", "count"),
        "stands here twice; before in line 12",
    ),
    "section that stands twice": (
        ("[stage2]", "[model.experts]\nalpha = 1.0\n\n[stage2]"),
        ("[model.experts]", "[model.experts]"),
        "stands here twice; before in line 11",
    ),
    "text without quotes": (
        ('folder = "somewhere"', "folder = somewhere"),
        ("folder", "folder"),
        "not TOML: somewhere: Invalid value; a text stands in quotes",
    ),
    "quotes that are not closed": (
        ('folder = "somewhere"', 'folder = "somewhere'),
        ("folder", "folder"),
        "not TOML",
    ),
    "number in quotes": (
        ("learning_rate = 2e-5", 'learning_rate = "2e-5"'),
        ('learning_rate = "2e-5"', "stage2.learning_rate"),
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
        "expected a whole number, not true",
    ),
    "truth for a choice among numbers": (
        ("learning_rate = 2e-5", "learning_rate = 2e-5\nzero = false"),
        ("zero", "stage2.zero"),
        "false is none of 0, 2, 3",
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
        ('data = "one.json"', "stage1.data"),
        "expected a list, not 'one.json'",
    ),
    "number for a data set": (
        ('data = ["one.json"]', 'data = ["one.json", 2]'),
        ('data = ["one.json", 2]', "stage1.data[1]"),
        "expected the name of a data set, a file, or a table",
    ),
    "value for a section": (
        (
            ('[data]\nfolder = "somewhere"\n', ""),
            ('name = "small"', 'name = "small"\ndata = "here"'),
        ),
        ('data = "here"', "data"),
        "expected a section, not 'here'",
    ),
    "no number where any would do": (
        ("active = 2", "alpha = nan"),
        ("alpha", "model.experts.alpha"),
        "must be a finite number, not nan",
    ),
    "seed that no generator takes": (
        ('name = "small"', 'name = "small"\nseed = 4294967296'),
        ("seed", "seed"),
        "must be at least 0 and below 4294967296, not 4294967296",
    ),
    "name that is a path": (
        ('name = "small"', 'name = "../small"'),
        ("name", "name"),
        "must be the name of a folder, without / and \\, not '../small'",
    ),
    "name of nothing": (
        ('name = "small"', 'name = " "'),
        ("name", "name"),
        "must be the name of a folder",
    ),
    "none of the choices": (
        ("active = 2", 'kind = "two_layers"'),
        ("kind", "model.experts.kind"),
        "'two_layers' is none of 'two_layer', 'gated'; did you mean two_layer?",
    ),
    "none of the parts": (
        ('trains = ["projector"]', 'trains = ["projektor"]'),
        ('trains = ["projektor"]', "stage1.trains[0]"),
        "did you mean projector?",
    ),
    "unknown language": (
        ('"en", "tr"', '"en", "xx"'),
        ("languages", "languages[1]"),
        "unknown language 'xx'; known are en, zh,",
    ),
    "name of a language for its code": (
        ('"en", "tr"', '"en", "Turkish"'),
        ("languages", "languages[1]"),
        "did you mean tr?",
    ),
    "language twice": (
        ('"en", "tr"', '"en", "tr", "en"'),
        ("languages", "languages"),
        "'en' is named 2 times",
    ),
    "unknown data set": (
        ('data = ["one.json"]', 'data = ["sharegpt4v-cn"]'),
        ('data = ["sharegpt4v-cn"]', "stage1.data[0]"),
        "unknown data set 'sharegpt4v-cn'; did you mean sharegpt4v-",
    ),
    "data set twice": (
        ('data = ["one.json"]', 'data = ["one.json", "one.json"]'),
        ('data = ["one.json", "one.json"]', "stage1.data[1]"),
        "one.json is named before; give it a weight",
    ),
    "weight and number of samples": (
        ('data = ["one.json"]', 'data = [{ file = "one.json", weight = 2, samples = 9 }]'),
        ("data = [{", "stage1.data[0]"),
        "has both a weight and a number of samples",
    ),
    "data set without a name": (
        ('data = ["one.json"]', "data = [{ weight = 2 }]"),
        ("data = [{", "stage1.data[0]"),
        "needs either a name or a file",
    ),
    "file of no known format": (
        ('data = ["one.json"]', 'data = [{ file = "one.csv" }]'),
        ("data = [{", "stage1.data[0]"),
        "one.csv does not end in .json or .jsonl or .parquet",
    ),
    "no data": (
        ('data = ["one.json"]', "data = []"),
        ("data = []", "stage1.data"),
        "names no data set and no file of samples",
    ),
    "no expert": (
        ("count = 4", "count = 0"),
        ("count", "model.experts.count"),
        "must be above 0, not 0",
    ),
    "more experts active than there are": (
        ("active = 2", "active = 5"),
        ("active", "model.experts.active"),
        "must lie between 1 and count = 4",
    ),
    "negative": (
        ("global_batch_size = 128", "global_batch_size = -128"),
        ("global_batch_size = -", "stage2.global_batch_size"),
        "must be above 0, not -128",
    ),
    "no number": (
        ("learning_rate = 2e-5", "learning_rate = nan"),
        ("learning_rate = nan", "stage2.learning_rate"),
        "must be above 0, not nan",
    ),
    "endless": (
        ("learning_rate = 2e-5", "learning_rate = inf"),
        ("learning_rate = inf", "stage2.learning_rate"),
        "must be above 0, not inf",
    ),
    "dropout of everything": (
        ("global_batch_size = 256", "global_batch_size = 256\nvision_feature_dropout = 1.0"),
        ("vision_feature_dropout", "stage1.vision_feature_dropout"),
        "must be at least 0 and below 1, not 1.0",
    ),
    "cached features of an encoder that learns": (
        (
            'trains = ["projector"]',
            'trains = ["projector", "vision_encoder"]\ncache_vision_features = true',
        ),
        ("cache_vision_features", "stage1.cache_vision_features"),
        "only a frozen vision encoder can be cached",
    ),
    "experts in stage 1": (
        ('trains = ["projector"]', 'trains = ["projector", "experts"]'),
        ('trains = ["projector", "experts"]', "stage1.trains"),
        "stage 1 bypasses the experts",
    ),
    "nothing that learns": (
        ('trains = ["projector"]', "trains = []"),
        ("trains = []", "stage1.trains"),
        "names no part, so nothing would learn",
    ),
    "learning rate of a frozen part": (
        ("[stage2]", "[stage1.learning_rates]\nexperts = 1e-4\n\n[stage2]"),
        ("experts = 1e-4", "stage1.learning_rates.experts"),
        "this part does not learn: stage1.trains = ['projector']",
    ),
    "adapters of a frozen part": (
        ("[stage2]", "[stage1.lora]\n\n[stage2]"),
        ("[stage1.lora]", "stage1.lora"),
        'adapts the language model, but "language_model" is not in stage1.trains',
    ),
    "offload without ZeRO": (
        ("learning_rate = 2e-5", 'zero = 0\noffload = "optimizer"'),
        ("offload", "stage2.offload"),
        "needs stage2.zero = 2 or 3",
    ),
    "offload that ZeRO-2 cannot": (
        ("learning_rate = 2e-5", 'zero = 2\noffload = "optimizer_and_parameters"'),
        ("offload", "stage2.offload"),
        "only stage2.zero = 3 can offload parameters",
    ),
    "four bits under ZeRO-3": (
        ("[stage2]", '[stage2.lora]\nquantisation = "4bit"\n\n[stage2]'),
        ("quantisation", "stage2.lora.quantisation"),
        "ZeRO-3 cannot share out four-bit weights; set stage2.zero to 0 or 2",
    ),
    "batch that the processes do not divide": (
        (
            ("[stage1]", "[launch]\nprocesses = 3\n\n[stage1]"),
            ("global_batch_size = 128", "global_batch_size = 129"),
        ),
        ("global_batch_size = 256", "stage1.global_batch_size"),
        "does not divide among 3 processes; the nearest sizes that do are 255 and 258",
    ),
    "unknown GPU": (
        ("[stage1]", '[launch]\ngpu = "A100-80G"\n\n[stage1]'),
        ("gpu", "launch.gpu"),
        "unknown GPU 'A100-80G'; did you mean A100-80GB?",
    ),
    "scores of other languages": (
        (
            "[stage1]",
            '[[about.scores]]\nbenchmark = "mmmb"\nvalues = [1, 2, 3]\n'
            'source = "measured"\n\n[stage1]',
        ),
        ("values", "about.scores[0].values"),
        "3 values for 2 languages",
    ),
}


@pytest.mark.parametrize("kind", MISTAKES)
def test_a_mistake_is_named_with_its_line_its_key_and_what_would_be_right(write, kind):
    changes, (beginning, key), words = MISTAKES[kind]
    path = write(*([changes] if isinstance(changes[0], str) else changes))
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    place = path if beginning is None else f"{path}:{last_line_of(path, beginning)}"
    (problem,) = caught.value.problem.splitlines()
    assert problem.startswith(f"{place}: {key}: ")
    assert words in problem
    assert caught.value.hint


def last_line_of(path, beginning):
    lines = path.read_text(encoding="utf-8").splitlines()
    return max(n for n, line in enumerate(lines, start=1) if line.startswith(beginning))


def test_every_mistake_is_told_at_once(write):
    path = write(
        ("count = 4", "cuont = 4"),
        ('folder = "somewhere"', "folder = 7"),
        ("learning_rate = 1e-3", "learning_rate = fast"),
        ('trains = ["projector"]', 'trains = ["eyes", "ears"]'),
        ('data = ["two.json"]', 'data = ["two.json", "two.json"]'),
        ('"en", "tr"', '"en", "en"'),
    )
    with pytest.raises(UsageError) as caught:
        load_recipe(path, overrides=["stage3.epochs=many", "seed=-1", "zero"])
    problems = caught.value.problem.splitlines()
    assert len(problems) == 10, problems
    for words in (
        "cuont",
        "folder",
        "learning_rate: not TOML: fast",
        "'eyes'",
        "'ears'",
        "stage2.data[1]: two.json is named before",
        "'en' is named 2 times",
        "--set stage3",
        "--set seed: must be at least 0 and below 4294967296, not -1",
        "--set 'zero' is not key=value",
    ):
        assert sum(words in problem for problem in problems) == 1, words


def test_a_list_that_is_not_closed_is_told_alone(write):
    """What follows it cannot be read, so nothing else is said about it."""
    with pytest.raises(UsageError) as caught:
        load_recipe(
            write(('data = ["one.json"]', 'data = ["one.json"'), ("count = 4", "cuont = 4"))
        )
    (problem,) = caught.value.problem.splitlines()
    assert "not TOML" in problem
    assert "Unclosed array" in problem


def test_a_mistake_in_a_section_does_not_hide_its_contradictions(write):
    path = write(
        ("active = 2", "active = 9"),
        ('language_model = "./speaker"', "language_model = 7"),
        ('data = ["two.json"]', 'data = ["sharegpt4v-turkish"]\nover_long = "cut"'),
        ("learning_rate = 1e-3", 'learning_rate = 1e-3\noffload = "optimizer"\nzero = 1'),
    )
    with pytest.raises(UsageError) as caught:
        load_recipe(path)
    problems = caught.value.problem.splitlines()
    assert len(problems) == 5, problems  # whether the optimiser may be offloaded, nobody can say
    for words in (
        "model.experts.active: must lie between 1 and count = 4",
        "model.language_model: expected a text",
        "stage2.data[0]: unknown data set 'sharegpt4v-turkish'; did you mean sharegpt4v-tr?",
        "stage2.over_long: 'cut' is none of",
        "stage1.zero: 1 is none of",
    ):
        assert sum(words in problem for problem in problems) == 1, words


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


def test_a_file_that_is_not_text_is_said_so(tmp_path):
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


def test_other_languages_leave_the_expected_scores_to_those_of_the_file():
    recipe = load_recipe(
        Path(__file__).parents[3] / "recipes" / "qwen2-7b.toml",
        overrides=['languages=["en", "tr"]'],
    )
    assert recipe.languages == ("en", "tr")
    assert all(len(scores.values) == len(scores.languages) == 6 for scores in recipe.about.scores)
