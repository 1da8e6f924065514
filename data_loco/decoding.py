"""One picture file -> one array, or a `DataError` that names the file."""

from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from data_loco.errors import DataError
from data_loco.picture_files import file_bytes

_PNG = b"\x89PNG\r\n\x1a\n"
_JPEG = b"\xff\xd8\xff"
_ORIENTATION = 0x0112
_TURNED = (5, 6, 7, 8)  # EXIF orientations that swap height and width


def read_picture(path: Path) -> np.ndarray:
    """The picture as RGB, uint8 or uint16 [H, W, 3], at its own size.

    Grey becomes three equal channels, alpha is dropped, EXIF orientation is obeyed.

    Raises:
        DataError: the file is missing, empty, truncated, no picture, or not of 8 or 16 bits per channel.
    """
    image = _decode(path, cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH)
    return cv2.cvtColor(image, cv2.COLOR_BGR2RGB)


def read_mask(path: Path) -> np.ndarray:
    """A mask as uint8 [H, W]; palettes and RGB(A) are taken as long as they are grey.

    Raises:
        DataError: as `read_picture`; or the mask is coloured or has more than 8 bits.
    """
    mask = _decode(path, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH)
    if mask.dtype != np.uint8:
        raise DataError(path, f"expected a mask of 8 bits, got {mask.dtype}", "save it as an 8-bit grey PNG")
    if mask.ndim == 3:
        if (mask != mask[..., :1]).any():
            raise DataError(path, "expected a grey mask, got a coloured one", "save it as an 8-bit grey PNG")
        mask = np.ascontiguousarray(mask[..., 0])
    return mask


def read_shape(path: Path) -> tuple[int, int]:
    """(H, W) as `read_picture` would return it, from the header where the format allows it.

    Raises:
        DataError: the file is missing or no picture.
    """
    try:
        with Image.open(path) as header:
            width, height = header.size
            if header.format == "JPEG":
                return (width, height) if header.getexif().get(_ORIENTATION) in _TURNED else (height, width)
            if header.format in ("PNG", "BMP") and "exif" not in header.info:
                return height, width
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        pass  # whatever Pillow cannot open, the decoder judges
    height, width = read_picture(path).shape[:2]
    return height, width


def refuse_truncated(path: Path) -> None:
    """Raises DataError if the file is empty, or a PNG or JPEG without its end; decodes nothing."""
    _refuse_truncated(path, _content(path))


def _decode(path: Path, flags: int) -> np.ndarray:
    content = _content(path)
    _refuse_truncated(path, content)
    try:
        image = cv2.imdecode(content, flags)
    except cv2.error:
        image = None
    if image is None:
        raise DataError(path, "cannot be decoded: damaged, truncated or no picture", "export or copy it again")
    if image.dtype not in (np.uint8, np.uint16):
        reason = f"expected 8 or 16 bits per channel, got {image.dtype}"
        raise DataError(path, reason, "convert it to an 8- or 16-bit PNG")
    return image


def _content(path: Path) -> np.ndarray:
    try:
        content = file_bytes(path)
    except OSError as error:
        raise DataError(path, f"cannot be read ({error.strerror})", "check the path and its permissions") from error
    if not content.size:
        raise DataError(path, "is empty (0 bytes)", "export or copy it again")
    return content


def _refuse_truncated(path: Path, content: np.ndarray) -> None:
    """Some decoders fill the missing rest of a PNG or JPEG with grey and call it a picture."""
    start = content[:8].tobytes()
    if start == _PNG:
        complete = _png_is_complete(content)
    elif start.startswith(_JPEG):
        complete = _jpeg_is_complete(content)
    else:
        return
    if not complete:
        raise DataError(path, "is truncated: the end of the picture is missing", "export or copy it again")


def _png_is_complete(content: np.ndarray) -> bool:
    """Walks the chunks (length, type, data, CRC) to IEND."""
    position = len(_PNG)
    while position + 12 <= content.size:
        length = int.from_bytes(content[position : position + 4].tobytes(), "big")
        if content[position + 4 : position + 8].tobytes() == b"IEND":
            return True
        position += length + 12
    return False


def _jpeg_is_complete(content: np.ndarray) -> bool:
    """Walks the segments to the first scan, after which the end marker must come.

    A thumbnail inside a segment has an end marker of its own, hence the walk; phones append data after the end.
    """
    position = 2
    while position + 4 <= content.size and content[position] == 0xFF:
        marker = content[position + 1]
        if marker == 0xDA:
            return b"\xff\xd9" in content[position:].tobytes()
        length = int.from_bytes(content[position + 2 : position + 4].tobytes(), "big")
        position += 1 if marker == 0xFF else 2 + length
    return position + 4 <= content.size  # a strange segment: the decoder judges
