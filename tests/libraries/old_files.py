"""Tensors as files of older versions, or of other hands, have them."""

import torch


def gamma_and_beta(state):
    """How the oldest files call a norm's parameters."""
    pairs = ((".LayerNorm.weight", ".LayerNorm.gamma"), (".LayerNorm.bias", ".LayerNorm.beta"))
    renamed = {}
    for name, tensor in state.items():
        for now, then in pairs:
            name = name.replace(now, then)
        renamed[name] = tensor
    return renamed


def with_positions(prefix):
    def change(state):
        rows = next(tensor for name, tensor in state.items() if name.endswith("position_embeddings.weight")).shape[0]
        return state | {f"{prefix}.embeddings.position_ids": torch.arange(rows)[None]}

    return change


def with_masks(state):
    """GPT-2's causal masks, once saved in every layer."""
    masks = {}
    for name in state:
        if name.endswith("attn.c_attn.weight"):
            place = name.removesuffix("c_attn.weight")
            masks[place + "bias"] = torch.ones(16, 16, dtype=torch.bool).tril()[None, None]
            masks[place + "masked_bias"] = torch.tensor(-10000.0)
    return state | masks


def with_frequencies(state):
    """Llama's rotary frequencies, once saved in every layer."""
    layers = [name for name in state if name.endswith("self_attn.q_proj.weight")]
    return state | {name.replace("q_proj.weight", "rotary_emb.inv_freq"): torch.ones(2) for name in layers}


def mixed(state):
    """Norms and biases in f32, matrices in bf16, as mixed-precision training leaves them."""
    return {name: tensor.bfloat16() if tensor.ndim > 1 else tensor for name, tensor in state.items()}


def embedding(state):
    return next(tensor for name, tensor in state.items() if name.endswith(("wte.weight", "embed_tokens.weight")))


def without_head(state):
    return {name: tensor for name, tensor in state.items() if name != "lm_head.weight"}


def with_copied_head(state):
    return {"lm_head.weight": embedding(state).clone()} | state


def with_another_head(state):
    return state | {"lm_head.weight": embedding(state).flip(0).contiguous()}


EVERY = {"norms in f32, matrices in bf16": mixed}
DECODER = EVERY | {"rotary frequencies in the file": with_frequencies}
BY_FAMILY = {
    "bert": EVERY | {"gamma and beta": gamma_and_beta, "position_ids in the file": with_positions("bert")},
    "roberta": EVERY | {"position_ids in the file": with_positions("roberta")},
    "distilbert": EVERY | {"position_ids in the file": with_positions("distilbert")},
    "gpt2": EVERY | {"masks in the file": with_masks},
    "llama": DECODER,
    "mistral": DECODER,
    "qwen2": DECODER,
}
OF_LANGUAGE = {
    "no lm_head in the file": without_head,
    "a copy of the embedding as lm_head": with_copied_head,
    "another lm_head in the file": with_another_head,
}
