"""Rendered photographs of three classes of metal parts, with exact masks, in the layout of MVTec LOCO AD."""

from data_loco.metal_parts.picture import METAL_PARTS, Region, render_picture
from data_loco.metal_parts.writer import Counts, render_class

__all__ = ["METAL_PARTS", "Counts", "Region", "render_class", "render_picture"]
