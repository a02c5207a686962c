"""The golden cases on the device: against the reference's vectors in f32, against the processor's in f16."""

import hashlib
import json
import math
import os
import struct

from .pictures import read_picture, write_ppm
from .steps import run

F32_GATE = 1e-4
F16_GATE = 1e-4


def read_vectors(path):
    with open(path, "rb") as file:
        data = file.read()
    (size,) = struct.unpack_from("<Q", data)
    header = json.loads(data[8 : 8 + size])
    vectors = {}
    for name, entry in header.items():
        if name != "__metadata__":
            begin, end = entry["data_offsets"]
            vectors[name] = struct.unpack_from(f"<{(end - begin) // 4}f", data, 8 + size + begin)
    return vectors


def escape(text):
    return text.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")


def distance(a, b):
    """1 - cosine"""
    dot = math.fsum(x * y for x, y in zip(a, b, strict=True))
    return 1 - dot / math.sqrt(math.fsum(x * x for x in a) * math.fsum(y * y for y in b))


class Cases:
    """Cases whose pictures can be read here, as a list for gme-tool."""

    def __init__(self, cases, pictures, folder, tokens_max):
        self.kept, self.left_out, self.lines = [], [], []
        read = {}
        for case in cases:
            name = case.get("image")
            if case.get("n_image_tokens", 0) > tokens_max:
                self.left_out.append((case["id"], f"more than {tokens_max} image tokens"))
                continue
            if name and name not in read:
                picture = read_picture(os.path.join(pictures, name))
                wanted = case.get("decoded_rgb_sha256")
                if picture and wanted and hashlib.sha256(picture[2]).hexdigest() != wanted:
                    picture = None
                read[name] = picture and os.path.join(folder, f"{name}.ppm")
                if picture:
                    write_ppm(read[name], picture)
            if name and not read[name]:
                self.left_out.append((case["id"], f"{name} is not read here as the reference reads it"))
                continue
            self.kept.append(case)
            self.lines.append(self.line(case, read[name] if name else ""))

    @staticmethod
    def line(case, picture):
        text, instruction = case.get("text"), case.get("instruction")
        fields = [str(int(text is not None)), escape(text or ""), picture, str(int(instruction is not None)), escape(instruction or "")]
        return "\t".join(fields) + "\n"


def embed(tool, model, arguments, cases, folder, limit):
    listed, target = os.path.join(folder, "cases.tsv"), os.path.join(folder, "vectors.f32")
    with open(listed, "w", encoding="utf-8", newline="") as file:
        file.writelines(cases.lines)
    run([*tool, model, *arguments, "--cases", listed, "--vectors", target], limit)
    with open(target, "rb") as file:
        data = file.read()
    width = len(data) // 4 // len(cases.kept)
    return {case["id"]: struct.unpack_from(f"<{width}f", data, 4 * width * i) for i, case in enumerate(cases.kept)}


def report(title, gate, found, wanted, left_out):
    distances = {name: distance(vector, wanted[name]) for name, vector in found.items()}
    worst = max(distances, key=distances.get)
    passed = math.isfinite(distances[worst]) and distances[worst] <= gate
    print(f"  {title}: {len(found)} vectors, worst 1 - cosine {distances[worst]:.1e} ({worst}), {'ok' if passed else 'NOT OK'}")
    for reason in dict.fromkeys(reason for _, reason in left_out):
        print(f"    left out, {reason}: {sum(each == reason for _, each in left_out)}")
    return {"title": title, "vectors": len(found), "worst": distances[worst], "case": worst, "passed": passed, "leftOut": left_out}


def check_reference(root, tool, device, folder, limit, tokens_max, pictures_max):
    results = []
    for model in ("tiny-a", "tiny-b"):
        fixtures = os.path.join(root, "test", "fixtures")
        with open(os.path.join(fixtures, model, "cases.json"), encoding="utf-8") as file:
            cases = json.load(file)["cases"]
        wanted = read_vectors(os.path.join(fixtures, model, "vectors.safetensors"))
        files = [os.path.join(fixtures, "gguf", f"{part}{model}-f32.gguf") for part in ("", "mmproj-")]
        for positions in ("sequential", "mrope"):
            of = [case for case in cases if case["positions"] == positions]
            of = [case for case in of if not case.get("image")] + [case for case in of if case.get("image")][:pictures_max]
            chosen = Cases(of, os.path.join(fixtures, "images"), folder, tokens_max)
            if not chosen.kept:
                continue
            arguments = ["--mmproj", files[1], *(["--mrope"] if positions == "mrope" else []), *device]
            found = embed(tool, files[0], arguments, chosen, folder, limit)
            results.append(report(f"{model}, f32, {positions}, with the reference", F32_GATE, found, wanted, chosen.left_out))
    return results


def check_processor(root, tool, device, folder, limit, pictures_max):
    model = os.path.join(root, "models", "emoji-tiny-f16.gguf")
    with open(os.path.join(root, "test", "fixtures", "emoji-tiny", "cases.json"), encoding="utf-8") as file:
        cases = json.load(file)["cases"]
    pictures = [case for case in cases if case["image"]][:pictures_max]
    texts = [case for case in cases if not case["image"]]
    chosen = Cases([*texts, *pictures], os.path.join(root, "models", "emoji-tiny", "samples"), folder, 1280)
    here = embed(tool, model, ["--device", "cpu"], chosen, folder, limit)
    there = embed(tool, model, device, chosen, folder, limit)
    return [report("demonstration model, f16, with the processor", F16_GATE, there, here, chosen.left_out)]
