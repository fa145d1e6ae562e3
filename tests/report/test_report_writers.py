"""CSV, Markdown, LaTeX: what they hold, and that a name is never markup."""

from __future__ import annotations

import csv
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from report_planted import plant

from recbole_fair.cli import main
from recbole_fair.errors import UsageError
from recbole_fair.report.assemble import Options, assemble
from recbole_fair.report.write import write
from recbole_fair.report.writers.escape import in_html, in_latex, in_markdown, in_sheet, plain
from recbole_fair.report.writers.latex import latex
from recbole_fair.report.writers.markdown import markdown

HOSTILE = r'<script>alert(1)</script>|*b*_i_`c`[l](javascript:x)\end{table}$x^2$ ~&%#{} "q"' + "\x00\u202e\n=x"


def test_every_file_is_there(written: Path) -> None:
    names = {path.relative_to(written).as_posix() for path in written.rglob("*") if path.is_file()}
    assert {
        "index.html",
        "results.csv",
        "results.md",
        "results.tex",
        "figures/plane-1.svg",
        "figures/costs.svg",
    } <= names
    assert {
        "figures/groups-1.svg",
        "figures/validation.svg",
        "figures/experts-1.svg",
        "figures/epochs-1-1.svg",
    } <= names


def test_the_sheet_has_a_row_a_run_at_full_precision(written: Path, tree: Path) -> None:
    with (written / "results.csv").open(newline="") as stream:
        rows = {row["run"]: row for row in csv.DictReader(stream)}
    assert set(rows) == {path.name for path in tree.iterdir()}
    result = json.loads((tree / "MF-s2/result.json").read_text())
    for key, value in result["test"].items():
        assert float(rows["MF-s2"][f"test {key}"]) == value
    assert rows["MF-s2"]["data fingerprint"] == result["data"]["fingerprint"]
    assert rows["Wild-s1"]["status"] == "failed"
    assert rows["Wild-s1"]["error"] == "loss is nan in epoch 2"
    assert rows["Wild-s1"]["test recall@5"] == ""


def test_markdown_has_the_marks_the_failures_and_the_verdicts(written: Path) -> None:
    text = (written / "results.md").read_text()
    lines = {line.split("|")[1].strip(): line for line in text.splitlines() if line.startswith("| ")}
    assert re.search(r"\*\*0\.\d{4}\*\* ± 0\.\d{4}", text)
    assert "<ins>0." in text
    assert lines["Wild"].count("\u2013") == 4
    assert "- Wild: seed 1 failed: loss is nan in epoch 2" in text
    assert "| worse |" in text
    assert "no difference shown (would have seen 0." in text
    widths = {line.count(" | ") for line in text.split("## planted")[1].split("\n\n")[1].splitlines()}
    assert len(widths) == 1


def test_markdown_folds_the_tests_and_says_first_what_they_show(written: Path) -> None:
    text = (written / "results.md").read_text()
    before, _, folded = text.partition("### Against BiFairMF")[2].partition("<details>")
    assert "- Worse than BiFairMF: MF in recall@5, cv@5\\[pop\\]" in before
    inside = folded.partition("</details>")[0]
    assert re.match(r"\n<summary>6 tests: \d worse, \d no difference shown, 3 without a verdict</summary>\n\n", inside)
    assert "| worse |" in inside and "| worse |" not in before
    assert "Not tested:" in inside
    assert text.count("<details>") == text.count("</details>") == 2


def test_a_reason_and_a_remark_stand_once_with_all_that_they_hold_for(tmp_path: Path) -> None:
    for name in ("MF", "Pop", "Odd"):
        odd = {"test": {"recall@5": 0.3}} if name == "Odd" else {}
        plant(tmp_path / name, name, warnings=["times are equal"], **odd)
    report = assemble([tmp_path], Options(metrics=("recall@5", "cv@5[pop]", "gap_recall@5[gender]"), reference="MF"))
    text = markdown(report)
    assert text.count("times are equal") == 1
    assert "- all rows: times are equal" in text
    assert "- Odd: cv@5\\[pop\\], gap\\_recall@5\\[gender\\]: not measured" in text
    assert "Odd in cv@5[pop], gap_recall@5[gender]: undefined or not measured" in report.blocks[0].untested


def test_every_figure_is_there_for_print_and_for_slides(written: Path) -> None:
    names = {path.stem for path in (written / "figures").glob("*.svg")}
    for suffix, sign in (("pdf", b"%PDF-"), ("png", b"\x89PNG")):
        files = list((written / "figures").glob(f"*.{suffix}"))
        assert {path.stem for path in files} == names
        assert all(path.read_bytes().startswith(sign) for path in files)
    assert not any(b"/Type3" in path.read_bytes() for path in (written / "figures").glob("*.pdf"))


def test_latex_has_the_papers_layout(written: Path) -> None:
    text = (written / "results.tex").read_text()
    for part in ("\\toprule", "\\midrule", "\\bottomrule", "\\textbf{0.", "\\underline{0.", "$\\pm$", "$\\downarrow$"):
        assert part in text
    assert "Planted \\textless{}runs\\textgreater{} \\& 50 \\%" in text
    rows = [line for line in text.splitlines() if line.endswith("\\\\")]
    assert {line.count(" & ") for line in rows} == {4}


@pytest.fixture
def hostile(tmp_path: Path) -> Path:
    root = tmp_path / "runs"
    for seed in (1, 2):
        told = {"config_hash": "h", "warnings": [HOSTILE], "strategy": HOSTILE}
        plant(root / f"a{seed}", HOSTILE, seed, config={"model": "no control characters here"}, **told)
    plant(
        root / "_under",
        "_Under",
        groups=[{"kind": "user", "field": HOSTILE, "group": HOSTILE, "size": 9, "users": 9, "recall@5": 0.3}],
    )
    plant(root / "b", "=cmd()", status="failed", error=HOSTILE, test={}, data={})
    return root


def test_hostile_names_are_text_everywhere(hostile: Path, tmp_path: Path) -> None:
    write([hostile], tmp_path / "out", Options(title=HOSTILE, metrics=("recall@5", "cv@5[pop]")))
    page = (tmp_path / "out/index.html").read_text()
    assert page.count("<script>") == 1
    assert "&lt;script&gt;alert(1)" in page
    for name in ("results.md", "results.tex", "index.html", "results.csv"):
        text = (tmp_path / "out" / name).read_text()
        assert "\x00" not in text
        assert "\u202e" not in text
    source = (tmp_path / "out/results.tex").read_text()
    assert source.count("\\end{table}") == 1
    assert "<script" not in (tmp_path / "out/results.md").read_text()
    with (tmp_path / "out/results.csv").open(newline="") as stream:
        assert "'=cmd()" in {row["model"] for row in csv.DictReader(stream)}


@pytest.mark.skipif(shutil.which("pdflatex") is None, reason="pdflatex is not installed")
def test_latex_compiles_with_hostile_names(hostile: Path, written: Path, tmp_path: Path) -> None:
    report = assemble([hostile], Options(title=HOSTILE, metrics=("recall@5",)))
    (tmp_path / "hostile.tex").write_text(latex(report).replace("\ufffd", "?"))
    shutil.copy(written / "results.tex", tmp_path)
    head = "\\documentclass{article}\\usepackage{booktabs}\\begin{document}"
    (tmp_path / "main.tex").write_text(f"{head}\\input{{results.tex}}\\input{{hostile.tex}}\\end{{document}}")
    command = ["pdflatex", "-interaction=nonstopmode", "-halt-on-error", "-no-shell-escape", "main.tex"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, timeout=120, check=False)
    assert done.returncode == 0, done.stdout.decode(errors="replace")[-1500:]
    assert (tmp_path / "main.pdf").stat().st_size > 1000


@pytest.mark.parametrize(
    ("escape", "text", "expected"),
    [
        (in_html, "<a b='c'>&", "&lt;a b=&#x27;c&#x27;&gt;&amp;"),
        (in_latex, r"\x_{1}^2~&%$#", r"\textbackslash{}x\_\{1\}\textasciicircum{}2\textasciitilde{}\&\%\$\#"),
        (in_markdown, "a|b<i>[x](y)", r"a\|b&lt;i\>\[x\](y)"),
        (in_sheet, "@SUM(A1)", "'@SUM(A1)"),
        (in_sheet, "\t=1", "'=1"),
        (in_sheet, "LightGCN", "LightGCN"),
        (plain, "a\ud800b\u202ec\x07\ufffe\n d", "a\ufffdb\ufffdc\ufffd\ufffd d"),
    ],
)
def test_escapes(escape: object, text: str, expected: str) -> None:
    assert escape(text) == expected  # type: ignore[operator]


def test_the_same_runs_give_the_same_bytes(tree: Path, written: Path, tmp_path: Path) -> None:
    options = Options(title="Planted <runs> & 50 %", metrics=("recall@5", "cv@5[pop]", "gap_recall@5[gender]"))
    paths = write([tree], tmp_path / "again", options)
    for path in paths:
        assert path.read_bytes() == (written / path.relative_to(tmp_path / "again")).read_bytes(), path.name


def test_mixed_tables_stand_apart_in_every_format(tmp_path: Path) -> None:
    plant(tmp_path / "a", "MF")
    plant(tmp_path / "b", "MF", dataset="other")
    report = assemble([tmp_path], Options(metrics=("recall@5",)))
    assert latex(report).count("\\begin{table}") == 2
    assert len(re.findall(r"^## ", markdown(report), flags=re.M)) == 2


def test_command_writes_and_names_its_files(tree: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert (
        main(["report", str(tree), f"--out={out}", "--metrics=Recall@5,cv@5[pop]", "--title=A: b".replace(": ", " ")])
        == 0
    )
    assert (out / "index.html").exists()
    shown = capsys.readouterr()
    assert str(out / "index.html") in shown.out
    assert "figures, each as SVG, PDF and PNG" in shown.out
    assert re.search(r"^reading the users of \S+ \(0 of \d done\)$", shown.err, re.M)
    assert main(["report", str(tree), f"--out={out}", "--metrics=recall@5", "--quiet"]) == 0
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--out=x"], "name run directories"),
        (["."], "--out=FOLDER"),
        ([".", "--out=x", "--metrics=[1, '']"], "metric keys with commas"),
        ([".", "--out=x", "--title=[a]"], "plain text is needed"),
        ([".", "--out=x", "--models=MF,,Pop"], "names with commas"),
        ([".", "--out=x", "--metric=a"], "does not take --metric"),
        (["nowhere", "--out=x"], "nowhere: no such directory"),
    ],
)
def test_command_refuses(
    words: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["report", *words]) == 2
    assert told in capsys.readouterr().err


def test_out_must_be_a_folder(tree: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("")
    with pytest.raises(UsageError, match="is a file"):
        write([tree], tmp_path / "out", Options())


def test_one_data_set_is_chosen_on_the_command_line(tmp_path: Path) -> None:
    plant(tmp_path / "runs/a", "MF")
    plant(tmp_path / "runs/b", "Pop", dataset="other")
    command = ["report", str(tmp_path / "runs"), f"--out={tmp_path / 'out'}", "--metrics=recall@5"]
    assert main([*command, "--datasets=other"]) == 0
    assert "Pop" in (tmp_path / "out/results.md").read_text()
    assert "MF" not in (tmp_path / "out/results.md").read_text()


def test_a_report_loads_neither_torch_nor_recbole(tree: Path, tmp_path: Path) -> None:
    script = (
        "import sys; from recbole_fair.cli import main;"
        f"main(['report', {str(tree)!r}, '--out={tmp_path}', '--metrics=recall@5,cv@5[pop]']);"
        "print(sorted({'torch', 'recbole', 'transformers', 'ray'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"


@pytest.mark.parametrize("cell", ["\uff1d1+1", "\uff0b1", "\uff20sum", "-1"])
def test_wide_signs_begin_no_formula(cell: str) -> None:
    assert in_sheet(cell) == f"'{cell}"


def test_a_semicolon_begins_no_formula() -> None:
    assert in_sheet("a;=1+1") == "a;'=1+1"


@pytest.mark.parametrize("name", ["[2cm] x", "* x", "a[b]*"])
def test_brackets_and_stars_of_names_are_no_arguments_of_a_row(name: str) -> None:
    assert in_latex(name) == name.replace("[", "{[}").replace("*", "{*}")
