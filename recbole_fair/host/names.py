"""The one door to RecBole: patched first, then the names that we build on, in one list.

Everything else imports RecBole from here, so no import order can bring in an unpatched host.
"""

from recbole_fair.host import compat

compat.apply()

# ruff: noqa: E402 (the host must be imported after compat)
import recbole
from recbole.config import Config as HostConfig
from recbole.data import create_samplers, get_dataloader
from recbole.data import dataset as host_datasets
from recbole.data.dataloader import FullSortEvalDataLoader
from recbole.data.dataset import Dataset, SequentialDataset
from recbole.data.interaction import Interaction, cat_interactions
from recbole.evaluator import register as metric_register
from recbole.evaluator.base_metric import AbstractMetric, TopkMetric
from recbole.evaluator.collector import Collector, DataStruct
from recbole.evaluator.evaluator import Evaluator
from recbole.model.abstract_recommender import AbstractRecommender, GeneralRecommender
from recbole.model.general_recommender import BPR, LightGCN
from recbole.sampler import Sampler
from recbole.trainer import Trainer
from recbole.utils import EvaluatorType, FeatureSource, FeatureType, InputType, ModelType, get_trainer, init_seed

__all__ = [
    "BPR",
    "AbstractMetric",
    "AbstractRecommender",
    "Collector",
    "DataStruct",
    "Dataset",
    "Evaluator",
    "EvaluatorType",
    "FeatureSource",
    "FeatureType",
    "FullSortEvalDataLoader",
    "GeneralRecommender",
    "HostConfig",
    "InputType",
    "Interaction",
    "LightGCN",
    "ModelType",
    "Sampler",
    "SequentialDataset",
    "TopkMetric",
    "Trainer",
    "cat_interactions",
    "create_samplers",
    "get_dataloader",
    "get_trainer",
    "host_datasets",
    "init_seed",
    "metric_register",
    "recbole",
]
