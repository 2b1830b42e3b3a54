import copy

import pytest
import yaml

from gvs_tasks.errors import GVSError
from gvs_tasks.schema import validate
from gvs_tasks.taxonomy import CONTENT, Taxonomy, load_taxonomy


@pytest.fixture
def raw() -> dict:
    return yaml.safe_load((CONTENT / "taxonomy.yaml").read_text(encoding="utf-8"))


def test_published_scale():
    taxonomy = load_taxonomy()
    assert [len(taxonomy.in_layer(layer.slug)) for layer in taxonomy.layers] == [4, 6, 2]
    assert [category.name.en for category in taxonomy.in_layer("pluralistic")] == [
        "Cultural, Historical, and Religious Sensitivities",
        "Political Leanings, Ideology, and Biased Guidance",
    ]
    assert [severity.level for severity in taxonomy.severities] == [1, 2, 3, 4]


def test_unknown_category_names_the_closest():
    with pytest.raises(GVSError, match="Did you mean 'politics'"):
        load_taxonomy().category("politic")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda t: t["categories"][0].update(layer="base"), "no layer 'base'"),
        (lambda t: t["categories"][1].update(slug="life_safety"), "life_safety occurs more"),
        (lambda t: t["categories"][2].update(risks=[]), "categories.2.risks"),
        (lambda t: t["layers"][0].pop("definition"), "layers.0.definition"),
        (lambda t: t.update(extra=1), "extra"),
    ],
)
def test_faults_name_the_field(raw, spoil, message):
    spoiled = copy.deepcopy(raw)
    spoil(spoiled)
    with pytest.raises(GVSError, match=message):
        validate(Taxonomy, spoiled, "taxonomy.yaml")
