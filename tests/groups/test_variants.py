"""What a prompt may say of attributes, written and read back."""

from __future__ import annotations

import pytest

from recbole_fair.errors import UsageError
from recbole_fair.groups.variants import NONE, OWN, Variant


@pytest.mark.parametrize("variant", [NONE, OWN, Variant("gender", "F"), Variant("gender*age", "F*a=b")])
def test_a_variant_is_read_back_as_it_was_written(variant: Variant) -> None:
    assert Variant.parse(str(variant)) == variant


def test_a_misspelt_variant_is_refused_with_the_nearest() -> None:
    with pytest.raises(UsageError, match="Did you mean 'actual'"):
        Variant.parse("actuel")


def test_a_product_sets_each_of_its_attributes() -> None:
    assert Variant("gender*age", "F*old").sets() == {"gender": "F", "age": "old"}
    assert OWN.sets() == NONE.sets() == {}
