"""Pictures of every kind become an upright RGB tensor, or one clear sentence; color maps are what they claim."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from PIL import Image, ImageFile
from torch import Tensor

from normviz import images
from normviz.colors import MISSING, NAMES, SIGNED, colorize, limits, overlay, palette
from normviz.images import decode, encode_png, read_photo, resize_map, to_batch
from normviz.samples import SAMPLES, load_sample
from tests.support.comparison import identical

RED, GREEN, BLUE, WHITE = (255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 255)


def saved(image: Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def halves(width: int = 64, height: int = 32) -> Image.Image:
    """A picture whose left half is red and whose right half is blue."""
    image = Image.new("RGB", (width, height), BLUE)
    image.paste(RED, (0, 0, width // 2, height))
    return image


def color(image: Tensor, row: int, column: int) -> tuple[int, ...]:
    return tuple(image[:, row, column].tolist())


def close(seen: tuple[int, ...], wanted: tuple[int, ...], off: int = 12) -> bool:
    return all(abs(a - b) <= off for a, b in zip(seen, wanted, strict=True))


def png(width: int, height: int, depth: int, kind: int, rows: bytes) -> bytes:
    """A PNG file made by hand: `rows` holds a filter byte and the samples of each row."""

    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    signature = b"\x89PNG\r\n\x1a\n"
    return signature + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


# ------------------------------------------------------------------------------------ the right picture
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM"])
def test_formats(kind: str) -> None:
    image = decode(saved(halves(), kind))
    assert image.dtype == torch.uint8 and image.shape == (3, 32, 64) and image.is_contiguous()
    assert close(color(image, 16, 8), RED) and close(color(image, 16, 56), BLUE)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "TIFF"])
def test_exif_rotation_is_undone(orientation: int, kind: str) -> None:
    upright = np.zeros((32, 64, 3), np.uint8)  # left above red, right above blue, left below green
    upright[:16, :32], upright[:16, 32:], upright[16:, :32] = RED, BLUE, GREEN
    undone = {
        1: upright, 2: upright[:, ::-1], 3: upright[::-1, ::-1], 4: upright[::-1],
        5: upright.transpose(1, 0, 2), 6: np.rot90(upright, 1), 7: upright[::-1, ::-1].transpose(1, 0, 2),
        8: np.rot90(upright, -1),
    }  # fmt: skip
    exif = Image.Exif()
    exif[0x0112] = orientation
    image = decode(saved(Image.fromarray(np.ascontiguousarray(undone[orientation])), kind, exif=exif))
    assert image.shape == (3, 32, 64)
    corners = [color(image, row, column) for row, column in ((6, 10), (6, 54), (26, 10), (26, 54))]
    assert all(close(a, b) for a, b in zip(corners, (RED, BLUE, GREEN, (0, 0, 0)), strict=True)), corners


def test_damaged_exif_data_do_not_hide_the_picture() -> None:
    image = decode(saved(halves(), "WEBP", lossless=True, exif=b"Exif\0\0neither II nor MM"))
    assert image.shape == (3, 32, 64) and color(image, 16, 8) == RED


def test_cmyk() -> None:
    for kind in ("JPEG", "TIFF"):
        image = decode(saved(halves().convert("CMYK"), kind))
        assert close(color(image, 16, 8), RED) and close(color(image, 16, 56), BLUE)


def test_16_bit_gray_is_scaled_not_clipped() -> None:
    ramp = np.linspace(0, 65535, 256).astype(np.uint16)[None].repeat(4, axis=0)  # (4, 256)
    for data in (saved(Image.fromarray(ramp), "PNG"), saved(Image.fromarray(ramp), "TIFF")):
        image = decode(data)
        assert image.shape == (3, 4, 256)
        assert (image[0, 0].int() - torch.arange(256)).abs().max() <= 1
        assert identical(image[0], image[1]) and identical(image[0], image[2])
    big_endian = png(256, 1, 16, 0, b"\0" + ramp[0].astype(">u2").tobytes())
    assert (decode(big_endian)[0, 0].int() - torch.arange(256)).abs().max() <= 1


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        (np.array([[0.0, 0.5, 1.0]], np.float32), [0, 128, 255]),  # white is 1
        (np.array([[0.0, 51.0, 255.0]], np.float32), [0, 51, 255]),  # white is 255
        (np.array([[0, 13107, 65535]], np.int32), [0, 51, 255]),  # white is 65535
        (np.array([[-3.0, -1.0, 2.0]], np.float32), [0, 102, 255]),  # black is the lowest
        (np.array([[0, 100_000, 500_000]], np.int32), [0, 51, 255]),  # white is the highest
        (np.array([[np.nan, 1.0, np.inf]], np.float32), [0, 255, 0]),  # what is no number is black
        (np.array([[7e7, 7e7, 7e7]], np.float32), [0, 0, 0]),  # one value only
    ],
)
def test_32_bit_and_float_gray_is_scaled(values: NDArray[np.float32], expected: list[int]) -> None:
    assert decode(saved(Image.fromarray(values), "TIFF"))[0, 0].tolist() == expected


def test_16_bit_rgb_png() -> None:
    row = np.array([[0, 0, 0], [65535, 0, 0], [0, 32896, 0], [257, 514, 65535]], ">u2")
    image = decode(png(4, 1, 16, 2, b"\0" + row.tobytes()))
    assert image[:, 0].T.tolist() == [[0, 0, 0], [255, 0, 0], [0, 128, 0], [1, 2, 255]]


def test_transparency_is_shown_on_white() -> None:
    palette_image = Image.new("P", (8, 4), 1)
    palette_image.putpalette([*RED, *BLUE, *GREEN])
    palette_image.paste(0, (0, 0, 4, 4))
    for kind in ("PNG", "GIF"):
        image = decode(saved(palette_image, kind, transparency=1))
        assert color(image, 2, 1) == RED and color(image, 2, 6) == WHITE
    half = Image.new("RGBA", (4, 4), (255, 0, 0, 128))
    assert close(color(decode(saved(half, "PNG")), 1, 1), (255, 127, 127), 1)
    gray = Image.new("LA", (4, 4), (0, 64))
    assert close(color(decode(saved(gray, "PNG")), 1, 1), (191, 191, 191), 1)
    keyed = decode(saved(halves(), "PNG", transparency=BLUE))
    assert color(keyed, 16, 8) == RED and color(keyed, 16, 56) == WHITE


@pytest.mark.parametrize("kind", ["GIF", "PNG", "WEBP", "TIFF"])
def test_the_first_frame_of_an_animation(kind: str) -> None:
    frames = [Image.new("RGB", (16, 16), c) for c in (GREEN, RED, BLUE)]
    image = decode(saved(frames[0], kind, save_all=True, append_images=frames[1:]))
    assert close(color(image, 8, 8), GREEN)


def test_black_and_white_and_one_pixel() -> None:
    assert set(decode(saved(halves().convert("1"), "PNG")).flatten().tolist()) == {0, 255}
    assert decode(saved(Image.new("RGB", (1, 1), (9, 8, 7)), "PNG"))[:, 0, 0].tolist() == [9, 8, 7]


@pytest.mark.parametrize("kind", ["PNG", "JPEG"])
def test_a_large_picture_is_reduced(kind: str) -> None:
    image = decode(saved(halves(5000, 2500), kind))
    assert image.shape == (3, 512, 1024)
    assert close(color(image, 250, 100), RED) and close(color(image, 250, 900), BLUE)
    assert decode(saved(halves(4000, 2), "PNG")).shape == (3, 1, 1024)


def test_reducing_averages() -> None:
    checks = (np.indices((2048, 2048)).sum(axis=0) % 2 * 255).astype(np.uint8)
    assert (decode(saved(Image.fromarray(checks), "PNG")).float() - 127.5).abs()[:, 8:-8, 8:-8].max() < 3


def test_a_file_of_40_mb() -> None:
    noise = np.random.default_rng(0).integers(0, 256, (3500, 4000, 3), np.uint8)
    noise[:, :2000, 0] = 255
    data = saved(Image.fromarray(noise), "BMP")
    assert len(data) > 40 * 2**20
    image = decode(data)
    assert image.shape == (3, 896, 1024)
    means = image.float().mean(dim=1)  # (3, 1024)
    assert means[0, :500].min() > 250 and (means[0, 524:] - 127.5).abs().max() < 8


def test_samples() -> None:
    assert next(iter(SAMPLES)) == "chelsea"
    for name in SAMPLES:
        image = decode(load_sample(name))
        assert min(image.shape[1:]) >= 256 and image.float().std() > 10
    assert decode(load_sample("chelsea")).shape == (3, 300, 451)
    with pytest.raises(ValueError, match=r"one of chelsea, .* received 'dog'"):
        load_sample("dog")


# ------------------------------------------------------------------------------------- one clear sentence
def one_sentence(data: bytes, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        decode(data)
    text = str(caught.value)
    assert "\n" not in text and len(text) < 200 and not text.endswith("."), text


def test_no_picture() -> None:
    one_sentence(b"", "the file is empty")
    one_sentence(b"Dear reader, this is a letter." * 9, "not a picture that can be read.*save it as JPEG or PNG")
    one_sentence(b"%PDF-1.7\n" + bytes(99), "not a picture that can be read")
    one_sentence(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "not a picture that can be read")
    one_sentence(b"\0\0\0\x18ftypheic" + bytes(99), "HEIC")
    one_sentence(b"\xff\xd8\xff", "not a picture that can be read, or it is damaged")


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP", "JPEG2000", "PPM"])
@pytest.mark.parametrize("share", [0.02, 0.3, 0.6, 0.9])
def test_truncated(kind: str, share: float) -> None:
    noise = Image.fromarray(np.random.default_rng(1).integers(0, 256, (96, 128, 3), np.uint8))
    data = saved(noise, kind)
    one_sentence(data[: int(len(data) * share)], "damaged")


@pytest.mark.filterwarnings("ignore::UserWarning:PIL")  # as the process does outside of tests
def test_flipped_bytes_never_raise_anything_else() -> None:
    random = np.random.default_rng(2)
    for kind in ("PNG", "JPEG", "GIF", "WEBP", "AVIF", "TIFF", "BMP"):
        data = np.frombuffer(saved(halves(), kind), np.uint8)
        for _ in range(40):
            broken = data.copy()
            broken[random.integers(0, len(data), 4)] = random.integers(0, 256, 4)
            try:
                image = decode(broken.tobytes())
            except ValueError as error:
                assert "\n" not in str(error)
            else:
                assert image.dtype == torch.uint8 and image.shape[0] == 3 and max(image.shape) <= images.LONGEST


def test_no_pixels() -> None:
    one_sentence(png(0, 0, 8, 2, b""), "no pixels|damaged")
    one_sentence(png(0, 7, 8, 2, b""), "no pixels|damaged")
    one_sentence(b"P6 0 0 255\n", "no pixels|damaged")


def never_load(_image: Image.Image) -> None:
    raise AssertionError("the pixels were decoded")


@pytest.mark.parametrize("side", [8400, 12_000, 20_000, 2**31 - 1])
def test_a_decompression_bomb_is_refused_by_its_header(side: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ImageFile.ImageFile, "load", never_load)
    one_sentence(png(side, side, 8, 2, bytes(1000)), "more than 70 million pixels; reduce it")


def test_a_real_decompression_bomb(monkeypatch: pytest.MonkeyPatch) -> None:
    data = saved(Image.new("1", (20_000, 20_000)), "PNG")
    assert len(data) < 2**20
    monkeypatch.setattr(ImageFile.ImageFile, "load", never_load)
    one_sentence(data, "more than 70 million pixels; reduce it")


def test_a_file_that_is_too_large() -> None:
    one_sentence(bytes(images.LARGEST_FILE + 1), "the file has 64 MB, more than 64 MB; reduce")


def test_reading_a_file(tmp_path: Path) -> None:
    path = tmp_path / "letter.jpg"
    path.write_text("Dear reader")
    with pytest.raises(ValueError, match=r"letter\.jpg: the file is not a picture"):
        read_photo(path)
    with pytest.raises(ValueError, match=r"nothing\.png cannot be read: No such file"):
        read_photo(tmp_path / "nothing.png")
    with pytest.raises(ValueError, match="cannot be read: Is a directory"):
        read_photo(tmp_path)
    path.write_bytes(load_sample("chelsea"))
    assert identical(read_photo(str(path)), decode(load_sample("chelsea")))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["letter.jpg"]


# ------------------------------------------------------------------------------- batches, maps and colors
def test_to_batch() -> None:
    image = torch.zeros(3, 40, 80, dtype=torch.uint8)
    image[0, :, 40:] = 255
    batch = to_batch(image, 16)
    assert batch.shape == (1, 3, 16, 16) and batch.dtype == torch.float32
    assert torch.allclose(batch.mean(dim=(0, 2, 3)), torch.tensor([0.5, 0.0, 0.0]), atol=1e-6)
    assert batch[0, 0, :, :7].max() == 0 and batch[0, 0, :, 9:].min() > 1 - 1e-6 and batch.max() <= 1
    stripes = (torch.arange(512) % 2 * 255).to(torch.uint8).expand(3, 64, 512)
    assert (to_batch(stripes, 32)[..., 1:-1] - 0.5).abs().max() < 0.01  # antialiased


def test_resize_map() -> None:
    values = torch.tensor([[0.0, 4.0]])
    assert resize_map(values, (1, 4))[0].tolist() == [0.0, 1.0, 3.0, 4.0]  # cell centers, not corners, stay
    assert identical(resize_map(values, (1, 2)), values)
    with pytest.raises(ValueError, match=r"must be \(h, w\); received shape \(1, 1, 2\)"):
        resize_map(values[None], (1, 4))


def test_png_round_trip() -> None:
    pixels = np.random.default_rng(3).integers(0, 256, (5, 7, 3), np.uint8)
    assert identical(decode(encode_png(pixels)).permute(1, 2, 0).numpy(), pixels)


@pytest.mark.parametrize("name", [n for n in NAMES if n != SIGNED])
def test_color_maps_are_those_of_matplotlib(name: str) -> None:
    matplotlib = pytest.importorskip("matplotlib")
    table = np.array(matplotlib.colormaps[name].colors) * 255
    assert np.abs(palette(name) - table).max() < 4.5


def lightness(name: str) -> NDArray[np.float64]:
    """CIELAB lightness (256,) of a color map."""
    linear = palette(name) / 255.0
    linear = np.where(linear <= 0.04045, linear / 12.92, ((linear + 0.055) / 1.055) ** 2.4)  # (256, 3)
    y = linear @ np.array([0.2126, 0.7152, 0.0722])  # (256,)
    cube_root: NDArray[np.float64] = np.where(y > 216 / 24389, np.cbrt(y), (24389 / 27 * y + 16) / 116)
    return 116 * cube_root - 16


def test_color_maps_grow_lighter() -> None:
    for name in NAMES:
        light = lightness(name)
        if name == SIGNED:
            assert np.abs(light - light[::-1]).max() < 1.5  # both signs weigh the same
            assert light[127] > 96 and (np.diff(light[:128]) > -0.3).all()
        else:
            assert (np.diff(light) > -0.3).all() and light[-1] - light[0] > 60
    with pytest.raises(ValueError, match=r"one of inferno, .* received 'jet'"):
        palette("jet")
    with pytest.raises(ValueError, match="read-only"):
        palette("inferno")[0, 0] = 1


def test_colorize() -> None:
    table = palette("inferno")
    values = np.array([[0.0, 5.0, 10.0], [-1.0, 99.0, np.nan]])
    colors = colorize(values, "inferno", 0, 10)
    assert colors.dtype == np.uint8 and colors.shape == (2, 3, 3)
    assert identical(colors[0], table[[0, 128, 255]]) and identical(colors[1, :2], table[[0, 255]])
    assert colors[1, 2].tolist() == [MISSING] * 3
    assert identical(colorize(torch.zeros(1, 1), "inferno", 0, 0)[0, 0], table[0])
    assert identical(colorize(torch.zeros(1, 1), SIGNED, 0, 0)[0, 0], palette(SIGNED)[128])
    for low, high in ((1.0, 0.0), (0.0, float("nan")), (0.0, float("inf"))):
        with pytest.raises(ValueError, match="finite and in ascending order"):
            colorize(values, "inferno", low, high)


def test_limits() -> None:
    values = torch.tensor([[-3.0, 2.0], [float("nan"), float("inf")]])
    assert limits(values, signed=True) == (-3, 3) and limits(values, signed=False) == (0, 2)
    assert limits(-values.abs(), signed=False) == (0, 0) and limits(torch.zeros(2, 2), signed=True) == (0, 0)


PHOTO = torch.arange(96, dtype=torch.uint8).view(3, 4, 8)


def test_an_overlay_mixes_the_photo_with_the_colors_of_the_resized_map() -> None:
    values = torch.tensor([[0.0, 2.0]])
    assert identical(np.array(overlay(PHOTO, values, 0.0)), PHOTO.permute(1, 2, 0).numpy())
    full = np.array(overlay(PHOTO, values, 1.0, "viridis"))
    assert identical(full, colorize(resize_map(values, (4, 8)), "viridis", 0, 2))
    assert (full[:, 0] == palette("viridis")[0]).all() and (full[0, -1] == palette("viridis")[255]).all()
    half = np.array(overlay(PHOTO, values, 0.5, "viridis")).astype(int)
    assert np.abs(half - (full.astype(int) + PHOTO.permute(1, 2, 0).numpy()) / 2).max() <= 0.5


def test_an_overlay_of_a_signed_map_is_symmetric_about_white() -> None:
    drawn = np.array(overlay(PHOTO, torch.tensor([[-1.0, 4.0]]), 1.0))
    assert identical(drawn, colorize(resize_map(torch.tensor([[-1.0, 4.0]]), (4, 8)), SIGNED, -4, 4))
    scaled = np.array(overlay(PHOTO, torch.tensor([[1.0, 4.0]]), 1.0, SIGNED, (-8, 8)))
    assert (scaled[0, -1] == palette(SIGNED)[round(127.5 * 1.5)]).all()


@pytest.mark.parametrize(
    "photo",
    [PHOTO.permute(1, 2, 0).contiguous().numpy(), Image.fromarray(PHOTO.permute(1, 2, 0).contiguous().numpy())],
    ids=["array", "PIL"],
)
def test_an_overlay_takes_every_kind_of_photo(photo: Any) -> None:
    values = torch.rand(2, 3, generator=torch.Generator().manual_seed(0))
    expected = np.array(overlay(PHOTO, values))
    for heatmap in (values, values[None], values.numpy(), values.requires_grad_()):
        assert identical(np.array(overlay(photo, heatmap)), expected)


def test_an_overlay_sums_color_channels() -> None:
    colors = torch.randn(1, 3, 4, 8, generator=torch.Generator().manual_seed(0))
    expected = np.array(overlay(PHOTO, colors[0].sum(dim=0)))
    assert identical(np.array(overlay(PHOTO, colors)), expected)
    assert identical(np.array(overlay(PHOTO, colors[0])), expected)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((PHOTO, torch.ones(2, 2), 1.5), r"opacity must be from 0 to 1; received 1\.5"),
        ((PHOTO, torch.ones(2, 2), 0.5, "jet"), "color map must be one of inferno, .*; received 'jet'"),
        ((PHOTO.float(), torch.ones(2, 2)), r"photo must be a uint8 tensor .*; received torch\.float32 of shape"),
        ((PHOTO[None], torch.ones(2, 2)), r"received torch\.uint8 of shape \(1, 3, 4, 8\)"),
        ((PHOTO, torch.ones(2, 5, 5)), r"heatmap must be \(h, w\), .*; received shape \(2, 5, 5\)"),
    ],
)
def test_an_overlay_refuses_other_inputs(arguments: tuple[Any, ...], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        overlay(*arguments)
