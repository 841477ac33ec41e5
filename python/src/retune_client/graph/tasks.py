"""What a model may be for: its output, and its loss and measure on labels that are drawn at random."""

import torch
import torch.nn.functional as F

OF_TOKENS = "logits [B, S, K] of ids [B, S]"
# By task, the axes of the output, and what it has to be in words.
OUTPUTS = {
    "classification": (2, "one vector of logits a sample"),
    "multi_label_classification": (2, "one vector of logits a sample"),
    "regression": (2, "one vector of values a sample, [B, K]"),
    "next_token": (3, OF_TOKENS),
    "masked_token": (3, OF_TOKENS),
    "token_classification": (3, OF_TOKENS),
    "question_answering": (3, "logits [B, S, 2] of ids [B, S]"),
}


def judged(task, logits, generator):
    """Labels as a data set has them, the loss, the measure, and how many predictions it is of."""
    if task == "regression":
        labels = logits + 0.5 * torch.randn(logits.shape, generator=generator)
        error = (logits - labels).square().mean().item()
        spread = (labels - labels.mean(0)).square().mean().item()
        return labels, error, 1 - error / spread, len(labels)
    if task == "multi_label_classification":
        labels = torch.randint(2, logits.shape, generator=generator)
        loss = F.binary_cross_entropy_with_logits(logits, labels.float()).item()
        return labels, loss, ((logits > 0) == labels).all(1).float().mean().item(), len(labels)
    if task == "question_answering":
        labels = torch.randint(logits.shape[1], (len(logits), 2), generator=generator)
        loss = F.cross_entropy(logits, labels).item()
        return labels, loss, (logits.argmax(1) == labels).all(1).float().mean().item(), len(labels)
    labels = drawn = torch.randint(logits.shape[-1], logits.shape[:-1], generator=generator)
    if task == "next_token":  # A label is predicted from the token before it.
        logits, drawn = logits[:, :-1], labels[:, 1:]
    logits, drawn = logits.reshape(-1, logits.shape[-1]), drawn.flatten()
    right = (logits.argmax(-1) == drawn).float().mean().item()
    return labels, F.cross_entropy(logits, drawn).item(), right, len(drawn)
