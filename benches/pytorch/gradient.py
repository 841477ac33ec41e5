"""The same gradients by PyTorch: python gradient.py [mlp|resnet18|bert|vit|llama] [threads]"""
import resource
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

name = sys.argv[1] if len(sys.argv) > 1 else "resnet18"
torch.set_num_threads(int(sys.argv[2]) if len(sys.argv) > 2 else 2)
torch.manual_seed(0)
repeats = 5 if name in ("mlp", "resnet18") else 3


def mlp():
    return nn.Sequential(nn.Linear(784, 4096), nn.ReLU(), nn.Linear(4096, 10)), torch.rand(128, 784)


def resnet18():
    import timm

    model = timm.create_model("resnet18", num_classes=10)
    model.conv1, model.maxpool = nn.Conv2d(3, 64, 3, padding=1, bias=False), nn.Identity()
    return model, torch.rand(128, 3, 32, 32)


def bert():
    from transformers import BertConfig, BertForSequenceClassification

    # Training noise is no part of a transfer.
    config = BertConfig(num_labels=10, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0)
    return BertForSequenceClassification(config), torch.randint(30522, (4, 128))


def vit():
    import timm

    return timm.create_model("vit_base_patch16_224", num_classes=10), torch.rand(4, 3, 224, 224)


def llama():
    from transformers import LlamaConfig, LlamaForCausalLM

    config = LlamaConfig(hidden_size=640, intermediate_size=1728, num_hidden_layers=13, num_attention_heads=10,
                         num_key_value_heads=5, vocab_size=32000, max_position_embeddings=256,
                         rms_norm_eps=1e-5, use_cache=False)
    return LlamaForCausalLM(config), torch.randint(32000, (2, 256))


model, x = globals()[name]()
rows = x.shape[0] * (x.shape[1] if name == "llama" else 1)
y = torch.randint(10, (rows,))


def logits():
    out = model(x)
    out = getattr(out, "logits", out)
    return out.reshape(rows, -1)


def forward():
    with torch.no_grad():
        logits()


def gradient():
    model.zero_grad()
    F.cross_entropy(logits(), y).backward()


for what, run in [("forward", forward), ("gradient", gradient)]:
    model.train(what == "gradient")
    run()
    start, cpu = time.perf_counter(), time.process_time()
    for _ in range(repeats):
        run()
    wall, cpu = (time.perf_counter() - start) / repeats, (time.process_time() - cpu) / repeats
    print(f"{name}: {what} {wall:.3f} s, {cpu:.3f} CPU s (mean of {repeats})")
print(f"{name}: peak {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024} MB")
