"""`rerankd rank`: rank the documents of files or standard input, with or without a server."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import click

from rerankd.cli import options, output
from rerankd.cli.help import HelpPage, option_under
from rerankd.cli.rank_input import STDIN, InputDocument, InputFormat, read_documents
from rerankd.cli.rank_output import ranked_lines, show_ranking
from rerankd.cli.rank_pictures import content_of, picture_named
from rerankd.cli.rank_records import RankedFields
from rerankd.cli.rank_scoring import Places, ScoredText, score_at_server, score_here
from rerankd.domain import Content, Overflow, RankRequest, Truncation
from rerankd.errors import InvalidRequest
from rerankd.settings import Settings
from rerankd.settings.listing import settings_by_name

input_option, output_option = option_under("Input"), option_under("Output")
server_option, long_option = option_under("Server"), option_under("Long documents")

TEXT_FIELD = "text"


class RankCommand(HelpPage):
    """Turns `rank --ray` into `ray rank`, which takes pairs and no query."""

    def make_context(
        self,
        info_name: str | None,
        args: list[str],
        parent: click.Context | None = None,
        **given: Any,
    ) -> click.Context:
        if "--ray" not in args:
            return super().make_context(info_name, args, parent, **given)
        pairs: click.Command = importlib.import_module("rerankd.cli.ray").rank_pairs_command
        left = [one for one in args if one != "--ray"]
        return pairs.make_context(f"{info_name} --ray", left, parent, **given)


@click.command(
    "rank",
    cls=RankCommand,
    examples=(
        "rerankd rank 'what is a panda?' notes.txt",
        "grep -rh panda docs | rerankd rank 'what is a panda?' --top-n 5",
        "rerankd rank 'refund policy' faq.csv --text-field answer --json",
        "rerankd rank 'a cat on a sofa' photos/*.jpg page.png notes.txt",
        "rerankd rank '' products.jsonl --query-image shoe.jpg",
        "rerankd rank 'what is a panda?' hits.jsonl --url http://127.0.0.1:8100",
        "rerankd rank 'when was it built?' book.jsonl --overflow chunk --passages",
    ),
)
@click.argument("query")
@click.argument(
    "files", nargs=-1, type=click.Path(exists=True, dir_okay=False, allow_dash=True, path_type=str)
)
@click.option("--instruction", help="what counts as relevant, for models that take one")
@click.option(
    "--ray",
    is_flag=True,
    expose_value=False,
    help="rank files of pairs on a Ray cluster instead; see rerankd rank --ray --help",
)
@input_option(
    "--format",
    "form",
    type=click.Choice(get_args(InputFormat)),
    default="auto",
    show_default=True,
    help="format of the input; auto: by the file's ending, else by its first line; text: a file is"
    " one document, as it is beside pictures",
)
@input_option(
    "--text-field",
    default=TEXT_FIELD,
    show_default=True,
    help="field or column to rank by; the others are kept in the output",
)
@input_option(
    "--image-field",
    metavar="NAME",
    help="field or column with a picture: a path relative to the file, a data: URI or, where the"
    " field is named here, an https: address; default: image; '' for none",
)
@input_option(
    "--query-image",
    metavar="PICTURE",
    help="a picture as query, beside QUERY or, where that is '', alone: a path, a data: URI or an"
    " https: address",
)
@output_option(
    "--top-n", type=click.IntRange(min=0), default=0, help="how many results to print; 0: all"
)
@output_option("--raw-scores", is_flag=True, help="print logits instead of scores from 0 to 1")
@output_option("--passages", is_flag=True, help="print the parts that a score comes from")
@output_option("--json", "as_json", is_flag=True, help="print JSON even in a terminal")
@long_option(
    "--overflow",
    type=click.Choice(get_args(Overflow)),
    help="cut a document that is too long, score it in chunks, or refuse it",
)
@long_option("--chunk-tokens", type=click.IntRange(min=1), help="most tokens of a chunk")
@server_option(
    "--url", type=options.HTTP_ADDRESS, help="rank at this server; no model is loaded here"
)
@server_option("--api-key", envvar="RERANKD_API_KEY", help="for --url [env: RERANKD_API_KEY]")
@options.with_settings(options.MODEL_OPTIONS)
@click.option("--log-level", default="warning", help="debug, info, warning or error")
def rank_command(  # noqa: PLR0913 - one parameter an option
    query: str,
    files: Sequence[str],
    instruction: str | None,
    form: InputFormat,
    text_field: str,
    image_field: str | None,
    query_image: str | None,
    top_n: int,
    raw_scores: bool,
    passages: bool,
    as_json: bool,
    overflow: Overflow | None,
    chunk_tokens: int | None,
    url: str | None,
    api_key: str | None,
    config_file: Path | None,
    **flags: Any,
) -> None:
    """Rank the documents in FILES (default: standard input) for QUERY.

    FILES have one document per line, or are JSONL, JSON, CSV or TSV with a header, or Parquet where
    the extra `ray` is installed. Pictures (PNG, JPEG, WebP, GIF) are documents too, for models that
    see; beside them, a text file is one document. Fields other than the text are kept in the
    output. Prints a table in a terminal and JSONL into a pipe.
    """
    asked = _query_of(query, query_image)
    settings = _settings_of_model(url, config_file, flags)
    documents = _documents_of(files, form, RankedFields(text_field, image_field))
    request = RankRequest(
        query=asked,
        documents=tuple(one.content for one in documents),
        model=flags["model"] if url else None,
        instruction=instruction,
        raw_scores=raw_scores,
        truncation=Truncation(overflow=overflow, chunk_tokens=chunk_tokens),
        return_passages=passages,
    )
    places = Places(query_image or "", [one.place for one in documents])
    scores = _rank_scores(settings, (url or "", api_key), request, places)
    rows = ranked_lines(documents, scores, top_n=top_n)
    output.print_results(
        (one.fields for one in rows), lambda console: show_ranking(rows, console), as_json=as_json
    )


def _query_of(query: str, image: str | None) -> Content:
    """Return the query: a text, a picture, or both. Raises InvalidRequest or UsageError."""
    if image is None:
        if not query.strip():
            raise InvalidRequest("the query is empty", param="query")
        return query
    if query and Path(query).is_file():
        raise click.UsageError(
            f"QUERY comes before FILES, and {query} is a file: give '' to ask by the picture alone"
        )
    return content_of(query, picture_named(image, Path(), "--query-image"))


def _documents_of(
    files: Sequence[str], form: InputFormat, fields: RankedFields
) -> list[InputDocument]:
    """Return the documents of all files, after a line on what was skipped."""
    if not files and sys.stdin.isatty():
        output.print_note("reading documents, one per line; end with Ctrl-D")
    read = read_documents(files or (STDIN,), form, fields)
    if read.skipped:
        output.print_note(f"skipped {read.skipped}")
    return read.documents


def _rank_scores(
    settings: Settings | None, server: tuple[str, str | None], request: RankRequest, places: Places
) -> list[ScoredText]:
    """Return the documents' scores: of a model that is loaded here, else of a server's."""
    if settings:
        return score_here(settings, request, places)
    return score_at_server(*server, request, places)


def _settings_of_model(
    url: str | None, config_file: Path | None, flags: dict[str, Any]
) -> Settings | None:
    """Return the settings of the model to load, None where a server has loaded one already.

    Raises UsageError for options that the server would ignore.
    """
    if url is None:
        return options.load(config_file, flags).settings
    own = {"model", "log_level"}
    given = [name for name, value in flags.items() if value is not None and name not in own]
    if given:
        names = ", ".join(settings_by_name()[name].flag for name in given)
        raise click.UsageError(f"{names} can't be used with --url: the server has its own settings")
    return None
