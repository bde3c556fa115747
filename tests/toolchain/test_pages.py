"""Pages, JUnit and Markdown show a name as it is, whatever it holds."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from report_samples import blamed, ci_run, outcome, shrunk, weighed

from benchmarks.measure.templates import SPELLED, environment, legible
from benchmarks.studies.peers import plots
from toolchain.report import (
    blame_page,
    blame_table,
    ci_files,
    ci_markdown,
    ci_page,
    ci_text,
    parity_files,
    parity_page,
    parity_table,
    shrink_page,
    size_page,
    size_table,
    terminal,
)
from toolchain.report.junit import JUnitCase, junit
from toolchain.report.render import render

PAGES: dict[str, Callable[[str], str]] = {
    "parity": lambda name: parity_page.page([outcome(name)]),
    "blame": lambda name: blame_page.page([blamed(name)]),
    "ci": lambda name: ci_page.page(ci_run(name)),
    "shrink": lambda name: shrink_page.page(shrunk(name)),
    "size": lambda name: size_page.page(weighed(name)),
    "plot": lambda name: plots.dots(name, [name], {"onnx2tf": {name: 2.0}}),
}
JUNITS: dict[str, Callable[[str], str]] = {
    "parity": lambda name: parity_files.xml([outcome(name)]),
    "ci": lambda name: ci_files.xml(ci_run(name)),
}
HOSTILE = {
    "a script": "<script>alert(1)</script>",
    "an attribute": '"><img src=x onerror=alert(1)>',
    "quotes": "a'b\"c&d&amp;",
    "a comment": "--><!-- ]]>",
    "control characters": "a\x00b\x1b[31mc\x07\x85",
    "lines": "a\nb\r\nc\td",
    "half a pair": "a\ud800b",
    "turned and unseen": "gpj.\u202eexe\u2066\u200b\u2028::error::\U000e0041",
    "no character": "a\uffffb",
    "a template": "{{ 7 * 7 }}{% raw %}$title",
    "Markdown": "[a](http://b) ![c](http://d) | `e` **f** <br>",
}
hostile = pytest.mark.parametrize("name", HOSTILE.values(), ids=HOSTILE)


class Elements(HTMLParser):
    """The elements of a page with the names of their attributes, and what it says."""

    def __init__(self, page: str) -> None:
        super().__init__(convert_charrefs=True)
        self.elements: list[tuple[str, ...]] = []
        self.said = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, *(name for name, _ in attrs)))

    def handle_data(self, data: str) -> None:
        self.said += data

    def handle_comment(self, data: str) -> None:
        self.elements.append(("comment",))


def plain(text: str) -> str:
    return " ".join(text.split())


@hostile
@pytest.mark.parametrize("kind", PAGES)
def test_a_page_is_the_same_with_any_name(kind: str, name: str) -> None:
    usual, page = PAGES[kind]("portrait"), PAGES[kind](name)
    assert Elements(page).elements == Elements(usual).elements
    assert plain(legible(name)) in plain(Elements(page).said)
    assert SPELLED.search(page) is None
    page.encode("utf-8")


def test_a_page_that_does_not_escape_is_not_the_same() -> None:
    def careless(name: str) -> str:
        return f'<p title="{name}">{name}</p>'

    usual = Elements(careless("portrait")).elements
    assert Elements(careless(HOSTILE["a script"])).elements != usual
    assert Elements(careless(HOSTILE["an attribute"])).elements != usual


@hostile
@pytest.mark.parametrize("kind", JUNITS)
def test_junit_is_valid_and_holds_the_name(kind: str, name: str) -> None:
    text = JUNITS[kind](name)
    usual = ElementTree.fromstring(JUNITS[kind]("portrait").encode("utf-8"))
    root = ElementTree.fromstring(text.encode("utf-8"))
    assert [e.tag for e in root.iter()] == [e.tag for e in usual.iter()]
    assert root[0].get("name") == f"{legible(name)}-ios"


SHOWN: dict[str, Callable[[str], None]] = {
    "parity": lambda name: terminal.show(parity_table.parity_table([outcome(name)])),
    "blame": lambda name: blame_table.show([blamed(name)], 5),
    "ci": lambda name: terminal.show(ci_text.terminal_table(ci_run(name))),
    "size": lambda name: size_table.show([*weighed(name)]),
}


@pytest.mark.parametrize("name", ["[/a]", "[red]a[/red]", ":cat:", "a[0]"])
@pytest.mark.parametrize("kind", SHOWN)
def test_a_terminal_takes_no_name_for_a_style(
    kind: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    SHOWN[kind](name)
    assert name in capsys.readouterr().out


@hostile
def test_markdown_has_the_same_lines_and_cells(name: str) -> None:
    def bars(text: str) -> list[int]:
        return [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]

    text = ci_markdown.markdown(ci_run(name))
    assert bars(text) == bars(ci_markdown.markdown(ci_run("portrait")))
    outside = re.sub(r"`[^`\n]*`", "", text.replace(r"\`", ""))
    assert set(re.findall("<[^>]*>", outside)) <= {
        "<details>",
        "</details>",
        "<summary>",
        "</summary>",
        "<sub>",
        "</sub>",
    }
    assert not re.search(r"(?<!\\)\[", outside)


@hostile
def test_a_workflow_command_is_one_line(name: str) -> None:
    commands = list(ci_text.workflow_commands(ci_run(name)))
    assert commands
    assert all(line.startswith("::") and len(line.split("\n")) == 1 for line in commands)
    assert not any(SPELLED.search(line) for line in commands)


def test_control_characters_are_spelled_and_letters_are_kept() -> None:
    assert legible("a\x1b\x00é日\U0001f600\t\n") == "a\\x1b\\x00é日\U0001f600\t\n"


def test_what_turns_a_text_or_is_not_seen_is_spelled_and_what_words_need_is_kept() -> None:
    assert legible("gpj.\u202eexe") == "gpj.\\u202eexe"
    assert legible("a\U000e0041\ufeff\u2028") == "a\\U000e0041\\ufeff\\u2028"
    words = "می\u200cخواهم क\u094d\u200dष שלום \U0001f468\u200d\U0001f469 葛\U000e0100 \u2026"
    assert legible(words) == words


def test_junit_counts_its_cases() -> None:
    cases = [
        JUnitCase("a", "b", "failed", "why"),
        JUnitCase("a", "c", "skipped", "why not"),
        JUnitCase("a", "d", "passed", "a warning"),
        JUnitCase("a", "e", "passed"),
    ]
    (suite,) = ElementTree.fromstring(junit("t", {"s": cases}).encode())
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("4", "1", "1")
    assert [[e.tag for e in case] for case in suite] == [
        ["failure"],
        ["skipped"],
        ["system-out"],
        [],
    ]


def test_a_value_that_a_template_misses_is_an_error() -> None:
    from jinja2 import UndefinedError

    with pytest.raises(UndefinedError, match="title"):
        render("parity.html.j2")


def test_every_value_of_a_template_is_escaped(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("{{ x }} {{ [x, x] | join('<') }} {{ 1.26 | px }}")
    made = environment(tmp_path).get_template("a.txt").render(x="<\x07>")
    assert made == "&lt;\\x07&gt; &lt;\\x07&gt;&lt;&lt;\\x07&gt; 1.3"


def test_jinja_is_loaded_where_a_page_is_made() -> None:
    code = (
        "import sys\n"
        "from toolchain.report import parity_page, size_page, ci_page\n"
        "print('jinja2' in sys.modules)"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert shown.stdout.strip() == "False", shown.stderr
