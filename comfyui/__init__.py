"""photovax as a custom node of ComfyUI: copy or link this folder into its ``custom_nodes``."""

from photovax.integrations.comfyui import NODE_CLASS_MAPPINGS, NODE_DISPLAY_NAME_MAPPINGS

__all__ = ["NODE_CLASS_MAPPINGS", "NODE_DISPLAY_NAME_MAPPINGS"]
