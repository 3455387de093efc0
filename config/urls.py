"""Every route, in one place: tenant pages carry the tenant in the path, the API derives it from key or session."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.authentication import SessionAuthentication

from config.monitoring import health, metrics
from tenants.views import find_provider, join, look_leave, look_open, pick_tenant

api: list[URLPattern | URLResolver] = [
    path("", include(f"{app}.api")) for app in ("tenants", "billing", "compute", "models_app")
]
pages: list[URLPattern | URLResolver] = [
    path("", include(f"{app}.views")) for app in ("tenants", "billing", "compute", "models_app", "dashboards")
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("", pick_tenant, name="entrance"),
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", metrics.metrics, name="metrics"),
    path("accounts/invitation/<str:token>/", join, name="join"),
    path("accounts/provider/", find_provider, name="find-provider"),
    path("accounts/", include("tenants.views.accounts")),
    path("look-inside/", look_open, name="look-open"),
    path("look-inside/leave/", look_leave, name="look-leave"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    # The session is read for the person's theme alone.
    path(
        "api/docs/",
        SpectacularSwaggerSplitView.as_view(url_name="schema", authentication_classes=[SessionAuthentication]),
        name="api-docs",
    ),
    path("api/v1/", include(api)),
    path("node/v1/", include("models_app.node_access.views")),
    path("scim/v2/", include("tenants.scim")),
    path("webhooks/", include("billing.views.provider_events")),
    path("dash/", include("dashboards.bundles")),
    path("t/<slug:tenant>/", include(pages)),
]

handler400 = "tenants.views.bad_request"
handler403 = "tenants.views.forbidden"
handler404 = "tenants.views.not_found"
handler429 = "tenants.views.too_many"
handler500 = "tenants.views.server_error"
