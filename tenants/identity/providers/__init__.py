"""Identity providers of tenants: their configuration, log-in by OpenID Connect and SAML, the people and groups they name."""
