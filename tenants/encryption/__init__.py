"""Encryption of what leaves the process: a data key for each tenant, wrapped by the installation's master key.

`data_key` is the only way to a key. `stream` is the format of an encrypted object.
"""

from tenants.encryption.keys import DataKey, data_key
from tenants.encryption.master import KeyUnavailable

__all__ = ["DataKey", "KeyUnavailable", "data_key"]
