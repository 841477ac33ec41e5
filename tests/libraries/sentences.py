"""Token data: sentences that are padded in every way that people have, and their files."""

from dataclasses import dataclass, field, replace

import torch
from safetensors.torch import save_file

ROWS, LENGTH = 12, 10
# The smallest id of a word; those below are special.
FIRST_WORD = 4


@dataclass(frozen=True)
class Sentences:
    """Columns as a tokenizer gives them, `[rows, length]`."""

    columns: dict
    # A refusal may name one of these instead.
    named: tuple = ()
    parquet: bool = False
    labels: torch.Tensor | None = field(default=None, compare=False)

    def labelled(self, labels):
        return replace(self, labels=labels)

    def write(self, path):
        """The file, of the kind that the data ask for."""
        if self.parquet:
            return self.write_parquet(path.with_suffix(".parquet"))
        path = path.with_suffix(".safetensors")
        save_file(
            {name: column.clone().contiguous() for name, column in (self.columns | {"labels": self.labels}).items()},
            path,
        )
        return path

    def write_parquet(self, path):
        """Rows as long as their sentences, as a tokenizer without padding leaves them."""
        import pyarrow
        from pyarrow import parquet

        mask = self.columns["attention_mask"]
        table = {
            name: [row[keep == 1].tolist() for row, keep in zip(column, mask)] for name, column in self.columns.items()
        }
        labels = self.labels.tolist()
        if self.labels.ndim == 2:
            labels = [row[keep == 1].tolist() for row, keep in zip(self.labels, mask)]
        parquet.write_table(pyarrow.table(table | {"labels": labels}), path)
        return path


def words(seed, vocabulary, rows=ROWS, length=LENGTH):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(FIRST_WORD, vocabulary, (rows, length), generator=generator)


def lengths(rows=ROWS, length=LENGTH):
    """Of every length, the shortest and the longest among them."""
    return [1 + (5 * row + 2) % length for row in range(rows)]


def padded(ids, pad, side, fill=None):
    """Ids and mask; padding is `pad`, or what `fill` has there."""
    ids, mask = ids.clone(), torch.zeros_like(ids)
    for row, length in enumerate(lengths(*ids.shape)):
        kept = slice(0, length) if side == "right" else slice(ids.shape[1] - length, None)
        mask[row, kept] = 1
    filled = torch.full_like(ids, pad) if fill is None else fill
    return torch.where(mask == 1, ids, filled), mask


def with_last_word(ids, mask, id):
    """Every sentence ends in this id."""
    last = mask.cumsum(1).argmax(1)
    return ids.scatter(1, last[:, None], id)


def ended(data, id):
    """The same sentences, each of which ends in this id."""
    ids = data.columns["input_ids"]
    mask = data.columns.get("attention_mask", torch.ones_like(ids))
    return replace(data, columns=data.columns | {"input_ids": with_last_word(ids, mask, id)})


def pairs(mask):
    """Types of two sentences: the second begins in the middle of each row."""
    position = mask.cumsum(1)
    return ((position > (mask.sum(1, keepdim=True) + 1) // 2) & (mask == 1)).long()


def every_kind(pad, vocabulary, types, positions):
    """Sentences by the name of their kind. `types` is the number of token types, `positions` the longest sentence."""
    ids = words(1, vocabulary)
    other = words(2, vocabulary)
    right, right_mask = padded(ids, pad, "right")
    left, left_mask = padded(ids, pad, "left")
    holes = torch.ones_like(ids)
    holes[:, 3:5] = 0
    holes[::2, 7] = 0
    mask = ("attention_mask", "pad_token_id")
    kinds = {
        "no mask": Sentences({"input_ids": ids}),
        "a mask of ones": Sentences({"input_ids": ids, "attention_mask": torch.ones_like(ids)}),
        "padded right": Sentences({"input_ids": right, "attention_mask": right_mask}),
        "padded left": Sentences({"input_ids": left, "attention_mask": left_mask}, named=mask),
        "padded right, no mask": Sentences({"input_ids": right}, named=mask),
        "padded left, no mask": Sentences({"input_ids": left}, named=mask),
        "padded right, sentences end in the padding id": Sentences(
            {"input_ids": with_last_word(right, right_mask, pad), "attention_mask": right_mask}, named=mask
        ),
        "padded left, sentences end in the padding id": Sentences(
            {"input_ids": with_last_word(left, left_mask, pad), "attention_mask": left_mask}, named=mask
        ),
        "the padding id within sentences": Sentences(
            {"input_ids": ids.clone().index_fill(1, torch.tensor([4, 9]), pad), "attention_mask": torch.ones_like(ids)},
            named=mask,
        ),
        "other ids under the mask": Sentences(
            dict(zip(("input_ids", "attention_mask"), padded(ids, pad, "right", fill=other))), named=mask
        ),
        "holes in the mask": Sentences({"input_ids": ids, "attention_mask": holes}, named=mask),
        "a row that is padding": Sentences(
            {
                "input_ids": torch.cat([right, torch.full_like(right[:1], pad)]),
                "attention_mask": torch.cat([right_mask, torch.zeros_like(right_mask[:1])]),
            },
            named=mask,
        ),
        "one token": Sentences({"input_ids": ids[:, :1]}),
        "as long as the positions": Sentences({"input_ids": words(3, vocabulary, 4, positions)}),
        "longer than the positions": Sentences(
            {"input_ids": words(3, vocabulary, 4, positions + 1)},
            named=("max_position_embeddings", "n_positions", "wrong_input_shape"),
        ),
        "all token types 0": Sentences(
            {"input_ids": right, "attention_mask": right_mask, "token_type_ids": torch.zeros_like(right)},
            named=() if types in (1, 2) else ("token_type_ids",),
        ),
        "pairs": Sentences(
            {"input_ids": right, "attention_mask": right_mask, "token_type_ids": pairs(right_mask)},
            named=() if types == 2 else ("token_type_ids",),
        ),
        "pairs padded left": Sentences(
            {"input_ids": left, "attention_mask": left_mask, "token_type_ids": pairs(left_mask)},
            named=mask + ("token_type_ids",),
        ),
        "positions of one's own": Sentences(
            {"input_ids": ids, "position_ids": torch.arange(LENGTH).flip(0).expand(ROWS, -1)}, named=("position_ids",)
        ),
        "Parquet, ragged": Sentences({"input_ids": right, "attention_mask": right_mask}, parquet=True),
        "Parquet, pairs": Sentences(
            {"input_ids": right, "attention_mask": right_mask, "token_type_ids": pairs(right_mask)},
            named=() if types == 2 else ("token_type_ids",),
            parquet=True,
        ),
    }
    return kinds
