"""Organisations of the demo: people, projects, data and habits. Data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal

PASSWORD = "exchequer-demo"  # noqa: S105 (printed at start; the demo is off in production)
OPERATOR = "operator@exchequer.example"
ROLES = ("owner", "admin", "finance", "engineer", "viewer")


@dataclass(frozen=True)
class Person:
    """A member. The first of a role has the role's address, such as `engineer@vision.example`."""

    name: str
    role: str
    address: str = ""


@dataclass(frozen=True)
class Theme:
    """A line of work: job names, the project that pays, its share of all jobs, its typical minutes."""

    project: str
    names: tuple[str, ...]
    share: float
    minutes: float


@dataclass(frozen=True)
class Service:
    """The endpoint of an organisation, paid by `project`.

    `requests` per day; from `from_share` of the span; `drifts`: its inputs drift at the end.
    """

    name: str
    project: str
    requests: int
    ticks: int
    from_share: float
    drifts: bool = False


@dataclass(frozen=True)
class Budgeted:
    """A budget of a project, or with an empty one of the organisation.

    `filled`: the share of it that is spent at the end; finance sets the budget to the amount that results in it.
    """

    project: str
    amount: Decimal
    at_limit: str
    alerts: tuple[int, ...] = (50, 80, 100)
    filled: float = 0.0


@dataclass(frozen=True)
class Organisation:
    """One tenant.

    `country` and `tax_number` decide the tax of its invoices. `restricted`: a project that is restricted at the end to these
    people, by the first part of their address; `jobs` in sixty days; `weekday`: weight of Monday to Sunday; `hours`: weights of the hours from `opens`.
    `params` of each version, the first of `epochs`; `cleaned`: what the weekly round chooses for columns.
    """

    slug: str
    name: str
    timezone: str
    currency: str
    people: tuple[Person, ...]
    projects: tuple[tuple[str, str], ...]
    budgets: tuple[Budgeted, ...]
    themes: tuple[Theme, ...]
    jobs: int
    weekday: tuple[float, ...]
    opens: int
    hours: tuple[float, ...]
    growth: float
    table: str
    dataset: str
    arriving: str
    recipe: str
    model: str
    versions: tuple[float, ...]
    service: Service
    quota: int = 8
    country: str = "DE"
    tax_number: str = ""
    restricted: str = ""
    insiders: tuple[str, ...] = ()
    params: tuple[dict[str, object], ...] = field(default_factory=tuple)
    cleaned: Mapping[str, object] = field(default_factory=dict)
    epochs: int = 40

    def email(self, person: Person) -> str:
        """Return a person's address."""
        return f"{person.address or person.role}@{self.slug}.example"


OFFICE = (0.6, 1.0, 1.3, 1.1, 0.7, 1.0, 1.2, 1.0, 0.7, 0.4)
WEEK = (1.0, 1.1, 1.15, 1.1, 0.9, 0.18, 0.08)

HOSPITAL = Organisation(
    slug="riverside",
    name="Riverside Hospital Research",
    timezone="Europe/Berlin",
    currency="EUR",
    people=(
        Person("Dr. Olivia Hartmann", "owner"),
        Person("Amir Haddad", "admin"),
        Person("Frieda Sommer", "finance"),
        Person("Emil Brandt", "engineer"),
        Person("Viktor Lang", "viewer"),
        Person("Mei Tanaka", "engineer", "mei"),
        Person("Jonas Keller", "engineer", "jonas"),
    ),
    projects=(("diagnostics", "Diagnostics"), ("outcomes", "Patient outcomes")),
    budgets=(
        Budgeted("diagnostics", Decimal(120), "block_new", filled=0.86),
        Budgeted("", Decimal(150), "notify"),
    ),
    themes=(
        Theme("diagnostics", ("tumour-width-{n}", "tumour-dropout-{n}", "tumour-rate-{n}"), 0.6, 48),
        Theme("outcomes", ("readmission-{n}", "stay-length-{n}"), 0.3, 30),
        Theme("default", ("teaching-example-{n}",), 0.1, 12),
    ),
    jobs=42,
    weekday=WEEK,
    opens=8,
    hours=OFFICE,
    growth=2.2,
    table="tumours",
    dataset="biopsies",
    arriving="biopsies-incoming",
    recipe="tabular.classifier",
    model="tumour-screening",
    versions=(0.42, 0.72),
    service=Service("tumour-screening", "diagnostics", 340, 1, 0.6),
    restricted="outcomes",
    insiders=("mei", "jonas"),
    params=({"epochs": 40}, {"epochs": 40, "width": 192, "dropout": 0.4}),
    cleaned={"mean_radius": {"type": "numeric", "missing": ["n/a", ""]}},
)
RETAILER = Organisation(
    slug="harbour",
    name="Harbour & Field Stores",
    timezone="Europe/Lisbon",
    currency="EUR",
    country="PT",
    tax_number="PT501964843",
    people=(
        Person("Otto Marques", "owner"),
        Person("Ana Figueira", "admin"),
        Person("Filipa Nunes", "finance"),
        Person("Eva Carvalho", "engineer"),
        Person("Vasco Reis", "viewer"),
        Person("Tomas Prata", "engineer", "tomas"),
    ),
    projects=(("churn", "Customer churn"), ("demand", "Demand planning")),
    budgets=(
        Budgeted("", Decimal(150), "block_new", filled=0.58),
        Budgeted("demand", Decimal(90), "stop_running"),
    ),
    themes=(
        Theme("demand", ("nightly-demand-{n}", "weekly-demand-{n}"), 0.55, 62),
        Theme("churn", ("churn-features-{n}", "churn-depth-{n}"), 0.4, 35),
        Theme("default", ("price-check-{n}",), 0.05, 15),
    ),
    jobs=38,
    weekday=(1.0, 1.0, 1.0, 1.05, 1.2, 0.7, 0.45),
    opens=5,
    hours=(1.6, 1.4, 0.8, 0.6, 0.8, 1.0, 0.9, 0.6, 0.7, 0.8, 0.9, 0.8, 0.5, 0.4),
    growth=2.8,
    table="customers",
    dataset="customers",
    arriving="customers-this-season",
    recipe="tabular.classifier",
    model="churn",
    versions=(0.45,),
    service=Service("churn-score", "churn", 620, 2, 0.58, drifts=True),
    params=({"epochs": 40, "learning_rate": 0.002},),
    cleaned={"basket_eur": {"type": "numeric", "missing": ["unknown", ""]}},
)
LAB = Organisation(
    slug="quietlab",
    name="Quiet Lab",
    timezone="America/Chicago",
    currency="USD",
    country="US",
    people=(
        Person("Oscar Lindqvist", "owner"),
        Person("Ada Moreno", "admin"),
        Person("Finn Walsh", "finance"),
        Person("Esther Cho", "engineer"),
        Person("Vera Novak", "viewer"),
    ),
    projects=(("yield", "Reaction yield"),),
    budgets=(Budgeted("", Decimal(12), "notify"),),
    themes=(Theme("yield", ("yield-try-{n}",), 0.8, 14), Theme("default", ("notebook-{n}",), 0.2, 8)),
    jobs=14,
    weekday=(0.8, 1.0, 1.2, 1.0, 0.5, 0.0, 0.1),
    opens=9,
    hours=(0.5, 1.0, 1.0, 0.4, 1.2, 1.0, 0.6),
    growth=1.2,
    table="assays",
    dataset="reactions",
    arriving="reactions-planned",
    recipe="tabular.regressor",
    model="yield",
    versions=(0.55,),
    service=Service("yield", "yield", 70, 1, 0.75),
    quota=4,
    params=({"epochs": 40},),
    cleaned={"temperature_c": {"type": "numeric", "missing": ["-", ""]}},
)
CHARACTERS = (HOSPITAL, RETAILER, LAB)
MOST = 12


def organisations(number: int) -> tuple[Organisation, ...]:
    """Return so many organisations: three different ones, and numbered copies."""
    found = []
    for at in range(number):
        one, again = CHARACTERS[at % len(CHARACTERS)], at // len(CHARACTERS)
        found.append(replace(one, slug=f"{one.slug}-{again + 1}", name=f"{one.name} {again + 1}") if again else one)
    return tuple(found)


def logins(number: int, *, operator: bool = True) -> str:
    """Return the logins as lines for the console."""
    lines = [f"  {one.name}: {', '.join(one.email(person) for person in one.people)}" for one in organisations(number)]
    platform = [f"  operators' console: {OPERATOR}"] if operator else []
    return "\n".join([*lines, *platform, f"  password of each: {PASSWORD}"])
