"""One run as one self-contained HTML page, and the pictures it is made of."""

from ensemble_ad.report.choice import choose_pictures
from ensemble_ad.report.page import PictureRow, RunReport, write_report
from ensemble_ad.report.pictures import contact_sheet, heat_map, normal_scale, overlay

__all__ = [
    "PictureRow",
    "RunReport",
    "choose_pictures",
    "contact_sheet",
    "heat_map",
    "normal_scale",
    "overlay",
    "write_report",
]
