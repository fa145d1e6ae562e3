"""S-: prompts and adapters on a frozen Transformer, against masks written out, and the runs that they make."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from toy import toy_keys

from recbole_fair import run, storage
from recbole_fair.errors import UsageError
from recbole_fair.host import recbole  # noqa: F401  patched before its layers are imported
from recbole_fair.models.selective import Adapter, SelectiveEncoder, make_selective
from recbole_fair.runner import open_run

WIDTH, LENGTH, PROMPTS = 8, 5, 3


def host_encoder() -> Any:
    from recbole.model.layers import TransformerEncoder

    torch.manual_seed(0)
    return TransformerEncoder(2, 2, WIDTH, 12, 0.0, 0.0, "gelu", 1e-12).eval()


def host_mask(items: list[list[int]], bidirectional: bool) -> torch.Tensor:
    from recbole.model.abstract_recommender import SequentialRecommender

    return SequentialRecommender.get_attention_mask(SimpleNamespace(), torch.tensor(items), bidirectional)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_prompts_are_seen_by_all_and_items_see_what_they_saw(bidirectional: bool) -> None:
    """Every cell of the mask by its own rule, through the host's layers."""
    items = [[4, 2, 7, 0, 0], [1, 2, 3, 4, 5]]
    encoder = host_encoder()
    selective = SelectiveEncoder(encoder, WIDTH, PROMPTS, 4)
    states = torch.randn(2, LENGTH, WIDTH)
    whole = PROMPTS + LENGTH
    mask = torch.zeros(2, 1, whole, whole)
    for row in range(2):
        for query in range(whole):
            for key in range(PROMPTS, whole):
                padding = items[row][key - PROMPTS] == 0
                later = not bidirectional and key > query
                mask[row, 0, query, key] = -10000.0 if padding or later else 0.0
    by_hand = encoder(torch.cat([selective.prompts.expand(2, -1, -1), states], dim=1), mask)[-1][:, PROMPTS:]
    torch.testing.assert_close(selective(states, host_mask(items, bidirectional))[-1], by_hand)


def test_an_adapter_starts_as_the_identity_and_is_the_printed_bottleneck() -> None:
    adapter, states = Adapter(6, 2), torch.randn(3, 6)
    torch.testing.assert_close(adapter(states), states)
    torch.nn.init.normal_(adapter.up.weight)
    down = torch.nn.functional.gelu(states @ adapter.down.weight.T + adapter.down.bias)
    torch.testing.assert_close(adapter(states), states + down @ adapter.up.weight.T)


@pytest.fixture(scope="module", params=["SASRec", "BERT4Rec"])
def finished(request: pytest.FixtureRequest, toy_root: Path, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp(request.param)
    run(**toy_keys(toy_root, folder / "base", request.param, epochs=1))
    keys = {"sensitive_attribute": "gender", "base": str(folder / "base"), "hold_labels": 0.2, "epochs": 2}
    result = run(**toy_keys(toy_root, folder / "run", f"S-{request.param}", **keys))
    return result, folder


def test_the_base_is_bit_identical_and_prompts_and_adapters_alone_are_stored(finished: Any) -> None:
    result, folder = finished
    base, _ = storage.read_tensors(folder / "base" / "model.safetensors")
    stored, _ = storage.read_tensors(folder / "run" / "model.safetensors")
    assert {name.split(".")[1] for name in stored} == {"prompts", "adapters"}
    model = open_run(folder / "run")[2].model
    held = {name.replace(".encoder.", "."): value for name, value in model.named_parameters()}
    assert all(torch.equal(held[name], value) for name, value in base.items())
    assert any("held back" in warning for warning in result.warnings)


def test_the_state_that_is_attacked_is_the_one_that_scores(finished: Any) -> None:
    _, folder = finished
    _, data, trainer = open_run(folder / "run")
    model = trainer.model.eval()
    batch = data.test.collate_fn([0, 1, 2])[0]
    with torch.no_grad():
        items = model.item_embedding.weight[: model.n_items]
        scores = model.user_states(batch) @ items.T + getattr(model, "output_bias", 0.0)
        torch.testing.assert_close(scores, model.full_sort_predict(batch).view(3, -1))


def test_what_is_no_transformer_over_items_or_names_nothing_to_hide_is_refused(toy_root: Path, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="has no Transformer over items"):
        make_selective(torch.nn.Linear(2, 2), 1, 1)
    run(**toy_keys(toy_root, tmp_path / "base", "SASRec", epochs=1))
    with pytest.raises(UsageError, match="S-: name what is to be hidden"):
        run(**toy_keys(toy_root, tmp_path / "run", "S-SASRec", base=str(tmp_path / "base"), epochs=1))
