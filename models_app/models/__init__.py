"""Tables of datasets, models, and serving."""

from models_app.models.datasets import Dataset, DatasetUserPermission, DatasetVersion, IngestState
from models_app.models.health import Feedback, HealthAlert, HealthWindow
from models_app.models.registry import Model, ModelVersion, Stage
from models_app.models.serving import Endpoint, EndpointKey, EndpointState, ServingSlice

__all__ = [
    "Dataset", "DatasetUserPermission", "DatasetVersion", "Endpoint", "EndpointKey", "EndpointState", "Feedback",
    "HealthAlert", "HealthWindow", "IngestState", "Model", "ModelVersion", "ServingSlice", "Stage",
]  # fmt: skip
