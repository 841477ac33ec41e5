"""The digits table by a straightforward program: what `cargo bench --bench digits` is measured against.

    python digits.py [--seeds 24] [--widths 16 64 128] [--restarts N]

Handwritten digits, MLP 64-w-w-5 with PyTorch's default weights. Two networks learn the classes 0-4 from
different seeds and get fresh heads; the first is tuned on the classes 5-9, a quarter of which is held out
(another quarter for each seed), and that tuning is carried over to the second. SGD 0.1, momentum 0.9,
batches of 64, cosine learning rate over 40 epochs; linear trajectory, B = 256, the best step on the held-out
samples. The descent goes on from the last permutation; with `--restarts` the best objective of that and of
N descents from random permutations counts.
"""

import argparse
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from fgmt import Clock, gradient, match, permuted
from safetensors.torch import load_file
from torch import nn
from torch.func import functional_call

DIGITS = pathlib.Path(__file__).parents[2] / "tests/fixtures/digits/digits.safetensors"
GROUPS = {
    "first": [("0.weight", 0, 1), ("0.bias", 0, 1), ("2.weight", 1, 1)],
    "second": [("2.weight", 0, 1), ("2.bias", 0, 1), ("4.weight", 1, 1)],
}
HEAD = "4."
STEPS, BATCH, EPOCHS = 10, 256, 40


def network(width, seed):
    torch.manual_seed(seed)
    layers = nn.Linear(64, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU(), nn.Linear(width, 5)
    return nn.Sequential(*layers)


def parameters(model):
    return {name: value.detach().clone() for name, value in model.named_parameters()}


def trained(model, start, data, seed):
    """SGD from `start`."""
    model.load_state_dict(start)
    (inputs, labels), order = data, torch.Generator().manual_seed(seed)
    steps = EPOCHS * -(-len(inputs) // 64)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for batch in torch.randperm(len(inputs), generator=order).split(64):
            optimizer.zero_grad()
            F.cross_entropy(model(inputs[batch]), labels[batch]).backward()
            optimizer.step()
            schedule.step()
    return parameters(model)


def digits(classes):
    file = load_file(DIGITS)
    wanted = torch.isin(file["labels"], torch.tensor(classes))
    return file["inputs"][wanted].float().flatten(1) / 16, file["labels"][wanted] - classes[0]


class Case:
    """Two bases and the tunings of both."""

    def __init__(self, width, seed):
        self.model, self.seed, self.order = network(width, seed), seed, np.random.default_rng(seed)
        inputs, labels = digits([5, 6, 7, 8, 9])
        held, rest = np.split(self.order.permutation(len(inputs)), [len(inputs) // 4])
        self.train, self.held = (inputs[rest], labels[rest]), (inputs[held], labels[held])
        bases = []
        for which in (1, 2):
            fresh = parameters(network(width, 100 * seed + which))
            base = trained(self.model, fresh, digits([0, 1, 2, 3, 4]), 100 * seed + which)
            head = parameters(network(width, 100 * seed + 10 + which))
            bases.append({name: head[name] if name.startswith(HEAD) else base[name] for name in base})
        self.old, self.new = bases
        self.tuned = trained(self.model, self.old, self.train, 100 * seed + 3)
        self.new_tuned = trained(self.model, self.new, self.train, 100 * seed + 4)
        self.identity = {group: np.arange(width) for group in GROUPS}

    def accuracy(self, model):
        with torch.no_grad():
            found = functional_call(self.model, model, (self.held[0],)).argmax(1)
        return float((found == self.held[1]).float().mean())

    def carried(self, sigma, share):
        step = permuted({name: share * (self.tuned[name] - self.old[name]) for name in self.old}, GROUPS, sigma)
        return {name: self.new[name] + step[name] for name in self.new}

    def solved(self, pairs, sigma, restarts):
        starts = [sigma] + [{g: self.order.permutation(s) for g, s in sigma.items()} for _ in range(restarts)]
        found = [match(pairs, GROUPS, start, Clock(), self.order) for start in starts]
        return max(found, key=lambda sigma: objective(pairs, sigma))

    def pair(self, t, steps, sigma):
        """The gradients at the t-th point, on one batch."""
        batch = self.order.permutation(len(self.train[0]))[:BATCH]
        inputs, labels = self.train[0][batch], self.train[1][batch]
        share = (t - 1) / steps
        source = {name: self.old[name] + share * (self.tuned[name] - self.old[name]) for name in self.old}
        return (
            gradient(self.model, self.carried(sigma, share), inputs, labels),
            gradient(self.model, source, inputs, labels),
        )

    def fixed(self, sigma, steps=STEPS):
        return max(self.accuracy(self.carried(sigma, s / steps)) for s in range(1, steps + 1))

    def matched(self, restarts, steps=STEPS, redraw=False, accumulate=True, freeze=None):
        """GMT where pairs are drawn anew at every step, FGMT where they last."""
        sigma, pairs, best = self.identity, [], 0.0
        for s in range(1, steps + 1):
            if redraw or not accumulate:
                pairs = []
            pairs += [self.pair(t, steps, sigma) for t in range(1 if redraw else s, s + 1)]
            if freeze is None or s <= freeze:
                sigma = self.solved(pairs, sigma, restarts)
            best = max(best, self.accuracy(self.carried(sigma, s / steps)))
        return best

    def measured(self, ablations, restarts):
        def difference(a, b):
            return {name: a[name] - b[name] for name in a}

        tunings = difference(self.new_tuned, self.new), difference(self.tuned, self.old)
        rows = {
            "source": self.accuracy(self.tuned),
            "target before": self.accuracy(self.new),
            "identity": self.fixed(self.identity),
            "weight_matching": self.fixed(self.solved([(self.new, self.old)], self.identity, restarts)),
            "gmt": self.matched(restarts, redraw=True),
            "fgmt": self.matched(restarts),
            "oracle": self.fixed(self.solved([tunings], self.identity, restarts)),
        }
        if ablations:
            rows["fgmt, T = 1"] = self.matched(restarts, steps=1)
            rows["fgmt, T = 3"] = self.matched(restarts, steps=3)
            rows["π frozen after s = 1"] = self.matched(restarts, freeze=1)
            rows["no accumulation"] = self.matched(restarts, accumulate=False)
        return rows


def objective(pairs, sigma):
    return sum(
        float((target[name].double() * value).sum())
        for target, source in pairs
        for name, value in permuted(source, GROUPS, sigma).items()
    )


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=24)
    parser.add_argument("--widths", type=int, nargs="+", default=[16, 64, 128])
    parser.add_argument("--restarts", type=int, default=0)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    print("| width | method | mean | standard error of three seeds' mean |\n|---|---|---|---|")
    for width in chosen.widths:
        cases = [Case(width, seed).measured(width == 128, chosen.restarts) for seed in range(chosen.seeds)]
        for method in cases[0]:
            values = 100 * np.array([case[method] for case in cases])
            error = values.std(ddof=1) / 3**0.5 if len(values) > 1 else float("nan")
            print(f"| {width} | {method} | {values.mean():.1f} | {error:.1f} |", flush=True)


if __name__ == "__main__":
    main()
