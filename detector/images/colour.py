"""From any colours to sRGB, 8 bits a channel."""

import io
from functools import lru_cache

import numpy as np
from PIL import Image, ImageCms

WHITE = (255, 255, 255, 255)

# Colour modes of Pillow that can be made RGB, and the name to count them by.
MODES = {
    "RGB": None,
    "RGBX": None,
    "RGBA": None,
    "RGBa": None,
    "1": "greyscale",
    "L": "greyscale",
    "LA": "greyscale",
    "P": "palette",
    "PA": "palette",
    "CMYK": "CMYK",
    "YCbCr": "YCbCr",
}
# The mode that a profile's colours have, by its colour space (ICC.1:2022, table 19).
_MODES_OF_PROFILES = {"RGB": "RGB", "GRAY": "L", "CMYK": "CMYK"}

# Profiles that are called sRGB differ by that much where their curves are rounded.
SAME = 3  # grey levels
# That of sRGB as a PNG writes it, 1 / 2.2; some programs round it.
SRGB_GAMMA, GAMMA_TOLERANCE = 0.45455, 0.01


def to_srgb(image: Image.Image, coded: bytes) -> tuple[Image.Image, list[str]]:
    """Return a loaded image as RGB, and what was done, in words.

    coded: its file. An ICC profile whose colours differ from sRGB's by more than SAME grey levels
    is applied, by relative colorimetric intent with compensation of the black point. Transparent
    places become white. Raises KeyError for a mode that is not in MODES.
    """
    changes = [MODES[image.mode]] if MODES[image.mode] else []
    clear = image.has_transparency_data
    plain = image.convert("RGBA") if clear else _as(image, "RGB")
    made, more = _by_profile(image, plain)
    changes += more or _undescribed(image, coded)
    if clear:
        lowest, _ = plain.getextrema()[3]
        changes.append("alpha flattened" if lowest < 255 else "opaque alpha dropped")
        if made is not plain:
            made.putalpha(plain.getchannel("A"))
        white = Image.new("RGBA", made.size, WHITE)
        made = Image.alpha_composite(white, made).convert("RGB")
    return made, changes


def _as(image: Image.Image, mode: str) -> Image.Image:
    return image if image.mode == mode else image.convert(mode)


def _by_profile(image: Image.Image, plain: Image.Image) -> tuple[Image.Image, list[str]]:
    """Apply the profile of an image; plain: the image as RGB or RGBA without it."""
    profile = image.info.get("icc_profile")
    if not profile:
        return plain, []
    try:
        mode, transform = _transform(profile)
    except MemoryError:
        raise
    except Exception:  # of every kind, and the profile matters less than the image
        return plain, ["colour profile unreadable"]
    if transform is None:
        return plain, []
    if mode != "RGB" and mode != {"1": "L", "LA": "L"}.get(image.mode, image.mode):
        return plain, ["colour profile unreadable"]  # it is for other colours than the image has
    source = _as(plain, "RGB") if mode == "RGB" else _as(image, mode)
    return transform.apply(source), ["colour profile applied"]


@lru_cache(maxsize=64)
def _transform(profile: bytes) -> tuple[str, ImageCms.ImageCmsTransform | None]:
    """Return the mode that a profile is for and the way to sRGB; None: it is that of sRGB."""
    opened = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    mode = _MODES_OF_PROFILES[opened.profile.xcolor_space.strip()]
    transform = ImageCms.buildTransform(
        opened,
        ImageCms.createProfile("sRGB"),
        mode,
        "RGB",
        ImageCms.Intent.RELATIVE_COLORIMETRIC,
        ImageCms.Flags.BLACKPOINTCOMPENSATION,
    )
    return mode, None if mode != "CMYK" and _is_srgb(mode, transform) else transform


def _is_srgb(mode: str, transform: ImageCms.ImageCmsTransform) -> bool:
    """Tell whether a profile leaves colours all over the cube as they are."""
    levels = np.linspace(0, 255, 9).astype(np.uint8)
    if mode == "L":
        before = np.broadcast_to(levels[None, :, None], (1, 9, 3))
        made = transform.apply(Image.fromarray(levels[None]))
    else:
        before = np.stack(np.meshgrid(levels, levels, levels), axis=-1).reshape(27, 27, 3)
        made = transform.apply(Image.fromarray(before))
    return np.abs(np.asarray(made).astype(int) - before).max() <= SAME


def _undescribed(image: Image.Image, coded: bytes) -> list[str]:
    """Name colours that are described in another way than by an ICC profile, which is not read."""
    other = False
    if image.format == "PNG" and "srgb" not in image.info:
        gamma = image.info.get("gamma", SRGB_GAMMA)
        other = abs(gamma - SRGB_GAMMA) > GAMMA_TOLERANCE or _has_other_code_points(coded)
    elif image.format == "BMP":  # of a header of version 5: embedded or linked
        other = coded[14:18] == b"\x7c\0\0\0" and coded[70:74] in (b"DEBM", b"KNIL")
    return ["colours described in a way that is not read"] if other else []


def _has_other_code_points(coded: bytes) -> bool:
    """Tell whether a PNG has a chunk cICP with other numbers than sRGB's (ITU-T H.273: 1, 13)."""
    place = coded.find(b"cICP", 0, max(coded.find(b"IDAT"), 0))
    return place > 0 and coded[place + 4 : place + 6] != b"\x01\x0d"
