"""What `options.update` writes is an adapter that peft loads on the new base and merges, for every family.

    python adapters_written.py path/to/retune

Each case makes two bases and a tuned model with transformers, has `retune transfer` write the update at full
rank, and compares the logits of the new base under that adapter, before and after `merge_and_unload`, with those
of the model that was published.
"""

import json
import pathlib
import subprocess
import sys
import tempfile
import warnings

import peft
import torch
import transformers as t

TOLERANCE = 1e-4
COMMON = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "vocab_size": 40,
    "max_position_embeddings": 16, "num_labels": 3, "pad_token_id": 1, "bos_token_id": None, "eos_token_id": None,
}
GROUPED = COMMON | {"num_key_value_heads": 2}
GPT2 = {
    "n_embd": 16, "n_layer": 2, "n_head": 4, "vocab_size": 40, "n_positions": 16, "num_labels": 3, "pad_token_id": 1,
    "bos_token_id": None, "eos_token_id": None,
}
DISTILBERT = {
    "dim": 16, "n_layers": 2, "n_heads": 4, "hidden_dim": 24, "vocab_size": 40, "num_labels": 3, "pad_token_id": 1,
    "max_position_embeddings": 16,
}
VIT = {
    "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 24, "image_size": 8,
    "patch_size": 4, "num_labels": 3,
}
# The class of the tuned model, and of the bases where they lack its head.
CASES = {
    "bert": (t.BertForSequenceClassification, t.BertConfig(**COMMON)),
    "bert, a new head": (t.BertForSequenceClassification, t.BertConfig(**COMMON), t.BertModel),
    "roberta": (t.RobertaForSequenceClassification, t.RobertaConfig(**COMMON)),
    "roberta, a new head": (t.RobertaForSequenceClassification, t.RobertaConfig(**COMMON), t.RobertaForMaskedLM),
    "distilbert": (t.DistilBertForSequenceClassification, t.DistilBertConfig(**DISTILBERT)),
    "gpt2": (t.GPT2LMHeadModel, t.GPT2Config(**GPT2)),
    "gpt2 for classes": (t.GPT2ForSequenceClassification, t.GPT2Config(**GPT2)),
    "llama": (t.LlamaForCausalLM, t.LlamaConfig(**GROUPED, tie_word_embeddings=False)),
    "llama, tied": (t.LlamaForCausalLM, t.LlamaConfig(**GROUPED, tie_word_embeddings=True)),
    "llama for classes": (t.LlamaForSequenceClassification, t.LlamaConfig(**GROUPED), t.LlamaForCausalLM),
    "mistral": (t.MistralForCausalLM, t.MistralConfig(**GROUPED)),
    "qwen2": (t.Qwen2ForCausalLM, t.Qwen2Config(**GROUPED)),
    "qwen2 for classes": (t.Qwen2ForSequenceClassification, t.Qwen2Config(**GROUPED)),
    "vit": (t.ViTForImageClassification, t.ViTConfig(**VIT)),
    "vit, a new head": (t.ViTForImageClassification, t.ViTConfig(**VIT), t.ViTModel),
}


def moved(model, scale):
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(scale * torch.randn_like(parameter))
    return model


def logits(model, inputs):
    with torch.no_grad():
        return model.eval()(**inputs).logits


def transfer(program, folder):
    spec = {
        "source": {"base": str(folder / "old"), "trajectory": str(folder / "tuned")},
        "target": {"base": str(folder / "new")},
        "methods": ["identity"],
        "options": {"alpha": 1.0, "update": {"format": "lora", "rank": 24}},
        "output": str(folder / "out"),
    }
    (folder / "spec.json").write_text(json.dumps(spec))
    command = [program, "transfer", "--json", str(folder / "spec.json")]
    ran = subprocess.run(command, capture_output=True, text=True, check=False)
    if ran.returncode:
        raise RuntimeError(ran.stderr + ran.stdout)
    [result] = (folder / "out").iterdir()
    return result


def models(folder, cls, config, bases=None):
    of_base = bases or cls
    body = moved(of_base(config), 0.2)
    body.save_pretrained(folder / "old")
    moved(of_base.from_pretrained(folder / "old"), 0.02).save_pretrained(folder / "new")
    moved(cls.from_pretrained(folder / "old"), 0.05).save_pretrained(folder / "tuned")


def inputs(config):
    if config.model_type == "vit":
        return {"pixel_values": torch.randn(4, 3, 8, 8)}
    return {"input_ids": torch.randint(2, 40, (4, 7))}


def difference(program, cls, config, bases=None):
    """The largest difference of logits: under the adapter, and once it is merged."""
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        models(folder, cls, config, bases)
        result, values = transfer(program, folder), inputs(config)
        wanted = logits(cls.from_pretrained(result), values)
        adapted = peft.PeftModel.from_pretrained(cls.from_pretrained(folder / "new"), result / "adapter")
        under = (logits(adapted, values) - wanted).abs().max().item()
        merged = (logits(adapted.merge_and_unload(), values) - wanted).abs().max().item()
        return under, merged


def main(program):
    """Prints one line a case, and fails on the first that differs."""
    warnings.filterwarnings("ignore")
    t.logging.set_verbosity_error()
    t.logging.disable_progress_bar()
    torch.manual_seed(0)
    for name, case in CASES.items():
        under, merged = difference(program, *case)
        print(f"{name}: logits differ by {under:.1e} under the adapter, by {merged:.1e} merged", flush=True)
        assert max(under, merged) < TOLERANCE, name


if __name__ == "__main__":
    main(sys.argv[1])
