"""The kinds of steps that are no jobs: extract, clean, compare, deploy and report."""

from __future__ import annotations

from io import BytesIO
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import urlsplit
from uuid import UUID

from models_app.access import visible_endpoints, visible_versions
from models_app.datasets import operations as datasets
from models_app.datasets.column_choices import choose_columns
from models_app.endpoints import deployments
from models_app.models import DatasetVersion, EndpointState, IngestState, ModelVersion, Stage
from models_app.pipelines import kinds, plan
from models_app.pipelines.kinds import Result, StepFailed, Work
from models_app.registry import registry
from tenants.errors import Invalid
from tenants.notifications import notifications
from tenants.outbound import client

MOST_FETCHED = 64 * 1024 * 1024
REPORT = "pipeline_report"


class Extract:
    """Fetches a file from a URL into a dataset; it has succeeded when the version was read."""

    name = "extract"
    required = frozenset({"url", "dataset"})
    optional = frozenset({"target"})

    def begin(self, work: Work) -> Result:
        """Check the fields; `fetch` does the rest."""
        for name in ("url", "dataset"):
            _text(work, name)
        return Result(outputs={}, done=False, note="It fetches the file.")

    def fetch(self, work: Work) -> dict[str, Any]:
        """Fetch the file and store it; the same bytes again are the same version. Raises ExchequerError."""
        url = _text(work, "url")
        limits = client.Limits(timeout_s=60.0, max_bytes=MOST_FETCHED)
        answer = client.fetch("GET", url, limits=limits, tenant_id=work.tenant_id)
        if answer.status != 200:
            raise StepFailed(f"The server answered {answer.status} in place of the file.")
        name = PurePosixPath(urlsplit(url).path).name or "data.csv"
        version = datasets.upload(
            actor=work.actor,
            name=_text(work, "dataset"),
            file=BytesIO(answer.body),
            filename=name,
            target=str(work.body.get("target", "")),
            audience=datasets.Audience(project_id=work.project_id),
        )
        return {"dataset": str(version.dataset_id), "dataset_version": str(version.id)}

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Wait until the version was read. Raises StepFailed."""
        if "dataset_version" not in outputs:
            return Result(outputs=outputs, done=False, note="It fetches the file.")
        return _once_read(outputs)


class Clean:
    """Reads a dataset version's file with choices for its columns: types, notations, words for missing values, identifiers.

    That makes the next version, unless these choices made one before.
    """

    name = "clean"
    required = frozenset({"dataset_version", "columns"})
    optional = frozenset({"file"})

    def begin(self, work: Work) -> Result:
        """Choose. Raises Invalid by column, NotFound, QuotaExceeded."""
        columns, file = work.body["columns"], work.body.get("file", {})
        for name, value in (("columns", columns), ("file", file)):
            if not isinstance(value, dict):
                raise Invalid(fields={name: ["Give an object."]})
        version_id = _id(work.body["dataset_version"], "dataset_version")
        version = choose_columns(actor=work.actor, version_id=version_id, choices=columns, writing=file)
        return _once_read({"dataset": str(version.dataset_id), "dataset_version": str(version.id)})

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Wait until the version was read. Raises StepFailed."""
        return _once_read(outputs)


class Compare:
    """Takes the best of some model versions by a metric, and says whether it beats the version that an endpoint serves."""

    name = "compare"
    required = frozenset({"model_version", "metric"})
    optional = frozenset({"endpoint", "better"})

    def begin(self, work: Work) -> Result:
        """Compare. Raises Invalid, StepFailed."""
        metric, better = _text(work, "metric"), work.body.get("better", "higher")
        if better not in ("higher", "lower"):
            raise Invalid(fields={"better": ["Use higher or lower."]})
        given = work.body["model_version"]
        ids = [_id(one, "model_version") for one in (given if isinstance(given, list) else [given])]
        sign = 1 if better == "higher" else -1
        found = {one.id: one for one in visible_versions(work.actor).filter(id__in=ids)}
        measured = [(_metric(found.get(one), metric), one) for one in ids]
        value, best = max(measured, key=lambda pair: sign * pair[0])
        before = self._served(work, metric) if "endpoint" in work.body else None
        beats = before is None or sign * (value - before) > 0
        return Result(outputs={"model_version": str(best), "value": value, "before": before, "better": beats})

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Return what was compared."""
        return Result(outputs=outputs)

    def _served(self, work: Work, metric: str) -> Any:
        """Return the metric of the version that serves now; None without one, or without the metric."""
        live = visible_endpoints(work.actor).exclude(state=EndpointState.UNDEPLOYED)
        metrics = live.filter(name=_text(work, "endpoint")).values_list("version__metrics", flat=True).first()
        value = _read(metrics or {}, metric)
        return value if _is_number(value) else None


class Deploy:
    """Promotes a model version to production, waits for the approval where one is needed, and deploys it."""

    name = "deploy"
    required = frozenset({"model_version", "endpoint"})
    optional = frozenset({"replace"})

    def begin(self, work: Work) -> Result:
        """Ask for production, unless the version is there, and deploy."""
        version_id = _id(work.body["model_version"], "model_version")
        version = visible_versions(work.actor).filter(id=version_id).first()
        if version is None:
            raise StepFailed("There is no such model version.")
        if version.stage != Stage.PRODUCTION:
            version = registry.promote(actor=work.actor, version_id=version_id, stage=Stage.PRODUCTION)
        return self._go_on(work, version)

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Deploy once it was approved. Raises StepFailed if it was declined."""
        version = ModelVersion.objects.select_related("model").get(id=UUID(outputs["model_version"]))
        return self._go_on(work, version)

    def _go_on(self, work: Work, version: ModelVersion) -> Result:
        outputs: dict[str, Any] = {"model_version": str(version.id)}
        if version.stage != Stage.PRODUCTION:
            if not registry.waits(version):
                raise StepFailed(f"{version} was declined for production.")
            return Result(outputs=outputs, done=False, note=f"{version} waits for the approval for production.")
        endpoint = deployments.deploy(
            actor=work.actor,
            name=_text(work, "endpoint"),
            version_id=version.id,
            replace=work.body.get("replace") is True,
        )
        return Result(outputs={**outputs, "endpoint": str(endpoint.id)})


class Report:
    """Notifies the person behind the run of how its steps have gone."""

    name = "report"
    required = frozenset[str]()
    optional = frozenset({"title", "figures"})

    def begin(self, work: Work) -> Result:
        """Notify the person, once."""
        figures = work.body.get("figures", {})
        lines = [f"{name}: {state}" for name, state in work.states.items() if name != work.step]
        if isinstance(figures, dict):
            lines += [f"{name}: {value}" for name, value in figures.items()]
        if work.person is not None:
            title = str(work.body.get("title") or f"Pipeline {work.pipeline}")[:120]
            path = f"pipelines/runs/{work.run_id}/"
            notifications.notify_person(work.person, kind=REPORT, title=title, body="\n".join(lines)[:1000], path=path)
        return Result(outputs={"lines": lines})

    def follow(self, work: Work, outputs: dict[str, Any]) -> Result:
        """Return what was reported."""
        return Result(outputs=outputs)


def register() -> None:
    """Register the kinds of this module."""
    for kind in (Extract(), Clean(), Compare(), Deploy(), Report()):
        kinds.register(kind)


def _once_read(outputs: dict[str, Any]) -> Result:
    """Return whether the version of these outputs was read, with its rows. Raises StepFailed."""
    version = DatasetVersion.objects.only("state", "message", "rows").get(id=UUID(outputs["dataset_version"]))
    if version.state == IngestState.INGESTING:
        return Result(outputs=outputs, done=False, note="The file is being read.")
    if version.state != IngestState.READY:
        raise StepFailed(version.message or "The file could not be read.")
    return Result(outputs={**outputs, "rows": version.rows})


def _text(work: Work, name: str) -> str:
    value = work.body.get(name)
    if not isinstance(value, str) or not value.strip():
        raise Invalid(fields={name: ["Give a text."]})
    return value.strip()


def _id(value: Any, name: str) -> UUID:
    try:
        return UUID(str(value))
    except ValueError:
        raise Invalid(fields={name: ["Give an id, or a reference to an output that is one."]}) from None


def _metric(version: ModelVersion | None, metric: str) -> Any:
    if version is None:
        raise StepFailed("There is no such model version.")
    value = _read(version.metrics, metric)
    if not _is_number(value):
        raise StepFailed(f"{version} has no metric {metric[:60]!r} that is a number.")
    return value


def _read(metrics: dict[str, Any], path: str) -> Any:
    try:
        return plan.read(metrics, path)
    except KeyError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
