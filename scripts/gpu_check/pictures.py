"""PNG to the PPM that gme-tool reads, with the standard library alone; other formats through Pillow where it is there."""

import struct
import zlib


def read_png(path):
    """Width, height and RGB bytes of a PNG of 8 bits or less without interlacing; transparency lies on white. None: another kind."""
    with open(path, "rb") as file:
        data = file.read()
    if data[:8] != b"\x89PNG\r\n\x1a\n":
        return None
    at, packed, palette, alpha = 8, b"", b"", b""
    while at < len(data):
        (size,), kind = struct.unpack_from(">I", data, at), data[at + 4 : at + 8]
        body = data[at + 8 : at + 8 + size]
        at += size + 12
        if kind == b"IHDR":
            width, height, depth, colour, _, _, interlaced = struct.unpack(">IIBBBBB", body)
        elif kind == b"PLTE":
            palette = body
        elif kind == b"tRNS":
            alpha = body
        elif kind == b"IDAT":
            packed += body
    channels = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}[colour]
    if depth != 8 or interlaced or (alpha and colour != 3):
        return None
    rows = unfilter(zlib.decompress(packed), width * channels, height, channels)
    return width, height, to_rgb(rows, colour, palette, alpha)


def unfilter(raw, stride, height, step):
    out, before = bytearray(), bytearray(stride)
    for y in range(height):
        kind = raw[y * (stride + 1)]
        row = bytearray(raw[y * (stride + 1) + 1 : (y + 1) * (stride + 1)])
        for i in range(stride if kind else 0):
            left = row[i - step] if i >= step else 0
            corner = before[i - step] if i >= step else 0
            row[i] = (row[i] + predict(kind, left, before[i], corner)) & 255
        out += row
        before = row
    return out


def predict(kind, left, up, corner):
    if kind == 1:
        return left
    if kind == 2:
        return up
    if kind == 3:
        return (left + up) // 2
    wanted = left + up - corner
    nearest = min((abs(wanted - left), 0, left), (abs(wanted - up), 1, up), (abs(wanted - corner), 2, corner))
    return nearest[2]


def to_rgb(rows, colour, palette, alpha):
    if colour == 2:
        return bytes(rows)
    if colour == 0:
        return bytes(each for value in rows for each in (value, value, value))
    if colour == 3:
        table = [palette[3 * i : 3 * i + 3] for i in range(len(palette) // 3)]
        table = [on_white(table[i], alpha[i] if i < len(alpha) else 255) for i in range(len(table))]
        return b"".join(table[value] for value in rows)
    if colour == 4:
        return b"".join(on_white((rows[i],) * 3, rows[i + 1]) for i in range(0, len(rows), 2))
    return b"".join(on_white(rows[i : i + 3], rows[i + 3]) for i in range(0, len(rows), 4))


def on_white(rgb, alpha):
    return bytes((each * alpha + 255 * (255 - alpha) + 127) // 255 for each in rgb)


def read_picture(path):
    """Width, height and RGB bytes, or None where nothing here can read the file."""
    picture = read_png(path)
    if picture is not None:
        return picture
    try:
        from PIL import Image
    except ImportError:
        return None
    image = Image.open(path).convert("RGB")
    return image.width, image.height, image.tobytes()


def write_ppm(path, picture):
    width, height, rgb = picture
    with open(path, "wb") as file:
        file.write(f"P6\n{width} {height}\n255\n".encode() + rgb)
