"""What Pillow, the reference's decoder, makes of the pictures of test/hostile/picture-goldens.ts.

    tsx test/hostile/picture-goldens.ts FOLDER
    python test/reference/gen_picture_pixels.py FOLDER > test/fixtures/hostile/picture-pixels.json

Needs Pillow (made with 13.0.0). Each picture is loaded as the reference does, with convert("RGB").
"""
import base64
import json
import pathlib
import sys

import PIL
from PIL import Image

pictures = {}
for path in sorted(pathlib.Path(sys.argv[1]).iterdir()):
    rgb = Image.open(path).convert("RGB")
    pictures[path.name] = {"size": list(rgb.size), "rgb": base64.b64encode(rgb.tobytes()).decode()}
print(json.dumps({"source": f"Pillow {PIL.__version__}, gen_picture_pixels.py", "pictures": pictures}, indent=1))
