import csv
from dataclasses import replace
from pathlib import Path

import pytest

from parrot_core.errors import MissingError, UsageError
from parrot_core.recipe import DataSet, DataUse, chosen_data, require_data_files
from parrot_core.recipe.datasets import table_3

# Table 3 of the paper: stage, data set, samples in thousands.
TABLE_3 = """\
LLaVA-1.5-pretrain,558
Laion-Caption,12
CC12M-Caption,645
LLaVA-1.5-finetune,665
ShareGPT4V-zh,71
ShareGPT4V-pt,14
ShareGPT4V-ar,12
ShareGPT4V-tr,17
ShareGPT4V-ru,14
"""


def test_all_of_table_3_is_known_by_name_with_its_size_and_where_to_get_it():
    rows = {name.lower(): int(size) * 1000 for name, size in csv.reader(TABLE_3.splitlines())}
    assert {name: entry.samples for name, entry in table_3().items()} == rows
    for entry in table_3().values():
        assert not Path(entry.file).is_absolute()
        assert "https://" in entry.source


def with_data(recipe, *uses, own=()):
    stage = replace(recipe.stage1, data=uses)
    return replace(recipe, stage1=stage, datasets=tuple(own))


def test_a_name_becomes_paths_below_the_data_folder(recipe):
    (found,) = chosen_data(with_data(recipe, DataUse(name="sharegpt4v-tr", weight=2.0)), 1)
    assert found.file == Path("somewhere/parrot-dataset/sharegpt_4v/sharegpt4v_sft_tr_17k.json")
    assert found.images == Path("somewhere/sharegpt4v")
    assert (found.weight, found.samples, found.published_samples) == (2.0, None, 17_000)
    assert found.language == "tr"
    assert "\n" not in found.source


def test_a_file_lies_in_the_data_folder_with_its_images(recipe):
    (found,) = chosen_data(with_data(recipe, DataUse(file="one.json", samples=7)), 1)
    assert (found.file, found.images) == (Path("somewhere/one.json"), Path("somewhere"))
    assert (found.weight, found.samples) == (None, 7)


def test_the_recipes_own_data_sets_go_before_the_registrys_and_table_3s(recipe, tmp_path):
    registry = tmp_path / "mine.toml"
    registry.write_text('[here]\nfile = "a.json"\n[sharegpt4v-tr]\nfile = "b.json"\n')
    recipe = replace(recipe, data=replace(recipe.data, registry=str(registry)))
    uses = (DataUse(name="here"), DataUse(name="sharegpt4v-tr"))
    files = [entry.file.name for entry in chosen_data(with_data(recipe, *uses), 1)]
    assert files == ["a.json", "b.json"]
    own = DataSet(name="sharegpt4v-tr", file="c.json")
    files = [entry.file.name for entry in chosen_data(with_data(recipe, *uses, own=[own]), 1)]
    assert files == ["a.json", "c.json"]


def test_an_absolute_path_of_a_users_own_registry_is_kept(recipe, tmp_path):
    own = DataSet(name="mine", file=str(tmp_path / "a.json"), images=str(tmp_path))
    (found,) = chosen_data(with_data(recipe, DataUse(name="mine"), own=[own]), 1)
    assert (found.file, found.images) == (tmp_path / "a.json", tmp_path)


def test_a_faulty_registry_names_every_fault(recipe, tmp_path):
    registry = tmp_path / "mine.toml"
    registry.write_text('[here]\nfiel = "a.json"\n[there]\nfile = 3\n')
    recipe = replace(recipe, data=replace(recipe.data, registry=str(registry)))
    with pytest.raises(UsageError) as caught:
        chosen_data(recipe, 1)
    assert len(caught.value.problem.splitlines()) == 3
    assert "here.fiel: unknown key; did you mean file?" in caught.value.problem


def test_missing_files_are_told_together_with_where_they_are_to_be_had(recipe):
    uses = (DataUse(name="sharegpt4v-tr"), DataUse(file="one.json"))
    with pytest.raises(MissingError) as caught:
        require_data_files(chosen_data(with_data(recipe, *uses), 1))
    first, second = caught.value.problem.splitlines()
    assert "sharegpt4v_sft_tr_17k.json is not there; where from: https://" in first
    assert second == "no data set one.json: somewhere/one.json is not there"
    assert "data.folder" in caught.value.hint


def test_files_that_are_there_are_no_fault(recipe, tmp_path):
    (tmp_path / "one.json").write_text("[]")
    recipe = replace(recipe, data=replace(recipe.data, folder=str(tmp_path)))
    require_data_files(chosen_data(with_data(recipe, DataUse(file="one.json")), 1))
