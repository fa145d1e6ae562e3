"""Every recommender of this project and of the tables, through the same contract."""

import pytest
from contracts import RecommenderContract


@pytest.mark.newest
class TestAlphaRec(RecommenderContract):
    model = "AlphaRec"


class TestLinear(RecommenderContract):
    model = "Linear"


class TestReweightAlphaRec(RecommenderContract):
    model = "ReweightAlphaRec"
    keys = {"fair_group": "genre"}


@pytest.mark.newest
class TestReweightMF(RecommenderContract):
    model = "ReweightMF"
    keys = {"learning_rate": 0.05, "fair_group": "genre"}


class TestBiFairAlphaRec(RecommenderContract):
    model = "BiFairAlphaRec"
    keys = {"fair_group": "genre", "outer_every": 1}


class TestBiFairAlg2AlphaRec(RecommenderContract):
    model = "BiFair-Alg2AlphaRec"
    keys = {"fair_group": "genre"}


class TestBiFairLinear(RecommenderContract):
    model = "BiFairLinear"
    keys = {"fair_group": "genre", "weights": "lp", "outer_every": 1}


class TestSeparateAlphaRec(RecommenderContract):
    model = "SeparateAlphaRec"
    keys = {"fair_group": "genre"}


class TestXSimGCL(RecommenderContract):
    model = "XSimGCL"
    keys = {"learning_rate": 0.05}


class TestMF(RecommenderContract):
    model = "MF"
    keys = {"learning_rate": 0.05}


class TestPMF(RecommenderContract):
    model = "PMF"
    keys = {"learning_rate": 0.05, "prior_weight": 0.001}


class TestFilteredPMF(RecommenderContract):
    model = "C-PMF"
    keys = {"learning_rate": 0.05, "prior_weight": 0.001, "sensitive_attribute": "gender", "adversary_weight": 0.1}
    epochs, learns = 3, False  # the toy's taste is its gender: hiding one hides the other


class TestFilteredSimpleX(RecommenderContract):
    model = "C-SimpleX"
    keys = {"learning_rate": 0.05, "sensitive_attribute": "gender", "adversary_weight": 0.1}
    epochs, learns = 3, False


class TestSelectiveSASRec(RecommenderContract):
    model = "S-SASRec"
    keys = {"learning_rate": 0.01, "sensitive_attribute": "gender", "adversary_weight": 0.1}
    epochs, learns = 2, False


class TestSelectiveBERT4Rec(RecommenderContract):
    model = "S-BERT4Rec"
    keys = {"learning_rate": 0.01, "sensitive_attribute": "gender", "adversary_weight": 0.1}
    epochs, learns = 2, False


class TestMFWithInfoNCE(RecommenderContract):
    model = "MF"
    keys = {"rec_loss": "infonce", "learning_rate": 0.05, "negatives": 8}


@pytest.mark.newest
class TestLightGCN(RecommenderContract):
    model = "LightGCN"
    keys = {"learning_rate": 0.05}


class TestLightGCNWithInfoNCE(RecommenderContract):
    model = "LightGCN"
    keys = {"rec_loss": "infonce", "learning_rate": 0.05, "negatives": 8}


class TestMultVAE(RecommenderContract):
    model = "MultVAE"
    keys = {"learning_rate": 0.01}


class TestSGL(RecommenderContract):
    model = "SGL"
    keys = {"learning_rate": 0.05}


@pytest.mark.newest
class TestSASRec(RecommenderContract):
    model = "SASRec"
    keys = {"learning_rate": 0.01}


class TestBERT4Rec(RecommenderContract):
    model = "BERT4Rec"
    epochs = 12
    reaches = 0.6  # its loss is noisy on 252 rows; twice what chance gives
    keys = {"learning_rate": 0.01, "n_layers": 1, "train_batch_size": 1024}


class TestSimpleX(RecommenderContract):
    model = "SimpleX"
    keys = {"learning_rate": 0.05}


class TestNGCF(RecommenderContract):
    model = "NGCF"
    keys = {"learning_rate": 0.05, "hidden_size_list": [16]}


class _ClosedForm(RecommenderContract):
    epochs = 1
    learns = False
    predicts_pairs = True


@pytest.mark.newest
class TestEASE(_ClosedForm):
    model = "EASE"


@pytest.mark.newest
class TestItemKNN(_ClosedForm):
    model = "ItemKNN"


class TestPop(_ClosedForm):
    model = "Pop"


class TestRandom(_ClosedForm):
    model = "Random"
