"""rerank-mini-multi, the embedded model for many languages: its file, and ranking with it."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner
from litestar.testing import TestClient

from rerankd.cli import main
from rerankd.engine.backends.embedding import key_of
from rerankd.engine.llama.binding import LlamaModel, LoadOptions
from rerankd.families.late_interaction import late_prefixes
from rerankd.service import build
from rerankd.settings import Settings
from rerankd.sources import catalog
from rerankd.sources import gguf as gguf_file

from support import forward_pass
from support.serving import client_of, rerank
from support.tiny_models import opened

MODEL = "rerank-mini-multi"
PANDA = {
    "ar": (
        "ما هو الباندا؟",
        "مرحبا",
        "إنه دب",
        "الباندا العملاقة، وتسمى أحيانا دب الباندا أو الباندا، نوع من الدببة مستوطن في الصين.",
    ),
    "de": (
        "Was ist ein Panda?",
        "hallo",
        "es ist ein Bär",
        "Der Große Panda, auch Pandabär oder einfach Panda genannt, ist eine Bärenart aus China.",
    ),
    "en": (
        "What is a panda?",
        "hi",
        "it is a bear",
        "The giant panda, sometimes called simply panda, is a bear species endemic to China.",
    ),
    "es": (
        "¿Qué es un panda?",
        "hola",
        "es un oso",
        "El panda gigante, o simplemente panda, es una especie de oso endémica de China.",
    ),
    "fr": (
        "Qu'est-ce qu'un panda ?",
        "salut",
        "c'est un ours",
        "Le panda géant, ou simplement panda, est une espèce d'ours endémique de la Chine.",
    ),
    "hi": (
        "पांडा क्या है?",
        "नमस्ते",
        "यह एक भालू है",
        "विशाल पांडा, जिसे कभी-कभी केवल पांडा कहा जाता है, चीन में पाई जाने वाली भालू की एक प्रजाति है।",
    ),
    "ja": (
        "パンダとは何ですか？",
        "こんにちは",
        "それはクマです",
        "ジャイアントパンダは、単にパンダとも呼ばれる、中国固有のクマの一種です。",
    ),
    "ru": (
        "Что такое панда?",
        "привет",
        "это медведь",
        "Большая панда, или просто панда, — вид медведей, обитающий только в Китае.",
    ),
    "th": (
        "แพนด้าคืออะไร",
        "สวัสดี",
        "มันคือหมี",
        "แพนด้ายักษ์ หรือที่เรียกสั้น ๆ ว่าแพนด้า เป็นหมีชนิดหนึ่งที่มีถิ่นกำเนิดในประเทศจีน",
    ),
    "zh": (
        "什么是熊猫？",
        "你好",
        "它是一种熊",
        "大熊猫，有时简称熊猫，是中国特有的一种熊科动物。",
    ),
}
"""The README's example: a question, a greeting, something near and the answer."""


def weights() -> Path:
    manifest = catalog.find(MODEL)
    assert manifest is not None
    return catalog.weights_path(manifest)


@pytest.fixture(scope="module")
def client() -> Iterator[TestClient[Any]]:
    """Yield a client of a server as `just serve` starts it: with the embedded models alone."""
    # The first request waits until the second model is loaded, however slow the machine is.
    service = build(Settings(load_wait=600), match_language=True)
    asyncio.run(service.start())
    with client_of(service) as found:
        yield found


@pytest.fixture(scope="module")
def vocabulary() -> Iterator[LlamaModel]:
    model = LlamaModel(weights(), LoadOptions())
    yield model
    model.close()


@pytest.mark.parametrize("language", PANDA)
def test_the_panda_question_is_answered_in_ten_languages(
    client: TestClient[Any], language: str
) -> None:
    """Without naming a model: the answer comes first, what is near it second, the greeting last."""
    question, *documents = PANDA[language]
    answer = rerank(client, query=question, documents=documents).json()
    assert [one["index"] for one in answer["results"]] == [2, 1, 0]
    assert answer["model"] == ("rerank-mini-en" if language == "en" else MODEL)
    assert answer["meta"]["warnings"] == []


def test_the_command_ranks_with_it(tmp_path: Path) -> None:
    """Named, it ranks as the API does."""
    question, *documents = PANDA["zh"]
    (tmp_path / "a.txt").write_text("\n".join(documents) + "\n", "utf-8")
    done = CliRunner().invoke(main, ["rank", "--model", MODEL, question, str(tmp_path / "a.txt")])
    assert done.exit_code == 0, done.output
    found = [json.loads(line)["text"] for line in done.stdout.splitlines()]
    assert found == documents[::-1]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("What is a panda?", [4865, 83, 10, 6, 85407, 32]),
        ("大熊猫是中国特有的一种熊。", [54553, 41473, 35076, 90021, 2657, 465, 89435, 41473, 30]),
        ("ما هو الباندا؟", [877, 1638, 81972, 13874, 1245]),
        ("แพนด้าคืออะไร", [6, 57467, 2030, 133143, 164180]),
        ("विशाल पांडा", [169163, 8761, 82379]),
        ("cafe\u0301 cafè", [26216, 242824]),
        ("Ｐａｎｄａ\u3000①", [89308, 106]),
        ("\u0db8\u0dca\u200d\u0dcf  x ", [6, 4490, 6, 2876, 1022]),
        ("<s> </s>", [4426, 7, 2740, 6, 42946, 7, 2740]),
        ("\U0001f9ff\U00013000", [6, 3]),
    ],
)
def test_texts_become_the_ids_of_xlm_r(vocabulary: LlamaModel, text: str, ids: list[int]) -> None:
    """Accents are joined, wide letters and joiners normalised, what is unknown is one token.

    The ids are those of the package that the weights come from, where it joins accents too.
    """
    assert vocabulary.tokenize(text).tolist() == ids


def test_texts_begin_with_what_the_model_was_trained_on(vocabulary: LlamaModel) -> None:
    """A prefix apart from its text gives the ids that both give together."""
    prefixes = late_prefixes(gguf_file.read(weights()))
    assert (prefixes.query, prefixes.document) == ("query: ", "passage: ")
    apart = [vocabulary.tokenize(one) for one in (prefixes.query, "panda")]
    together = vocabulary.tokenize("query: panda")
    assert np.concatenate(apart).tolist() == together.tolist()


@pytest.mark.parametrize(
    "row",
    [[0, 41, 1294, 12, 4865, 83, 10, 6, 32, 2], [0, 41, 1294, 12, 877, 1638, 1245, 2]],
)
def test_vectors_are_those_of_a_forward_pass_in_numpy(row: list[int]) -> None:
    """The mean vector by the engine is that of the file's numbers, within 8 bits' noise."""
    path = weights()
    ids = np.array(row, dtype=np.int32)
    expected = forward_pass.bert_states(forward_pass.Weights(path, rows=5000), ids).mean(0)
    with opened(path) as engine:
        (vectors,) = engine.backends[0]._vectors({key_of(ids): ids}).values()  # type: ignore[attr-defined]
    mean = np.frombuffer(vectors, np.float16, len(expected)).astype(np.float64)
    cosine = mean @ expected / np.linalg.norm(mean) / np.linalg.norm(expected)
    assert cosine > 0.9998
