"""Train the tabular network: seeded, with early stopping, resumable at any step. Only the runner imports this."""

from __future__ import annotations

import dataclasses
import time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from models_app.recipes import base
from models_app.recipes.peers import Peers
from models_app.recipes.tabular import checkpoint, preparation, table, training_log
from models_app.recipes.tabular.features import Feature, encode, widths
from models_app.recipes.tabular.network import AdamW, TabularNet
from models_app.recipes.tabular.outcome import write_outcome
from models_app.recipes.tabular.spec import steps_of
from models_app.runner_protocol import Context, InputError, StopRequested, counted, note

MIN_GAIN = 1e-4
DEFAULT_CHECKPOINT_S = 5.0
SAVING_SHARE = 0.05
"""Saving takes at most about this share of the time: a large network saves less often."""

QUICK_BYTES = 64 * 1024**2
"""A checkpoint up to this size is saved on a request to stop; a larger one would exceed the grace period."""


def warm_up() -> None:
    """Trigger the late imports of torch: after lockdown its files may be inaccessible."""
    net = TabularNet(numeric=2, codes=[3], outputs=1, layers=1, width=4, dropout=0.1)
    optimiser = AdamW(net.parameters())
    net(torch.zeros(2, 2), torch.zeros(2, 1, dtype=torch.int64)).sum().backward()
    optimiser.step()


def run(context: Context) -> None:
    """Train as `job.json` says and write model.safetensors, signature.json and result.json to `out/`.

    Raises InputError if the data does not fit, StopRequested after a checkpoint when asked to stop.
    """
    job = context.job
    recipe = base.recipe(job["recipe"])
    params = recipe.parse(job["params"])
    context.report.progress("reading")
    note(
        f"{recipe.id} version {recipe.version} on {context.device}, {counted(torch.get_num_threads(), 'thread')}, seed {params['seed']}"
    )
    data = table.read(
        context.inputs / "data.parquet",
        target=job["inputs"]["target"],
        task=recipe.task,
        exclude=frozenset(params["exclude_columns"]),
    )
    parts = table.split(
        data.target, validation=params["validation_share"], test=params["test_share"], seed=params["seed"]
    )
    features, ignored = preparation.fit_features(data, parts.train, params, job["inputs"].get("left_out", {}))
    training = Training(context, recipe, params, data, parts, features)
    training.journal.read(data, parts, task=recipe.task, used=len(features), ignored=ignored)
    training.resume()
    training.fit()
    training.peers.leave()
    if training.peers.rank == 0:
        write_outcome(training, ignored)


class Training:
    """One training run: its tensors, its network, its position."""

    def __init__(
        self,
        context: Context,
        recipe: base.Recipe,
        params: dict[str, Any],
        data: table.Table,
        parts: table.Split,
        features: list[Feature],
    ) -> None:
        self.peers = Peers(context.job.get("gang"), context.device)
        self.context, self.recipe, self.params = context, recipe, params
        self.data, self.parts, self.features = data, parts, features
        self.device = context.device
        classes = data.target.classes
        targets = data.target.values
        self.mean, self.scale = (
            (0.0, 1.0) if classes else (float(targets[parts.train].mean()), float(targets[parts.train].std()) or 1.0)
        )
        encoded = encode(features, data.columns, data.rows)
        goal = (
            torch.from_numpy(targets)
            if classes
            else torch.from_numpy(((targets - self.mean) / self.scale).astype(np.float32))
        )
        self.numeric = torch.from_numpy(encoded.numeric).to(self.device)  # float32 [rows, numeric inputs]
        self.codes = torch.from_numpy(encoded.codes).to(self.device)  # int64 [rows, categorical inputs]
        self.goal = goal.to(self.device)  # [rows]: int64 classes, or float32 standardised targets
        torch.manual_seed(params["seed"])
        numeric, codes = widths(features)
        self.net = TabularNet(
            numeric=numeric,
            codes=codes,
            outputs=len(classes) or 1,
            layers=params["layers"],
            width=params["width"],
            dropout=params["dropout"],
        ).to(self.device)
        self.loss = preparation.loss_for(params, classes, targets[parts.train]).to(self.device)
        self.optimiser = AdamW(self.net.parameters(), lr=params["learning_rate"], weight_decay=params["weight_decay"])
        self.best = {name: value.clone() for name, value in self.net.state_dict().items()}
        self.at = checkpoint.Position()
        self.folder = context.workdir / "checkpoint"
        self.every_s = float(context.job.get("limits", {}).get("checkpoint_s", DEFAULT_CHECKPOINT_S))
        self.saved_at = time.monotonic()
        self.stopping = False
        self.journal = training_log.TrainingLog(context.report, params["epochs"])
        self.weights = sum(value.numel() for value in self.net.parameters())

    def resume(self) -> None:
        """Resume from the checkpoint that the parent restored, if it belongs to this very run."""
        if not self.context.job.get("resume"):
            return
        found = checkpoint.restore(self.folder)
        if (
            found is None
            or found[1]["recipe"] != [self.recipe.id, self.recipe.version]
            or found[1]["params"] != self.params
        ):
            note("the checkpoint is damaged or of another run: starting from the beginning")
            return
        tensors, state = found
        self.net.load_state_dict({k.removeprefix("net."): v for k, v in tensors.items() if k.startswith("net.")})
        self.best = {k.removeprefix("best."): v.to(self.device) for k, v in tensors.items() if k.startswith("best.")}
        checkpoint.unpack_optimiser(self.optimiser, tensors)
        self.at = checkpoint.Position.from_json(state["position"])
        torch.set_rng_state(tensors["random.cpu"])
        if self.device.type == "cuda" and "random.cuda" in tensors:
            torch.cuda.set_rng_state(tensors["random.cuda"], self.device)
        note(
            f"resumed from the checkpoint at epoch {self.at.epoch + 1}, batch {self.at.batch}; {training_log.best(self.at)}"
        )

    def fit(self) -> None:
        """Train until the epochs are used up or early stopping ends it."""
        train = torch.from_numpy(self.parts.train).to(self.device)
        size, count = steps_of(train.numel(), self.params["batch_size"])
        epochs = self.params["epochs"]
        shape = f"{counted(self.params['layers'], 'hidden layer')} of {self.params['width']}"
        note(f"network: {self.weights:,} weights, {shape}; {count:,} batches of {size:,} rows an epoch")
        self.journal.start(self.at, count)
        while self.at.epoch < epochs and self.at.waited < self.params["patience"]:
            shuffle = torch.Generator().manual_seed(self.params["seed"] * 1_000_003 + self.at.epoch)
            order = train[torch.randperm(train.numel(), generator=shuffle).to(self.device)]
            batches = torch.split(order, size)
            self.net.train()
            while self.at.batch < len(batches):
                self._step(batches[self.at.batch])
                self.at.batch += 1
                self.journal.batch(self.at, count)
                self._pause_or_save()
            values = self._close_epoch()
            last = self.at.epoch >= epochs or self.at.waited >= self.params["patience"]
            self.journal.epoch(self.at, count, values, self.optimiser.param_groups[0]["lr"], last=last)
            self.net.train()
        if self.at.waited >= self.params["patience"]:
            note(f"stopped early: no better validation loss for {self.at.waited} epochs; {training_log.best(self.at)}")
        else:
            note(f"all {epochs} epochs done; {training_log.best(self.at)}")
        self.net.load_state_dict(self.best)

    def save(self) -> None:
        """Write a checkpoint and report it to the supervisor."""
        began = time.monotonic()
        tensors = {f"net.{k}": v for k, v in self.net.state_dict().items()} | {
            f"best.{k}": v for k, v in self.best.items()
        }
        tensors |= checkpoint.pack_optimiser(self.optimiser) | {"random.cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            tensors["random.cuda"] = torch.cuda.get_rng_state(self.device)
        state = {"recipe": [self.recipe.id, self.recipe.version], "params": self.params, "position": self.at.to_json()}
        checkpoint.save(self.folder, tensors, state)
        self.saved_at = time.monotonic()
        self.every_s = max(self.every_s, (self.saved_at - began) / SAVING_SHARE)
        self.context.report.checkpoint(self.at.epoch)

    def _step(self, rows: Tensor) -> None:
        """Update the weights from one batch; `rows` int64 [batch] are indexes into the tensors of all rows."""
        self.optimiser.zero_grad(set_to_none=True)
        self.peers.seed(self.params["seed"], self.at.epoch, self.at.batch)
        own, loss = self.peers.part(rows), 0.0
        if own.numel():
            found = self.loss(self._outputs(own), self.goal[own])
            if (
                self.peers.ranks > 1
            ):  # the mean over the batch is the sum of the ranks' means by the weight of their rows
                found = found * (self._weight(own) / self._weight(rows))
            found.backward()
            loss = float(found.detach())
        loss, asked = self.peers.add_up(self.net.parameters(), loss, float(self.context.stopping()))
        self.stopping = asked > 0  # all stop after the same step
        nn.utils.clip_grad_norm_(self.net.parameters(), 1.0)
        self.optimiser.step()
        self.at.loss_sum += loss * rows.numel()
        self.at.loss_rows += rows.numel()

    def _weight(self, rows: Tensor) -> float:
        """Return how much `rows` int64 [n] count for in the loss: their number, or the weights of their classes."""
        weights = getattr(self.loss, "weight", None)
        return float(rows.numel() if weights is None else weights[self.goal[rows]].sum())

    def _outputs(self, rows: Tensor) -> Tensor:
        """Return float32 [batch, classes] logits, or [batch] standardised targets, for `rows` int64 [batch]."""
        found: Tensor = self.net(self.numeric[rows], self.codes[rows])
        return found if self.data.target.classes else found.squeeze(1)

    def _close_epoch(self) -> dict[str, float]:
        held = self.predict(self.parts.validation)
        goal = self.goal[torch.from_numpy(self.parts.validation).to(self.device)]
        with torch.no_grad():
            held_loss = float(self.loss(held, goal))
        values = {"train_loss": self.at.loss_sum / max(1, self.at.loss_rows), "val_loss": held_loss}
        if self.data.target.classes:
            values["val_accuracy"] = float((held.argmax(1) == goal).float().mean())
        if not np.isfinite(values["train_loss"]):
            raise InputError("diverged", "The loss diverged. Lower the learning rate and launch again.")
        self.context.report.metric(self.at.epoch + 1, values)
        if held_loss < self.at.best_loss - MIN_GAIN:
            self.at.best_loss, self.at.best_epoch, self.at.waited = held_loss, self.at.epoch, 0
            self.best = {name: value.clone() for name, value in self.net.state_dict().items()}
        else:
            self.at.waited += 1
        self.at = dataclasses.replace(self.at, epoch=self.at.epoch + 1, batch=0, loss_sum=0.0, loss_rows=0)
        return values

    def predict(self, rows: table.Rows) -> Tensor:
        """Return the outputs for `rows` int64 [n], as `_outputs` does, without gradients."""
        self.net.eval()
        with torch.no_grad():
            found = [self._outputs(chunk) for chunk in torch.split(torch.from_numpy(rows).to(self.device), 65536)]
        return torch.cat(found)

    def _pause_or_save(self) -> None:
        if self.stopping:
            where = f"asked to stop at epoch {self.at.epoch + 1}, batch {self.at.batch}"
            if self.peers.rank:
                note(f"{where}: rank 0 saves")
            elif 16 * self.weights <= QUICK_BYTES:  # weights, best weights and two moments, four bytes each
                self.save()
                note(f"{where}: checkpoint saved")
            else:
                note(f"{where}: the last checkpoint stands")
            raise StopRequested
        if self.peers.rank == 0 and time.monotonic() - self.saved_at >= self.every_s:
            self.save()
