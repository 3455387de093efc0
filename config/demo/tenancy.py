"""The history of one organisation of the demo: data, jobs, models, an endpoint, higher prices, quiet days."""

from __future__ import annotations

import io
from datetime import datetime, timedelta
from decimal import ROUND_UP, Decimal
from functools import partial

from billing import queries
from billing.budgets import budgets
from billing.budgets.holds import BudgetExceeded
from billing.defaults import SECOND
from billing.pricing import publishing
from billing.rating.new_price import NewPrice
from compute.jobs import jobs
from config.demo import attempts, serving, workload
from config.demo.company import SELLER, Company, quote
from config.demo.pipeline import Pipeline
from config.demo.tables import Sheet
from models_app.datasets import operations
from models_app.presets import presets
from tenants import operations as people
from tenants.events import outbox
from tenants.grants import grants
from tenants.isolation.scoping import tenant_scope
from tenants.notifications import notifications
from tenants.quotas import QuotaExceeded

PRICES_RISE = 0.55
UNREAD_DAYS = 3
CENT_OF_CENT = Decimal("0.00000001")
DEARER = Decimal("1.08")


class Tenancy(Company):
    """An organisation over all its days."""

    def schedule(self, start: datetime, until: datetime) -> None:
        """Schedule everything that happens between two times."""
        one, simulation, span = self.one, self.simulation, until - start
        pipeline = self.pipeline = Pipeline(self, span)

        def share(part: float) -> datetime:
            return start + span * part

        simulation.at(start + timedelta(minutes=30), partial(self._upload, one.dataset, self.tables.training))
        work = start + timedelta(hours=1)
        for launch in workload.launches(one, start=work, until=until, days=self.days, seed=self.seed):
            simulation.at(launch.at, partial(self._launch, launch))
        for number, part in enumerate(one.versions):
            simulation.at(share(part), partial(pipeline.train, number))
        began = one.service.from_share
        simulation.at(share(began - 0.06), partial(self._upload, one.arriving, self.tables.arriving))
        simulation.at(share(began - 0.05), pipeline.predict)
        simulation.at(share(began), pipeline.deploy)
        first = share(began + 0.01)
        for at, requests, moved in serving.ticks(one, start=first, until=until, seed=self.seed):
            simulation.at(at, partial(pipeline.answer, at, requests, moved=moved))
        simulation.at(start + timedelta(hours=2), self._save_presets)
        simulation.at(share(PRICES_RISE).replace(hour=2, minute=30), self._raise_prices)
        simulation.at(until - timedelta(hours=8), pipeline.run_weekly)
        simulation.at(until - timedelta(hours=4), self._fill_budgets)
        for day in range(1, self.days):
            simulation.at(start + timedelta(days=day), partial(self._end_day, self.days - day))
        simulation.at(until - timedelta(minutes=1), partial(self._end_day, 0))
        if one.restricted:
            simulation.at(until - timedelta(seconds=30), self._restrict)

    def _upload(self, name: str, sheet: Sheet) -> None:
        """Upload a table, and ingest it as the ops worker does, with the child's output."""
        child = (self.learned.training if name == self.one.dataset else self.learned.arriving).result()
        version = operations.upload(
            actor=self.first("engineer"),
            name=name,
            file=io.BytesIO(sheet.as_csv()),
            filename=f"{name}.csv",
            target=sheet.target,
        )
        self.ingest(version.id, child)
        self.datasets[name] = version.id

    def _save_presets(self) -> None:
        """Let an engineer save the launches that come again: the model's own, and a quick look on spot devices."""
        own = {"recipe": self.one.recipe, "dataset_version": str(self.datasets[self.one.dataset])}
        epochs = {"quick look": self.one.epochs // 10, "usual training": self.one.epochs}
        project_id = self.projects[self.one.service.project]
        with tenant_scope(self.tenant_id):
            for name, number in epochs.items():
                launch = own | {
                    "params": {**self.one.params[0], "epochs": number},
                    "device_class": "cpu",
                    "max_seconds": 3600,
                    "tier": "spot" if name == "quick look" else "on_demand",
                }
                presets.create(actor=self.first("engineer"), project_id=project_id, name=name, launch=launch)

    def _launch(self, launch: workload.Launch) -> None:
        """Launch a job; one refused by a budget or quota is skipped."""
        actor = self.actors[launch.person]
        params = {"epochs": launch.epochs, "width": launch.width, "learning_rate": launch.rate}
        limit = launch.seconds if launch.outcome == "runs_out_of_time" else 600 + round(1.5 * launch.seconds, -2)
        try:
            with tenant_scope(self.tenant_id):
                job = self.submit(actor, launch.name, launch.project, params, int(limit))
                quote(job, launch.usual_s, workload.SPREAD)
        except (BudgetExceeded, QuotaExceeded):
            self.refused += 1
            return
        self.launched += 1
        if launch.outcome == "is_withdrawn":
            jobs.cancel(actor=actor, job_id=job.id, reason="Chose the wrong column.")
            return
        self.simulation.queue(job, attempts.Run(self.simulation, job, actor, launch))

    def _raise_prices(self) -> None:
        """Let the operator publish the next price list: device time becomes more expensive, predictions do not."""
        with tenant_scope(self.tenant_id):
            (book,) = queries.price_books()
            prices = [
                NewPrice(
                    price.meter,
                    price.dims,
                    (price.unit_amount * DEARER).quantize(CENT_OF_CENT) if price.unit == SECOND else price.unit_amount,
                )
                for price in book.versions[0].prices
            ]
        publishing.publish(operator=SELLER, book_id=book.id, prices=prices, reason="Energy grew dearer")

    def _restrict(self) -> None:
        """Let the admin restrict a project to those who work in it; others who launched there no longer see it."""
        project, admin = self.projects[self.one.restricted], self.first("admin")
        wanted = {f"{address}@{self.one.slug}.example" for address in self.one.insiders}
        with tenant_scope(self.tenant_id):
            for person in self.actors:
                if person.label in wanted:
                    holder = grants.Holder(user_id=person.id)
                    grants.give(actor=admin, holder=holder, role="engineer", project_id=project)
            people.change_project(actor=admin, project_id=project, restricted=True)
        outbox.drain(self.tenant_id)

    def _fill_budgets(self) -> None:
        """Let finance set those budgets of which a certain share is to be spent."""
        with tenant_scope(self.tenant_id):
            for status in queries.budgets():
                wanted = next(one for one in self.one.budgets if one.project == status.project_slug)
                if wanted.filled and status.spent.amount:
                    amount = (status.spent.amount / Decimal(str(wanted.filled))).quantize(Decimal(1), ROUND_UP)
                    budgets.change_budget(actor=self.first("finance"), budget_id=status.id, amount=amount)
        outbox.drain(self.tenant_id)

    def _end_day(self, days_left: int) -> None:
        """Deliver events, send feedback, renew the slot; except for the last days people have read everything."""
        self.pipeline.end_day()
        outbox.drain(self.tenant_id)
        if days_left > UNREAD_DAYS:
            with tenant_scope(self.tenant_id):
                for actor in self.actors:
                    notifications.mark_all_read(actor)
