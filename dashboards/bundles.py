"""Dash's script bundles on URLs with no tenant and no session: open-source code, gzipped, cached for a year."""

from django.http import Http404, HttpRequest, HttpResponse
from django.urls import path
from django.views.decorators.gzip import gzip_page
from django.views.decorators.http import require_safe

from dashboards import bridge, registry


@require_safe
@gzip_page
def dash_bundle(request: HttpRequest, slug: str, path: str) -> HttpResponse:
    """Return one bundle file, or 404."""
    app = registry.find(slug)
    if app is None:
        raise Http404
    return bridge.bundle(app, request, path)


urlpatterns = [path("<slug:slug>/_dash-component-suites/<path:path>", dash_bundle, name="dash-bundle")]
