"""`rerankd bench`: one reproducible workload against one or two running servers, in turn."""

import click


@click.command()
def bench() -> None:
    """TODO"""
