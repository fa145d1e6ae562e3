"""A run is handed on: its card states what result.json states, and only files of the list travel."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import pytest
from huggingface_hub import ModelCard, constants

from recbole_fair import cli
from recbole_fair.errors import UsageError
from recbole_fair.handover.card import card
from recbole_fair.handover.upload import push
from recbole_fair.rundir.result import Result
from recbole_fair.screen import short

Run = Callable[..., Any]
TRAVEL = {"README.md", "model.safetensors", "model.json", "run.json", "config.yaml", "result.json", "groups.csv",
          "history.csv"}  # fmt: skip


class Hub(ThreadingHTTPServer):
    """The four questions that the hub's client asks of a push, and what was said to them."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, bytes] = {}
        self.asked: list[str] = []
        self.tokens: set[str | None] = set()
        self.created: dict[str, Any] = {}
        self.refused: dict[str, tuple[int, str]] = {}  # by the end of a path
        self.private = True

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"

    def commit(self, body: bytes) -> dict[str, Any]:
        for line in map(json.loads, body.decode().splitlines()):
            if line["key"] == "file":
                self.files[line["value"]["path"]] = base64.b64decode(line["value"]["content"])
        return {"success": True, "commitOid": "0" * 40, "commitUrl": f"{self.url}/someone/fair/commit/{'0' * 40}"}


class Answer(BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self._say({"id": "someone/fair", "private": self.server.private, "siblings": []})

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        self.server.asked.append(self.path)
        self.server.tokens.add(self.headers["authorization"])
        for end, (status, message) in self.server.refused.items():
            if self.path.endswith(end):
                self._say({"error": message}, status)
                return
        if self.path.endswith("/repos/create"):
            self.server.created = json.loads(body)
            self._say({"url": f"{self.server.url}/someone/fair"})
        elif self.path.endswith("/validate-yaml"):
            self._say({"errors": [], "warnings": []})
        elif "/preupload/" in self.path:
            names = [file["path"] for file in json.loads(body)["files"]]
            self._say({"files": [{"path": name, "uploadMode": "regular", "shouldIgnore": False} for name in names]})
        else:
            self._say(self.server.commit(body))

    def _say(self, value: dict[str, Any], status: int = 200) -> None:
        content = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        return


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    server = Hub()
    Thread(target=server.serve_forever, daemon=True).start()
    monkeypatch.setattr(constants, "ENDPOINT", server.url)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setenv("HF_TOKEN", "hf_of_a_test")
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    yield server
    server.shutdown()
    server.server_close()


@pytest.fixture
def made(run_toy: Run) -> Result:
    return run_toy("MF", epochs=1, save_recommendations=True, bootstrap=50)  # type: ignore[no-any-return]


# --- the card


def test_a_card_states_what_the_result_states(made: Result, capsys: pytest.CaptureFixture[str]) -> None:
    folder = Path(made.run_dir)
    assert cli.main(["card", made.run_dir]) == 0
    assert capsys.readouterr().out == f"{folder / 'README.md'}\n"
    stored = json.loads((folder / "result.json").read_text())
    read = ModelCard.load(folder / "README.md")
    stated = {one.metric_type: one.metric_value for one in read.data.eval_results or []}
    assert stated == {key: value for key, value in stored["test"].items() if value is not None}
    cells = [line.split(" | ") for line in read.text.splitlines() if line.startswith("| ")]
    shown = {row[0].removeprefix("| ").replace("\\", ""): row for row in cells}
    for key, value in stored["test"].items():
        if "@5" in key:
            assert shown[key][2] == short(value)
            low, high = stored["interval"][key]
            assert shown[key][3] == f"{short(low)} to {short(high)}"
    women = next(row for row in stored["groups"] if row["group"] == "F")
    assert shown["F"][1:4] == [str(women["size"]), str(women["users"]), short(women["ndcg@5"])]
    for fact in (stored["config_hash"], str(stored["seed"]), stored["data"]["fingerprint"], stored["data"]["split"]):
        assert fact in read.text
    for warning in stored["warnings"]:
        assert warning.partition(":")[0].partition("@")[0] in read.text
    assert "was not measured" in read.text


def test_a_card_says_what_user_states_give_away_only_where_it_was_measured(made: Result) -> None:
    assert "give away about them was not measured" in card(made).text
    made.test["attr_auc[gender]"] = 0.6
    assert "give away about them" not in card(made).text


def test_names_are_no_markup_of_a_card(made: Result) -> None:
    made.dataset, made.warnings = "<script>|*x*", ["a <b>"]
    text = card(made).text
    assert "<script>" not in text and "<b>" not in text
    assert ModelCard(card(made).content).data.eval_results[0].dataset_name == "<script>|*x*"  # type: ignore[index]


def test_a_card_of_a_collapsed_run_says_so_and_a_failed_one_has_none(made: Result) -> None:
    made.status, made.error = "collapsed", "collapsed: every item has the same score"
    assert "**The run ended collapsed: " in card(made).text
    made.status, made.error = "failed", "epoch 0: the training loss is nan"
    with pytest.raises(UsageError, match="the run failed"):
        card(made)


def test_a_card_goes_where_it_is_told(made: Result, tmp_path: Path) -> None:
    assert cli.main(["card", made.run_dir, f"--out={tmp_path / 'mine.md'}"]) == 0
    assert (tmp_path / "mine.md").read_text().startswith("---\n")
    assert not (Path(made.run_dir) / "README.md").exists()
    assert cli.main(["card"]) == cli.main(["card", made.run_dir, "--repo=a/b"]) == 2


# --- the hub


def test_only_files_of_the_list_travel(made: Result, hub: Hub) -> None:
    folder = Path(made.run_dir)
    for name in ("model.pkl", "pytorch_model.bin", "notes.txt", "evil.py"):
        (folder / name).write_bytes(b"x")
    before = sorted(path.name for path in folder.iterdir())
    assert push(folder, "someone/fair", private=True).startswith(f"{hub.url}/someone/fair/commit/")
    assert hub.files.keys() == TRAVEL
    assert hub.files["model.safetensors"] == (folder / "model.safetensors").read_bytes()
    assert hub.created["visibility"] == "private" and hub.created["name"] == "fair"
    assert hub.tokens == {"Bearer hf_of_a_test"}
    assert sum("/commit/" in path for path in hub.asked) == 1, "all together"
    assert sorted(path.name for path in folder.iterdir()) == before, "nothing is written beside the run"
    sent = b"".join(hub.files.values())
    assert str(folder).encode() not in sent and b"uF1" not in sent, "neither a path of this machine nor a user's id"


def test_what_travelled_is_read_as_a_run(made: Result, hub: Hub, tmp_path: Path) -> None:
    push(Path(made.run_dir), "someone/fair")
    for name, content in hub.files.items():
        (tmp_path / name).write_bytes(content)
    assert Result.read(tmp_path).test == made.test


def test_an_edited_card_travels_and_one_with_other_figures_is_refused(made: Result, hub: Hub) -> None:
    path = Path(made.run_dir) / "README.md"
    path.write_text(str(card(made)) + "\nAsk Ann before use.\n")
    push(Path(made.run_dir), "someone/fair")
    assert hub.files["README.md"].endswith(b"Ask Ann before use.\n")
    path.write_text(path.read_text().replace(f"value: {made.test['ndcg@5']}", "value: 0.99"))
    with pytest.raises(UsageError, match=r"README\.md: states other figures than result\.json; write it anew"):
        push(Path(made.run_dir), "someone/fair")
    path.write_text("no metadata\n")
    with pytest.raises(UsageError, match="states other figures"):
        push(Path(made.run_dir), "someone/fair")


@pytest.mark.parametrize(("end", "status"), [("/repos/create", 400), ("/commit/main", 413), ("/preupload/main", 401)])
def test_a_hub_that_refuses_is_a_sentence(end: str, status: int, made: Result, hub: Hub) -> None:
    hub.refused[end] = (status, "you may not")
    with pytest.raises(UsageError, match=rf"the hub refuses someone/fair \({status}: .*; name a repository of yours"):
        push(Path(made.run_dir), "someone/fair")
    assert not hub.files


def test_a_private_run_is_not_put_into_a_public_repository(made: Result, hub: Hub) -> None:
    hub.private = False
    with pytest.raises(UsageError, match="someone/fair exists and is public"):
        push(Path(made.run_dir), "someone/fair", private=True)
    assert not hub.files


def test_without_a_token_or_a_hub_nothing_is_tried(
    made: Result, hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UsageError, match="cannot be reached; connect, unset HF_HUB_OFFLINE"):
        push(Path(made.run_dir), "someone/fair")
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.delenv("HUGGING_FACE_HUB_TOKEN", raising=False)
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "none"))
    with pytest.raises(UsageError, match="no token of the hub; run `hf auth login`"):
        push(Path(made.run_dir), "someone/fair")
    assert not hub.asked


@pytest.mark.parametrize("repo", ["fair", "a/b/c", "a/../b", "a b/c", ""])
def test_a_name_that_is_none_is_refused(repo: str, made: Result, capsys: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["push", made.run_dir, f"--repo={repo}"]) == 2
    assert "OWNER/NAME" in capsys.readouterr().err


def test_a_folder_without_weights_is_refused(made: Result, hub: Hub) -> None:
    (Path(made.run_dir) / "model.safetensors").unlink()
    with pytest.raises(UsageError, match=r"holds no model\.safetensors of a finished run"):
        push(Path(made.run_dir), "someone/fair")
    assert not hub.asked


def test_the_command_pushes_to_the_hub_that_the_environment_names(made: Result, hub: Hub) -> None:
    named = {"HF_ENDPOINT": hub.url, "HF_HUB_OFFLINE": "0", "HF_TOKEN": "hf_other", "NO_PROXY": "127.0.0.1"}
    command = [sys.executable, "-m", "recbole_fair", "push", made.run_dir, "--repo=someone/fair"]
    ended = subprocess.run(command, env={**os.environ, **named}, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.startswith(f"{hub.url}/someone/fair/commit/")
    assert hub.files.keys() == TRAVEL
