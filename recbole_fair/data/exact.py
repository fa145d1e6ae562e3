"""RecBole's data sets with what they lose of their files: numbers, times and ratings as they were read.

RecBole keeps numbers in float32, in which times of one day tie (64 s apart in 1998, 128 s today), and fills each gap
by the mean of its column, so that an interaction without a rating would have one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from recbole_fair.data.splits import by_users
from recbole_fair.errors import UsageError
from recbole_fair.host import Dataset, FeatureSource, FeatureType, SequentialDataset


class _Exact:
    """What RatingData and LateSequences share.

    `raw_numbers` are the float columns of .user and .item before RecBole fills gaps and scales to [0, 1];
    `missing` counts the gaps of each float column of .inter, `dropped` the interactions that are not used, by reason.
    """

    raw_numbers: dict[str, npt.NDArray[np.float64]]
    missing: dict[str, int]
    dropped: dict[str, int]

    def _data_filtering(self) -> None:
        self.dropped = {}
        super()._data_filtering()  # type: ignore[misc]

    def _filter_nan_user_or_item(self) -> None:
        self._counted("they name no user or no item", super()._filter_nan_user_or_item)  # type: ignore[misc]

    def _remove_duplication(self) -> None:
        self._counted("the pair comes again (rm_dup_inter)", super()._remove_duplication)  # type: ignore[misc]

    def _filter_by_field_value(self) -> None:
        self._counted("val_interval leaves them out", super()._filter_by_field_value)  # type: ignore[misc]

    def _filter_inter_by_user_or_item(self) -> None:
        reason = "their user or item has no row in .user or .item"
        self._counted(reason, super()._filter_inter_by_user_or_item)  # type: ignore[misc]

    def _filter_by_inter_num(self) -> None:
        reason = "their user or item has too few or too many (user_inter_num_interval, item_inter_num_interval)"
        self._counted(reason, super()._filter_by_inter_num)  # type: ignore[misc]

    def _counted(self, reason: str, drop: Callable[[], None]) -> None:
        before = len(self.inter_feat)  # type: ignore[attr-defined]
        drop()
        if lost := before - len(self.inter_feat):  # type: ignore[attr-defined]
            self.dropped[reason] = lost

    def _load_feat(self, filepath: str, source: Any) -> Any:
        feat = super()._load_feat(filepath, source)  # type: ignore[misc]
        owner = {FeatureSource.USER: "uid_field", FeatureSource.ITEM: "iid_field"}.get(source)
        if owner and feat is not None:
            _refuse_conflicts(feat, getattr(self, owner), filepath)
        return feat

    def _user_item_feat_preparation(self) -> None:
        super()._user_item_feat_preparation()  # type: ignore[misc]
        for kind in ("user", "item"):
            feat, count = getattr(self, f"{kind}_feat"), getattr(self, f"{kind}_num")
            if feat is not None and len(feat) != count:
                raise UsageError(
                    f"{self.dataset_path}: {len(feat)} rows of {count} {kind}s; two ids"  # type: ignore[attr-defined]
                    f" of .{kind} are one to RecBole, so every row after them would belong to another {kind}"
                )

    def _fill_nan(self) -> None:
        numbers: dict[str, dict[str, npt.NDArray[np.float64]]] = {
            name: {
                field: feat[field].to_numpy(dtype=float, copy=True)
                for field in feat
                if self.field2type[field] == FeatureType.FLOAT  # type: ignore[attr-defined]
            }
            for name in ("inter", "user", "item")
            if (feat := getattr(self, f"{name}_feat")) is not None
        }
        self.missing = {field: int(np.isnan(values).sum()) for field, values in numbers.pop("inter").items()}
        self.raw_numbers = {field: values for columns in numbers.values() for field, values in columns.items()}
        super()._fill_nan()  # type: ignore[misc]

    def _dataframe_to_interaction(self, data: Any) -> Any:
        converted = super()._dataframe_to_interaction(data)  # type: ignore[misc]
        for field in (self.time_field, self.config["RATING_FIELD"]):  # type: ignore[attr-defined]
            if field in data and converted[field].dtype == torch.float32 and converted[field].dim() == 1:
                converted.interaction[field] = torch.from_numpy(data[field].to_numpy(dtype=np.float64, copy=True))
        return converted

    def build(self) -> list[Any]:
        """RecBole's own splits, or a split by users (`eval_args.split: {US: [0.7, 0.1, 0.2]}`).

        Windows (WS) come as one part: whoever splits them needs the groups of users (data/splits.py).
        """
        config = self.config  # type: ignore[has-type]
        split = config["eval_args"]["split"] or {}
        if not {"US", "WS"} & split.keys():
            return list(super().build())  # type: ignore[misc]
        # Everything in one part: RecBole's ordering without its split.
        self.config = config.replaced(eval_args={**config["eval_args"], "split": {"RS": [1.0]}, "group_by": "none"})
        (whole,) = super().build()  # type: ignore[misc]
        self.config = whole.config = config
        return by_users(whole, split["US"], int(config["split_seed"])) if "US" in split else [whole]


class RatingData(_Exact, Dataset):
    """RecBole's Dataset with the numbers it read."""


class LateSequences(_Exact, SequentialDataset):
    """RecBole's SequentialDataset, split like every other data set before its sequences are made."""

    def data_augmentation(self) -> None:
        """Do nothing when the whole data set is formatted; `augment` does it for the training part."""

    def augment(self) -> None:
        """Turn each user's items of this part into (items so far | next item) rows."""
        super().data_augmentation()


def _refuse_conflicts(feat: Any, field: str, path: str) -> None:
    """Refuse two different rows of one id, of which RecBole would take the first; equal rows are one."""
    if field not in feat:
        return
    repeated = feat[feat[field].duplicated(keep=False) & feat[field].notna()]
    rows: dict[str, str] = {}
    for identifier, row in zip(repeated[field], repeated.itertuples(index=False), strict=True):
        text = repr([list(cell) if isinstance(cell, np.ndarray) else cell for cell in row])
        if rows.setdefault(identifier, text) != text:
            raise UsageError(f"{path}: {field} {identifier!r} has several rows that differ; keep one")
