"""Training that can be taken up where it stopped: tensors in safetensors, the rest in JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor, nn

from hoptrail.errors import PolicyError
from hoptrail.learning.arrays.tensor_files import FAULTS, load_about, reason
from hoptrail.learning.execution.processes import is_first_process
from hoptrail.learning.weights import load_weights

TENSORS = "checkpoint.safetensors"

Loaded = tuple[dict[str, Any], dict[str, Tensor]]
"""Where a run was, and its tensors."""


class Checkpoint:
    """The state of a training run in a folder; a write replaces the one before, whole.

    Of several processes that train together all read it, and only the first writes.

    Args:
        folder: Where it is kept.
        run: What identifies the run: settings and data. A checkpoint of another is refused.
    """

    def __init__(self, folder: Path, run: Mapping[str, Any]) -> None:
        self.folder = folder
        self.run = json.loads(json.dumps(run))

    def save(
        self,
        place: Mapping[str, Any],
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """Write where the run is, its weights, and the optimiser's moments.

        Args:
            place: Where the run is, as JSON has it.
            modules: All whose weights the run needs, by names of the caller's.
            optimizer: Of what is being trained.

        Raises:
            PolicyError: The folder cannot be written.
        """
        if not is_first_process():
            return
        tensors: dict[str, Tensor] = {}
        for name, module in modules.items():
            for key, tensor in module.state_dict().items():
                tensors[f"module/{name}/{key}"] = tensor.contiguous()
        if optimizer is not None:
            for index, moments in optimizer.state_dict()["state"].items():
                for key, value in moments.items():
                    tensors[f"optimizer/{index}/{key}"] = torch.as_tensor(value).contiguous()
        self.make_folder()
        partial = self.folder / (TENSORS + ".partial")
        try:
            save_file(tensors, partial, metadata={"place": json.dumps({**place, "run": self.run})})
            partial.replace(self.folder / TENSORS)
        except (OSError, SafetensorError) as error:
            raise PolicyError(f"no checkpoint can be written to {self.folder}: {error}") from error

    def make_folder(self) -> None:
        """Make the folder where it is absent.

        Raises:
            PolicyError: It cannot be made.
        """
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise PolicyError(f"the folder {self.folder} cannot be made: {error}") from error

    def load(self) -> Loaded | None:
        """Where the run was, and its tensors; None where there is no checkpoint.

        Raises:
            PolicyError: The checkpoint is damaged, or of another run.
        """
        file = self.folder / TENSORS
        if not file.is_file():
            return None
        try:
            place = load_about(file, "place")
            run = place.pop("run")
            tensors = load_weights(file)
        except FAULTS as error:
            raise PolicyError(f"the checkpoint {file} is damaged: {reason(error)}") from error
        if run != self.run:
            raise PolicyError(
                f"the checkpoint {file} is of a run with other settings or data: "
                "give the same ones, another --out, or leave out --resume"
            )
        return place, tensors

    def restore(
        self,
        tensors: Mapping[str, Tensor],
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        """Put loaded tensors back.

        Args:
            tensors: As `load` gave them.
            modules: Those to fill, by the names that `save` had for them.
            optimizer: The one whose moments come back; None where there is none.

        Raises:
            PolicyError: They are not these modules'.
        """
        try:
            self._restore(tensors, modules, optimizer)
        except FAULTS as error:
            file = self.folder / TENSORS
            raise PolicyError(f"the checkpoint {file} is damaged: {reason(error)}") from error

    def _restore(
        self,
        tensors: Mapping[str, Tensor],
        modules: Mapping[str, nn.Module],
        optimizer: torch.optim.Optimizer | None,
    ) -> None:
        for name, module in modules.items():
            prefix = f"module/{name}/"
            module.load_state_dict(
                {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
            )
        if optimizer is None:
            return
        moments: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            if key.startswith("optimizer/"):
                _, index, name = key.split("/")
                moments.setdefault(int(index), {})[name] = value
        if moments:
            optimizer.load_state_dict({**optimizer.state_dict(), "state": moments})

    def keep(self, modules: Mapping[str, nn.Module]) -> None:
        """Write what was trained beside the policy into the folder, a file by each name.

        Args:
            modules: By name.
        """
        for name, module in modules.items() if is_first_process() else ():
            tensors = {key: tensor.contiguous() for key, tensor in module.state_dict().items()}
            partial = self.folder / f"{name}.safetensors.partial"
            save_file(tensors, partial)
            partial.replace(self.folder / f"{name}.safetensors")

    def remove(self) -> None:
        """The run is over."""
        if is_first_process():
            (self.folder / TENSORS).unlink(missing_ok=True)
