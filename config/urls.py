"""Every route, in one place: tenant pages carry the tenant in the path, the API fixes it by key or session."""

from django.urls import URLPattern, URLResolver, include, path
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerView

from tenants import health

api: list[URLPattern | URLResolver] = [
    path("", include("tenants.api")),
    path("", include("billing.api")),
    path("", include("compute.api")),
    path("", include("models_app.api")),
]
pages: list[URLPattern | URLResolver] = [
    path("", include("billing.views")),
    path("", include("compute.views")),
    path("", include("models_app.views")),
    path("", include("dashboards.views")),
    path("", include("tenants.views")),
]

urlpatterns: list[URLPattern | URLResolver] = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("api/schema/", SpectacularAPIView.as_view(), name="schema"),
    path("api/docs/", SpectacularSwaggerView.as_view(url_name="schema"), name="api-docs"),
    path("api/v1/", include(api)),
    path("accounts/", include("tenants.accounts")),
    path("t/<slug:tenant>/", include(pages)),
    path("", include("tenants.entrance")),
]

handler400 = "tenants.views.bad_request"
handler403 = "tenants.views.forbidden"
handler404 = "tenants.views.not_found"
handler500 = "tenants.views.server_error"
