"""Nodes for ComfyUI.

The host looks for these two names in a folder of ``custom_nodes``; ``comfyui/`` of the repository
is such a folder.
"""

from photovax.integrations.comfyui.nodes import (
    NODE_CLASS_MAPPINGS,
    NODE_DISPLAY_NAME_MAPPINGS,
)

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
