"""Tables of what was learnt from which data."""

from models_app.models.datasets import Dataset, DatasetUserPermission, DatasetVersion, IngestState
from models_app.models.registry import Model, ModelVersion, Stage

__all__ = ["Dataset", "DatasetUserPermission", "DatasetVersion", "IngestState", "Model", "ModelVersion", "Stage"]
