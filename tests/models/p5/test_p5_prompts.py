from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy.sparse import csr_matrix

from recbole_fair.errors import UsageError
from recbole_fair.models.p5.indexing import Names, WholeWordEmbedding, Words, interaction_vectors, sequential_numbers
from recbole_fair.models.p5.prompts import Prompter, Template, collate, read_templates, user_mean
from recbole_fair.models.p5.ranking import Trie

UNKNOWN, END = 0, 1


def letters(word: str) -> list[int]:
    """A token a letter."""
    return [2 + ord(letter) for letter in word if ord(letter) < 128] or [UNKNOWN]


def prompter(longest: int = 400, most_history: int = 20, **names: str) -> Prompter:
    numbers = sequential_numbers([[3, 1], [1, 4]], items=200)
    words = Words(letters, unknown=UNKNOWN, end=[END])
    return Prompter(words, Names(numbers, **names), longest=longest, most_history=most_history, end=[END])


def text(prompt: object) -> str:
    """Back to words."""
    by_word: dict[int, str] = {}
    for token, word in zip(prompt.tokens, prompt.words, strict=True):
        by_word[word] = by_word.get(word, "") + ("$" if token == END else chr(token - 2))
    assert list(by_word) == list(range(len(by_word)))
    return " ".join(by_word.values())


SEQUENTIAL = Template("sequential", ("{user}", "saw", "{history}", ".", "Next", "for", "{user}", "?"))
DIRECT = Template("direct", ("{user}", "of", "{candidates}", "?"))


def test_a_filled_prompt_reads_as_the_template_says_and_knows_its_words() -> None:
    prompt = prompter().sequential(SEQUENTIAL, 12, [3, 1, 4])
    assert text(prompt) == "user_12 saw 1001 , 1002 , 1003 . Next for user_12 ? $"
    marked = "".join(chr(token - 2) for token, is_user in zip(prompt.tokens, prompt.user, strict=True) if is_user)
    assert marked == "user_12user_12"


def test_names_may_be_one_token_each() -> None:
    one = prompter(users="token", items="token")
    assert text(one.sequential(SEQUENTIAL, 2, [3])) == "<user_2> saw <item_1001> . Next for <user_2> ? $"
    names = Names(sequential_numbers([], items=3), users="token", items="token")
    assert names.new_tokens(users=3) == ["<user_1>", "<user_2>", "<item_1001>", "<item_1002>"]
    assert Names(sequential_numbers([], items=3)).new_tokens(users=3) == []


def test_a_history_keeps_its_latest_items() -> None:
    assert text(prompter(most_history=2).sequential(SEQUENTIAL, 1, [4, 3, 1])).startswith("user_1 saw 1001 , 1002 .")
    whole = prompter().sequential(SEQUENTIAL, 1, [4, 3, 1])
    short = prompter(longest=len(whole.tokens) - 1).sequential(SEQUENTIAL, 1, [4, 3, 1])
    assert text(short).startswith("user_1 saw 1001 , 1002 .")
    with pytest.raises(UsageError, match="without any history has more than 5 tokens"):
        prompter(longest=5).sequential(SEQUENTIAL, 1, [3])


def test_candidates_come_in_an_order_of_the_user_that_hides_their_own() -> None:
    one, items = prompter(longest=2000), list(range(1, 60))
    asked = one.direct(DIRECT, 1, items, seed=7)
    assert asked == one.direct(DIRECT, 1, items, seed=7)
    assert asked != one.direct(DIRECT, 2, items, seed=7)
    assert asked != one.direct(DIRECT, 1, items, seed=8)
    listed = [word for word in text(asked).split() if word.isdigit()]
    assert sorted(listed) == sorted(one.names.item(item) for item in items)
    assert listed != [one.names.item(item) for item in items]


def test_candidates_that_do_not_fit_are_refused_with_how_many_do() -> None:
    items = list(range(1, 60))
    with pytest.raises(UsageError, match=r"59 candidates .* hold 18 of them") as refusal:
        prompter(longest=100).direct(DIRECT, 1, items, seed=7)
    assert "max_length" in str(refusal.value)
    assert prompter(longest=100).direct(DIRECT, 1, items[:18], seed=7)
    with pytest.raises(UsageError):
        prompter(longest=100).direct(DIRECT, 1, items[:19], seed=7)


def test_more_words_than_have_an_embedding_are_refused() -> None:
    with pytest.raises(UsageError, match="candidates"):
        prompter(longest=10**6).direct(DIRECT, 1, [item % 199 + 1 for item in range(300)], seed=1)


def test_a_word_without_tokens_is_refused() -> None:
    words = Words(letters, unknown=UNKNOWN)
    with pytest.raises(UsageError, match="'ø' has no tokens"):
        words.tokens("ø")


def test_all_shipped_templates_are_read_several_of_each_kind() -> None:
    for name in ("p5-movies", "p5-insurance", "p5-items"):
        templates = read_templates(name)
        assert set(templates) == {"direct", "sequential"}
        assert all(len(several) >= 3 for several in templates.values())
        for template in templates["sequential"]:
            assert "user_5" in text(prompter().sequential(template, 5, [3])).split()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("direct: ['{user} of {candidates}?']", "between spaces"),
        ("direct: ['{user} of what']", "needs candidates, user"),
        ("sequential: ['{user} {history} {candidates}']", "needs history, user"),
        ("sequential: ['{history} only']", "needs history, user"),
        ("sequential: []", "list of templates"),
        ("sequential: '{user} {history}'", "list of templates"),
        ("sideways: ['x']", "sideways"),
        ("", "nothing"),
    ],
)
def test_templates_that_say_too_little_are_refused(content: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "own.yaml").write_text(content)
    with pytest.raises(UsageError, match=message):
        read_templates(str(tmp_path / "own.yaml"))


def test_a_batch_is_padded_on_the_right_and_its_user_state_is_a_mean() -> None:
    one = prompter()
    prompts = [one.sequential(SEQUENTIAL, 12, [3, 1, 4]), one.sequential(SEQUENTIAL, 3, [])]
    batch = collate(prompts, pad=0).to("cpu")
    assert batch.mask.sum(1).tolist() == [len(prompt.tokens) for prompt in prompts]
    assert (batch.tokens[batch.mask == 0] == 0).all()
    states = torch.randn(*batch.tokens.shape, 4)
    expected = torch.stack([states[1, place] for place, is_user in enumerate(prompts[1].user) if is_user]).mean(0)
    torch.testing.assert_close(user_mean(states, batch.user)[1], expected)
    assert WholeWordEmbedding(4)(batch.words).shape == states.shape


def test_every_item_has_a_path_in_the_trie() -> None:
    one = prompter()
    sequences = one.words.items(one.names)
    assert sequences[0] == () and sequences[3] == (*letters("1001"), END) == one.target(3)
    assert len(Trie(sequences, 0)) == 1 + 1 + 2 + 20 + 199  # 1, 10 and 11, 100..119, the numbers before their end


def test_vectors_of_interactions_are_the_truncated_svd() -> None:
    rng = np.random.default_rng(0)
    matrix = csr_matrix((rng.random((30, 20)) < 0.3).astype(float))
    users, items = interaction_vectors(matrix, 5)
    left, sizes, right = np.linalg.svd(matrix.toarray())
    best = (left[:, :5] * sizes[:5]) @ right[:5]
    product = (users @ items.T).numpy()
    np.testing.assert_allclose(product / np.linalg.norm(product), best / np.linalg.norm(best), atol=1e-5)
    np.testing.assert_allclose((users[1:].std(unbiased=False), items[1:].std(unbiased=False)), 1, atol=1e-5)
    again = interaction_vectors(matrix, 5, scale=0.1)
    torch.testing.assert_close(again[1] * 10, items)
    assert (interaction_vectors(matrix, 25)[1][:, 19:] == 0).all()  # arpack finds one fewer than the smaller side
    with pytest.raises(UsageError, match="no training interactions"):
        interaction_vectors(csr_matrix((30, 20)), 5)
