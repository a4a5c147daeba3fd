"""Every name taken from the host, in one place.

The engine lives in `roboflow_workflows`, in older hosts in `inference.core.workflows`. Where it is
not running yet, the old name is tried first: on a new host it is an alias whose import installs
the server's configuration before the engine can freeze its defaults.

What is not the engine itself (ids of the run, the platform's address) may be missing; those
readers give None then.
"""

from __future__ import annotations

import os
import sys
from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

DEFAULT_API_BASE_URL = "https://api.roboflow.com"

_NEW, _OLD = "roboflow_workflows", "inference.core.workflows"


def _root() -> str:
    if _NEW in sys.modules:
        return _NEW
    try:
        import_module(f"{_OLD}.prototypes.block")
    except ImportError:
        return _NEW
    return _OLD


ROOT = _root()


def _take(module: str, name: str) -> Any:
    return getattr(import_module(f"{ROOT}.{module}"), name)


def _kind(name: str) -> Any:
    """The host's kind, or None if the host is older than the kind."""
    return getattr(import_module(f"{ROOT}.execution_engine.entities.types"), name, None)


WorkflowBlock: Any = _take("prototypes.block", "WorkflowBlock")
WorkflowBlockManifest: Any = _take("prototypes.block", "WorkflowBlockManifest")
OutputDefinition: Any = _take("execution_engine.entities.base", "OutputDefinition")
Selector: Any = _take("execution_engine.entities.types", "Selector")

IMAGE_KIND = _kind("IMAGE_KIND")
BOOLEAN_KIND = _kind("BOOLEAN_KIND")
FLOAT_KIND = _kind("FLOAT_KIND")
INTEGER_KIND = _kind("INTEGER_KIND")
LIST_OF_VALUES_KIND = _kind("LIST_OF_VALUES_KIND")
STRING_KIND = _kind("STRING_KIND")
TIMESTAMP_KIND = _kind("TIMESTAMP_KIND")
TOP_CLASS_KIND = _kind("TOP_CLASS_KIND")
USE_CASE_KIND = _kind("ROBOFLOW_SOLUTION_KIND")


def kinds(*candidates: Any) -> list[Any]:
    """The kinds that this host knows."""
    return [kind for kind in candidates if kind is not None]


#: What trackers produce.
TRACKED_KINDS = kinds(
    _kind("OBJECT_DETECTION_PREDICTION_KIND"),
    _kind("INSTANCE_SEGMENTATION_PREDICTION_KIND"),
    _kind("RLE_INSTANCE_SEGMENTATION_PREDICTION_KIND"),
    _kind("KEYPOINT_DETECTION_PREDICTION_KIND"),
)
#: Everything in the host's core that holds boxes, masks, points or classes.
PREDICTION_KINDS = kinds(
    _kind("OBJECT_DETECTION_PREDICTION_KIND"),
    _kind("INSTANCE_SEGMENTATION_PREDICTION_KIND"),
    _kind("RLE_INSTANCE_SEGMENTATION_PREDICTION_KIND"),
    _kind("SEMANTIC_SEGMENTATION_PREDICTION_KIND"),
    _kind("KEYPOINT_DETECTION_PREDICTION_KIND"),
    _kind("CLASSIFICATION_PREDICTION_KIND"),
    _kind("QR_CODE_DETECTION_KIND"),
    _kind("BAR_CODE_DETECTION_KIND"),
    _kind("ACTION_RECOGNITION_PREDICTION_KIND"),
)


def api_base_url() -> str:
    """The address of the Roboflow API that the host uses now."""
    for module in ("roboflow_workflows.environment", "inference.core.env"):
        address = getattr(sys.modules.get(module), "API_BASE_URL", None)
        if address:
            return str(address)
    return os.environ.get("API_BASE_URL") or DEFAULT_API_BASE_URL


def is_offline() -> bool:
    """Whether the operator has forbidden the host to reach the Roboflow platform."""
    return any(
        bool(getattr(sys.modules.get(module), "OFFLINE_MODE", False))
        for module in ("roboflow_workflows.environment", "inference.core.env")
    )


def execution_id() -> str | None:
    """The id of this run of the engine: one for all pictures of a batch."""
    return _context("inference_sdk.config", "execution_id")


def stream_session_id() -> str | None:
    """The id of the pipeline that runs this, as its cameras are only numbered; None outside one."""
    return _context("inference.usage_tracking.stream_session", "stream_session_id")


def workflow_id() -> str | None:
    """The id of the workflow that an HTTP request names."""
    return _context("inference.core.managers.model_load_collector", "request_workflow_id")


def device_id(platform_client: Any) -> str | None:
    """The id of this device as the host knows it."""
    try:
        found = platform_client.get_device_id()
    except Exception:  # noqa: BLE001 - no client, an older one, or the offline one that refuses
        found = getattr(sys.modules.get("inference.core.env"), "DEVICE_ID", None)
    return str(found) if found else None


def _context(module: str, name: str) -> str | None:
    """A context variable of the host, readable only inside `run()`."""
    variable = getattr(sys.modules.get(module), name, None)
    value = variable.get(None) if variable is not None else None
    return str(value) if value else None


def platform_client(given: Any) -> Any:
    """The host's client for the Roboflow platform, even where the block was given none."""
    try:
        resolve = _take("prototypes.platform_client", "resolve_platform_blocks_client")
    except (ImportError, AttributeError):
        return given
    return resolve(given)


def work_operations(*names: str) -> list[Any]:
    """The host's terms for what a step does. Only a host that asks for them has them."""
    operation = _take("execution_engine.entities.workload", "WorkOperation")
    return [operation(name) for name in names]


def restrictions(step: str, declared: Iterable[dict[str, Any]], *, of_any_host: bool) -> Any:
    """What restricts a step, in the terms of the same hosts: for any host, or for this very one."""
    workload = "execution_engine.entities.workload"
    restriction, runtime = _take(workload, "RuntimeRestriction"), _take(workload, "Runtime")
    soft = _take(workload, "Severity")("soft")  # none keeps a step from running
    return _take("prototypes.block", "actual_restrictions_of")(
        declared=[
            restriction(
                code=each["code"],
                severity=soft,
                note=each["note"],
                applies_to_runtimes=[runtime(name) for name in each["runtimes"]],
            )
            for each in declared
        ],
        node_id=f"$steps.{step}",
        ignore_environment_restrictions=of_any_host,
    )


def describe_block(block_type: str) -> dict[str, Any]:
    """The block as the server's `/workflows/blocks/describe` gives it.

    Raises:
        LookupError: the engine has not loaded the plugin (`WORKFLOWS_PLUGINS`).
    """
    describe = _take("execution_engine.introspection.blocks_loader", "describe_available_blocks")
    for block in describe(dynamic_blocks=[]).blocks:
        if block.manifest_type_identifier == block_type:
            description: dict[str, Any] = block.model_dump(mode="json")
            return description
    raise LookupError(f"the engine knows no block {block_type}; is WORKFLOWS_PLUGINS set?")
