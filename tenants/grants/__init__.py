"""Operations on rights: grants, a tenant's own roles, groups, service accounts."""
