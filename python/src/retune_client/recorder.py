"""Records a learning trajectory for retune, from a plain PyTorch loop or Hugging Face's Trainer.

    recorder = Recorder("trajectory/", config, every=100)      # config: the model's config.json, as a dict
    for step, batch in enumerate(batches):
        recorder.record(model, step)                           # step 0 is the base
        ...
    recorder.record(model, step + 1, last=True)

    Trainer(..., callbacks=[TrajectoryCallback("trajectory/", every=100)])
"""

import json
import os
from pathlib import Path

from safetensors.torch import save_model
from torch.nn.parallel import DataParallel, DistributedDataParallel


def unwrapped(model):
    """The module inside what compiles or distributes it, under its own names."""
    while True:
        if hasattr(model, "_orig_mod"):
            model = model._orig_mod
        elif isinstance(model, (DataParallel, DistributedDataParallel)):
            model = model.module
        else:
            return model


class Recorder:
    def __init__(self, folder, config=None, every=1):
        self.folder, self.config, self.every, self.steps = Path(folder), config, every, []

    def record(self, model, step, last=False):
        if step in self.steps or not (last or step % self.every == 0):
            return
        name, model = f"step-{step:06d}", unwrapped(model)
        (self.folder / name).mkdir(parents=True, exist_ok=True)
        if self.config is None:  # Hugging Face's models know their configuration
            model.save_pretrained(self.folder / name)
        else:
            (self.folder / name / "config.json").write_text(json.dumps(self.config, indent=1))
            save_model(model, str(self.folder / name / "model.safetensors"))
        self.steps.append(step)
        # The list is replaced whole: a reader never sees half of it.
        listed = [{"step": s, "model": f"step-{s:06d}/"} for s in self.steps]
        document = {"format": "retune-trajectory/1", "checkpoints": listed}
        part = self.folder / "trajectory.json.part"
        part.write_text(json.dumps(document, indent=1))
        os.replace(part, self.folder / "trajectory.json")


try:
    from transformers import TrainerCallback
except ImportError:
    pass
else:

    class TrajectoryCallback(TrainerCallback):
        def __init__(self, folder, every=100):
            self.recorder = Recorder(folder, every=every)

        def on_train_begin(self, args, state, control, model=None, **_):
            self.recorder.record(model, 0)

        def on_step_end(self, args, state, control, model=None, **_):
            self.recorder.record(model, state.global_step, last=state.global_step >= state.max_steps)
