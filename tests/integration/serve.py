"""The host's stock HTTP server, without models: `uvicorn --app-dir tests/integration serve:app`."""

from inference.core.env import MAX_ACTIVE_MODELS
from inference.core.interfaces.http.http_api import HttpInterface
from inference.core.managers.base import ModelManager
from inference.core.managers.decorators.fixed_size_cache import WithFixedSizeCache
from inference.core.registries.roboflow import RoboflowModelRegistry
from inference.models.utils import ROBOFLOW_MODEL_TYPES

models = ModelManager(model_registry=RoboflowModelRegistry(ROBOFLOW_MODEL_TYPES))
app = HttpInterface(WithFixedSizeCache(models, max_size=MAX_ACTIVE_MODELS)).app
