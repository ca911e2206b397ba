import tomllib

from hypothesis import given, settings
from hypothesis import strategies as st

from parrot_core.recipe.positions import key_as_text, key_positions

WRITTEN = '''\
# a remark with = and [brackets]
name = "a = b # no remark"

[stage2] # text to learn from
data = [
    "one.json", # with a remark, and a comma
    { name = "two", weight = 2 },
    """three
.json""",
]
lora.rank = 8
"quoted key" = 1

[[more]]
first = 1
[[more]]
first = 2
[more.inner]
second = { third = [1,
  2] }
'''


def test_every_key_and_element_has_the_line_where_it_begins():
    lines = key_positions(WRITTEN)
    assert lines[("name",)] == 2
    assert lines[("stage2",)] == 4
    assert lines[("stage2", "data")] == 5
    assert lines[("stage2", "data", 0)] == 6
    assert lines[("stage2", "data", 1, "weight")] == 7
    assert lines[("stage2", "data", 2)] == 8
    assert lines[("stage2", "lora")] == lines[("stage2", "lora", "rank")] == 11
    assert lines[("stage2", "quoted key")] == 12
    assert lines[("more", 0, "first")] == 15
    assert lines[("more", 1)] == 16
    assert lines[("more", 1, "inner", "second", "third", 1)] == 20


def test_a_key_is_written_as_the_command_line_takes_it():
    assert key_as_text(("stage2", "data", 1, "weight")) == "stage2.data[1].weight"


def keys_of(value, path=()):
    if path:
        yield path
    children = value.items() if isinstance(value, dict) else ()
    if isinstance(value, list):
        children = enumerate(value)
    for name, child in children:
        yield from keys_of(child, (*path, name))


STRINGS = st.sampled_from(['"a"', "'b = [1'", '"c # d"', '"\\"e"', '"""f\n[g]"""', "'''\nh = 1'''"])
SCALARS = st.one_of(STRINGS, st.sampled_from(["1", "-2.5e-3", "true", "1979-05-27"]))
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda items: "[" + ", # and\n".join(items) + "\n]"),
        st.lists(SCALARS.filter(lambda text: "\n" not in text), max_size=3).map(
            lambda items: "{" + ", ".join(f"k{n} = {item}" for n, item in enumerate(items)) + "}"
        ),
    ),
    max_leaves=6,
)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["[t{n}]", "[[a]]", "[t{n}.u]", "# nothing"]),
            st.lists(VALUES, max_size=3),
        ),
        max_size=5,
    )
)
def test_what_the_library_reads_has_a_place_and_nothing_else_has(sections):
    lines = []
    for n, (header, values) in enumerate(sections):
        lines.append(header.format(n=n))
        lines += [f"key{n}x{at} = {value} # remark" for at, value in enumerate(values)]
    text = "\n".join(lines)
    found = key_positions(text)
    assert set(found) == set(keys_of(tomllib.loads(text)))
    for key, line in found.items():
        if isinstance(key[-1], str) and key[-1].startswith("key"):
            assert text.splitlines()[line - 1].startswith(key[-1])
