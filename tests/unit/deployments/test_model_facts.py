"""What is said of a model that is loaded."""

from __future__ import annotations

import asyncio

import pytest

from rerankd.deployments.runtime import model_facts
from rerankd.families.prompt_format import PictureFormat
from rerankd.families.qwen3_vl import QWEN3_VL

from support.serving import FakeEngine, service_of


@pytest.mark.parametrize(
    ("pictures", "expected"), [(None, ("text",)), (QWEN3_VL.pictures, ("text", "image"))]
)
def test_a_model_reads_pictures_where_its_engine_does(
    pictures: PictureFormat | None, expected: tuple[str, ...]
) -> None:
    """A family that sees is not enough: its file may lack the projector, or llama.cpp the part."""

    async def found() -> tuple[str, ...]:
        service = service_of(start=False)
        await service.start()
        engine = FakeEngine()
        engine.pictures = pictures
        async with service.deployments.use(None) as runtime:
            facts = model_facts(runtime.target, engine, takes_instruction=False)
        await service.close()
        return facts.input_modalities

    assert asyncio.run(found()) == expected
