"""FGMT (Chijiwa, ICLR 2024) the straightforward way: PyTorch for gradients, matrix products for the
similarities, scipy for the assignments. Written from the formulas, without the shortcuts that `retune`
takes, as the measure of what those shortcuts are worth.

A *group* is one hidden permutation; its members say which axis of which parameter it permutes:
`{"fc1": [("fc1.weight", 0, 1), ("fc2.weight", 1, 1)]}`, the last number being how many consecutive
columns one unit owns (a channel's H x W after a flatten).
"""

import json
import resource
import time

import numpy as np
import torch
import torch.nn.functional as F
from scipy.optimize import linear_sum_assignment
from torch.func import functional_call

TOLERANCE = 1e-7
SWEEPS = 100


class Clock:
    """Seconds by phase: on the wall, and of all threads' processor time."""

    def __init__(self):
        self.wall, self.cpu = {}, {}

    def time(self, phase, work, *args):
        wall, cpu = time.perf_counter(), time.process_time()
        result = work(*args)
        self.wall[phase] = self.wall.get(phase, 0.0) + time.perf_counter() - wall
        self.cpu[phase] = self.cpu.get(phase, 0.0) + time.process_time() - cpu
        return result


def gradient(model, parameters, inputs, labels):
    """Of the mean cross-entropy, batch statistics where there are any."""
    leaves = {name: p.clone().requires_grad_() for name, p in parameters.items()}
    model.train()
    loss = F.cross_entropy(functional_call(model, leaves, (inputs,)), labels)
    return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values()))))


def permuted(tensors, groups, sigma, but=None):
    """`out[j] = in[sigma[j]]` along every axis of every group, one group left out."""
    result = dict(tensors)
    for group, members in groups.items():
        if group == but:
            continue
        for name, axis, repeat in members:
            index = torch.from_numpy(sigma[group])
            if repeat > 1:
                index = (index[:, None] * repeat + torch.arange(repeat)).flatten()
            result[name] = result[name].index_select(axis, index)
    return result


def units(tensor, axis, repeat):
    """One row a unit."""
    moved = tensor.movedim(axis, 0)
    return moved.reshape(moved.shape[0] // repeat, -1)


def similarity(pairs, groups, sigma, group):
    """A[j, i]: how well target unit j and source unit i go together, the other groups fixed."""
    total = 0
    for target, source in pairs:
        moved = permuted(source, groups, sigma, but=group)
        for name, axis, repeat in groups[group]:
            total = total + units(target[name], axis, repeat) @ units(moved[name], axis, repeat).T
    return total.numpy()


def match(pairs, groups, sigma, clock, order):
    """Coordinate descent from `sigma` until a sweep moves nothing."""
    sigma = dict(sigma)
    for _ in range(SWEEPS):
        moved = False
        for group in order.permutation(sorted(groups)):
            a = clock.time("similarity", similarity, pairs, groups, sigma, group)
            rows, best = clock.time("assignment", lambda: linear_sum_assignment(a, maximize=True))
            gain = a[rows, best].sum(dtype=np.float64) - a[rows, sigma[group]].sum(dtype=np.float64)
            if gain > TOLERANCE * np.abs(a).max(axis=1).sum(dtype=np.float64):
                sigma[group] = best
                moved = True
        if not moved:
            break
    return sigma


def fgmt(model, bases, groups, batches, clock):
    """`bases`: old base, tuned model, new base, as {name: tensor}. Linear trajectory, one batch a step."""
    old, tuned, new = bases
    steps = len(batches)
    order = np.random.default_rng(0)
    sigma = {
        group: np.arange(old[members[0][0]].shape[members[0][1]] // members[0][2]) for group, members in groups.items()
    }
    pairs = []
    for s, (inputs, labels) in enumerate(batches):
        moved = {name: (tuned[name] - old[name]) * (s / steps) for name in old}
        at_source = {name: old[name] + moved[name] for name in old}
        moved = permuted(moved, groups, sigma)
        at_target = {name: new[name] + moved[name] for name in old}
        source = clock.time("gradients", gradient, model, at_source, inputs, labels)
        target = clock.time("gradients", gradient, model, at_target, inputs, labels)
        pairs.append((target, source))
        sigma = match(pairs, groups, sigma, clock, order)
    step = permuted({name: tuned[name] - old[name] for name in old}, groups, sigma)
    return {name: new[name] + step[name] for name in old}, sigma, pairs


def report(name, clock, **more):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    wall, cpu = ({phase: round(value, 2) for phase, value in clock.items()} for clock in (clock.wall, clock.cpu))
    print(json.dumps({"case": name, "seconds": wall, "cpu_seconds": cpu, "peak_rss_mib": round(peak), **more}))
