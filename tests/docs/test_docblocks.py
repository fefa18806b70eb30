"""The tools that read the handbook: they find what is wrong with a page."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.docblocks import command_lines, shell
from support.docblocks.blocks import Block, UnknownBlock, blocks_of, kind_of
from support.docblocks.comparison import json_faults, text_faults


def blocks(folder: Path, text: str) -> list[Block]:
    """Return the blocks of a page."""
    (folder / "page.md").write_text(text)
    return blocks_of(folder / "page.md", folder)


def block(code: str, language: str = "", /, **marks: str) -> Block:
    return Block(
        "page.md", 1, language, code, {name.replace("_", " "): marks[name] for name in marks}
    )


# Blocks


def test_blocks_have_their_place_their_marks_and_no_indent(tmp_path: Path) -> None:
    """Marks are the comments just above a fence; others on the page are not."""
    page = """
<!-- a remark -->

1. text

   <!-- not run: needs a
        GPU -->
   ```sh
   rerankd devices
     indented
   ```

<!-- sends: POST /x -->
<!-- output -->

```json
{}
```
"""
    first, second = blocks(tmp_path, page)

    assert (first.place, first.language) == ("page.md:8", "sh")
    assert first.text == "rerankd devices\n  indented"
    assert first.marks == {"not run": "needs a GPU"}
    assert second.marks == {"sends": "POST /x", "output": ""}


@pytest.mark.parametrize("comment", ["<!-- not ran: x -->", "<!-- not run -->", "<!-- sends: -->"])
def test_marks_that_mean_nothing_are_errors(tmp_path: Path, comment: str) -> None:
    """A misspelt mark, or one without its reason, doesn't pass."""
    with pytest.raises(UnknownBlock, match=r"page\.md:2"):
        blocks(tmp_path, f"{comment}\n```\nrerankd ps\n```\n")


@pytest.mark.parametrize(
    ("found", "kind"),
    [
        (block("rerankd ps"), "shell"),
        (block("# a remark\nKEY=x just run ps"), "shell"),
        (block("dist/rerankd ps"), "shell"),
        (block("whatever", not_run="a reason"), "shell"),
        (block('{"a": 1}\n[2]'), "json"),
        (block("PUT /x\n{}"), "http"),
        (block("x = 1", "python"), "python"),
        (block("a\n  b", text="a tree"), "text"),
        (block('{"a": …}', output=""), "output"),
    ],
)
def test_kinds_are_told_by_mark_language_and_first_word(found: Block, kind: str) -> None:
    assert kind_of(found) == kind


@pytest.mark.parametrize("found", [block("frobnicate --all"), block("{…}"), block("x", "cobol")])
def test_a_block_that_nothing_is_known_of_is_an_error(found: Block) -> None:
    """No block goes by unchecked: it names its place and what to do."""
    with pytest.raises(UnknownBlock, match=r"page\.md:1"):
        kind_of(found)


# Commands


def test_commands_are_taken_with_all_their_lines() -> None:
    """Quotes, continued lines and here-documents belong together; comments are none."""
    text = (
        '# first\ncurl x -d \'{\n  "a": 1}\'\n\nrerankd ps \\\n  --url x   # why\necho "$(\ntrue)"'
    )

    assert shell.commands(text) == [
        "curl x -d '{\n  \"a\": 1}'",
        "rerankd ps \\\n  --url x   # why",
        'echo "$(\ntrue)"',
    ]
    with pytest.raises(ValueError, match="bash"):
        shell.commands("echo 'open")


def test_simple_commands_are_found_in_pipes_and_substitutions() -> None:
    """Each one's words, without assignments and redirections."""
    found = list(
        shell.simple_commands('A=1 cat x | rerankd rank "q (a)" > out && echo $(just run ps)')
    )

    assert found == [
        ["just", "run", "ps"],
        ["cat", "x"],
        ["rerankd", "rank", "q (a)"],
        ["echo", "$(just", "run", "ps)"],
    ]


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        ("rerankd ps", None),
        ("just run models --fits", None),
        ("curl http://127.0.0.1:8100/health | head -1", None),
        ("curl https://example.org/", "another host"),
        ("sudo rerankd ps", "system"),
        ("just serve", "installs"),
        ("just run serve --port 1", "not end"),
        ("dist/rerankd ps", "built"),
        ("A=1 pip install x", "packages"),
        ("python3 -m pip install x", "packages"),
        ("rerankd pull bge-reranker-v2-m3", "Hub"),
        ("rerankd eval x --models hf:a/b:c.gguf", "another host"),
        ("rerankd bench --pid PID", "placeholder"),
    ],
)
def test_what_is_run_is_decided_by_the_command(command: str, reason: str | None) -> None:
    """What needs another host, rights, minutes or a reader's values is not run, and says why."""
    found = shell.reason_not_to_run(command)

    assert (found is None) == (reason is None)
    assert reason is None or reason in str(found)


def test_a_command_that_nothing_is_known_of_is_an_error() -> None:
    with pytest.raises(shell.UnknownCommand, match="frobnicate"):
        shell.reason_not_to_run("rerankd ps | frobnicate")


@pytest.mark.parametrize(
    "command",
    [
        "rerankd serve --port 8080 --no-mmap --tensor-split 3,1",
        "rerankd models chinese --max-memory 1G",
        "rerankd keys create me --scope manage --scope inference",
        "just run rank 'What?' notes.txt",
        "just serve --model ~/models/mine.gguf",
        "sudo rerankd service install",
        "podman run --rm -v x:/y rerankd keys create me",
        "podman exec rerankd rerankd ps",
        "podman run -d --name rerankd -p 1:2 rerankd",
        'systemd-run --pipe "$(command -v rerankd)" keys list --state-dir /x',
        "rerankd bench --pid PID --url URL",
        "rerankd --version",
    ],
)
def test_right_commands_have_no_faults(command: str) -> None:
    assert list(command_lines.faults(command)) == []


@pytest.mark.parametrize(
    ("command", "fault"),
    [
        ("rerankd sevre", "No such command"),
        ("rerankd serve --prot 1", "--prot"),
        ("rerankd serve --port many", "many"),
        ("rerankd serve --split-mode diagonal", "diagonal"),
        ("rerankd serve --gpu-layers some", "gpu_layers"),
        ("rerankd serve extra", "extra"),
        ("rerankd service instal", "No such command"),
        ("rerankd keys create", "lacks"),
        ("rerankd bench --rounds", "argument"),
        ("just sevre", "sevre"),
        ("just run sevre", "No such command"),
        ("echo $(rerankd sevre)", "No such command"),
        ("docker exec rerankd rerankd sevre", "No such command"),
    ],
)
def test_wrong_commands_are_told(command: str, fault: str) -> None:
    """Names, options, values and what is missing are held to the program."""
    assert any(fault in one for one in command_lines.faults(command))


def test_sentences_may_leave_arguments_out() -> None:
    assert list(command_lines.faults("rerankd pull", whole=False)) == []
    assert list(command_lines.faults("rerankd pull --fast", whole=False)) != []


# Outputs


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"a": 0.97,\n "b": …}', '{"a":0.9746616,"b":[1,2]}'),
        ("1.5e-3 s", "0.00152 s"),
        ("-3.21", "-3.2149"),
        ("0.04 it is", "0.038 it is\n"),
        ("id-…\nend", "id-17\nmiddle end"),
    ],
)
def test_outputs_may_differ_in_blanks_and_a_little(shown: str, printed: str) -> None:
    assert list(text_faults(shown, printed)) == []


@pytest.mark.parametrize(
    ("shown", "printed"),
    [
        ('{"a": 0.97}', '{"a":0.5}'),
        ('{"a": 0.97}', '{"a":0.9839}'),
        ("0.97 panda", "0.98 panda"),
        ('{"n": 60}', '{"n":61}'),
        ("panda", ""),
        ("a … b", "a c"),
    ],
)
def test_other_outputs_are_told(shown: str, printed: str) -> None:
    """A score that moved, a count, a missing word: a page that shows them is stale."""
    assert list(text_faults(shown, printed)) != []


def test_answers_may_have_more_than_is_shown() -> None:
    """Keys may be left out of a page, entries of a list may not."""
    answer = {"a": [{"b": 0.5, "c": "long text"}], "d": 1}

    assert list(json_faults({"a": [{"b": 0.503, "c": "long…"}]}, answer)) == []
    for shown in ({"a": []}, {"a": [{"b": 0.52}]}, {"x": 1}, {"d": 2}, {"a": [{"c": "other…"}]}):
        assert list(json_faults(shown, answer)) != []
