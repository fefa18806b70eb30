"""Jina's first rerankers: BERT with ALiBi and gated feed-forward layers, and BERT's head.

llama.cpp has a place for the classifier alone, not for the pooler before it, so rerankd computes
the head.
"""

from __future__ import annotations

from gguf import MODEL_ARCH

from rerankd.conversion.bert import LEFT_OUT, TOKEN_TABLE, TYPE_TABLE, network_keys
from rerankd.conversion.checkpoint import Checkpoint
from rerankd.conversion.heads import Head, present, require_one_label
from rerankd.conversion.plan import Plan, network_tensors
from rerankd.conversion.vocabulary import read_vocabulary
from rerankd.errors import ModelFileError
from rerankd.families.own_head import HeadLayer, OwnHead

LAYERS = (HeadLayer("dense", "pooler"), HeadLayer("tanh"), HeadLayer("dense", "classifier"))
SOURCES = {"pooler": "bert.pooler.dense", "classifier": "classifier"}


def plan_jina_bert(checkpoint: Checkpoint) -> Plan:
    """Plan a `JinaBertForSequenceClassification`, by whichever class its config.json names."""
    config = checkpoint.config
    made_so = (config.get("position_embedding_type"), config.get("feed_forward_type"))
    if made_so != ("alibi", "geglu"):
        raise ModelFileError(
            f"{checkpoint.folder}: its positions and feed-forward layers are {made_so}; llama.cpp"
            " computes JinaBERT with alibi and geglu"
        )
    if "classifier.weight" not in checkpoint.names():
        raise ModelFileError(f"{checkpoint.folder}: an encoder without a score head")
    require_one_label(checkpoint, "classifier.weight")
    network, layers = MODEL_ARCH.JINA_BERT_V2, checkpoint.count("num_hidden_layers")
    tensors = network_tensors(
        checkpoint,
        network,
        layers,
        prefixes=("bert.",),
        ignored=LEFT_OUT,
        # Its tokenizer is RoBERTa's, which tells queries and documents by no types.
        rows={TYPE_TABLE: slice(0, 1)},
    )
    rows = next(one.shape[0] for one in tensors if one.name == TOKEN_TABLE)
    parts = {
        f"{name}.{kind}": f"{source}.{kind}"
        for name, source in SOURCES.items()
        for kind in ("weight", "bias")
    }
    head = Head(OwnHead("first", LAYERS), present(checkpoint, parts))
    return Plan(
        network=network,
        keys=network_keys(checkpoint)
        | {"context_length": checkpoint.count("max_position_embeddings")},
        vocabulary=read_vocabulary(checkpoint, rows, pre="jina-v1-en"),
        token_types=1,
        tensors=tensors,
        head=head.own,
        numbers=head.others(()),
    )
