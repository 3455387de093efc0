"""Encryption of stored files: a data key for each tenant, wrapped by the installation's master key.

Keys come only from `data_key`. `stream` is the format of an encrypted object.
"""

from tenants.encryption.keys import DataKey, data_key
from tenants.encryption.master import KeyUnavailable

__all__ = ["DataKey", "KeyUnavailable", "data_key"]
