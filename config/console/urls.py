"""Every route of the operators' console."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView

from config.monitoring import health

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("accounts/", include("tenants.views.console.accounts")),
    path("fleet/", include("compute.views.fleet")),
    path("api/operator/v1/", include("compute.views.fleet_api")),
    path("api/operator/v1/", include("billing.api.console")),
    path("api/operator/v1/", include("tenants.operators.api")),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("", include("billing.views.console")),
    path("", include("tenants.views.console")),
]

handler400 = "tenants.views.bad_request"
handler403 = "tenants.views.forbidden"
handler404 = "tenants.views.not_found"
handler429 = "tenants.views.too_many"
handler500 = "tenants.views.server_error"
