"""Pages of identity providers: those of the settings, and the log-in for people who are not logged in yet."""

from django.urls import URLPattern, path

from tenants.views.providers import log_in, settings

urlpatterns: list[URLPattern] = [
    path("sso/", log_in.log_in, name="provider-log-in"),
    path("sso/callback/", log_in.callback, name="provider-callback"),
    path("sso/acs/", log_in.acs, name="provider-acs"),
    path("sso/finish/", log_in.finish, name="provider-finish"),
    path("sso/metadata/", log_in.metadata, name="provider-metadata"),
    path("sso/join/", log_in.ask_to_join, name="provider-join"),
    path("identity-provider/", settings.provider, name="provider"),
    path("identity-provider/save/", settings.provider_save, name="provider-save"),
    path("identity-provider/remove/", settings.provider_remove, name="provider-remove"),
    path("identity-provider/require/", settings.provider_require, name="provider-require"),
    path("identity-provider/leavers/", settings.provider_leavers, name="provider-leavers"),
    path("identity-provider/test/", settings.provider_test, name="provider-test"),
    path("identity-provider/domains/", settings.domain_add, name="domain-add"),
    path("identity-provider/domains/<uuid:domain_id>/verify/", settings.domain_verify, name="domain-verify"),
    path("identity-provider/domains/<uuid:domain_id>/remove/", settings.domain_remove, name="domain-remove"),
    path("identity-provider/tokens/", settings.scim_token_create, name="scim-token-create"),
    path("identity-provider/tokens/<uuid:token_id>/revoke/", settings.scim_token_revoke, name="scim-token-revoke"),
    path("identity-provider/groups/", settings.group_map, name="group-map"),
    path("identity-provider/groups/<uuid:mapping_id>/unmap/", settings.group_unmap, name="group-unmap"),
    path("identity-provider/people/<uuid:identity_id>/unlink/", settings.identity_unlink, name="identity-unlink"),
]
