"""The same work through PyTorch and transformers in bf16: Qwen2-VL modules of the same shape, random weights.

torch_peer.py SHAPE WORKS BATCHES DEVICE prints a line of JSON per work and batch; torch_peer.py peak DEVICE a large product's speed.
Only the model's forward pass is timed: tokens and pixels lie on the device already, which favours this side.
"""

import json
import sys
import time


def say(**values):
    print(json.dumps(values), flush=True)


try:
    import torch
except ImportError:
    say(note="PyTorch is not installed: nothing to compare with")
    sys.exit(0)

IMAGE_TOKEN = 151_655


def synchronise(device):
    if device == "cuda":
        torch.cuda.synchronize()


def timed(device, work, seconds=1.0):
    """Median seconds of a call."""
    work()
    synchronise(device)
    times = []
    while not times or (sum(times) < seconds and len(times) < 50):
        start = time.perf_counter()
        work()
        synchronise(device)
        times.append(time.perf_counter() - start)
    return sorted(times)[len(times) // 2]


def peak(device):
    best = 0
    for n in (8192, 16384) if device == "cuda" else (256,):
        a, b = (torch.randn(n, n, device=device, dtype=torch.float16) for _ in range(2))
        best = max(best, 2 * n**3 / timed(device, lambda a=a, b=b: a @ b))
    say(peak=best, torch=torch.__version__)


def make_model(shape, device):
    from transformers import Qwen2VLConfig
    from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLModel

    sys.path.insert(0, __file__.rsplit("/", 2)[0])
    from gpu_check.model_file import SHAPES

    (width, layers, heads, heads_kv, feed_forward), sections, (v_width, v_layers, v_heads), vocabulary = SHAPES[shape]
    vocabulary = max(vocabulary, 151_936)
    text = {
        "hidden_size": width,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": heads_kv,
        "intermediate_size": feed_forward,
        "vocab_size": vocabulary,
        "rope_theta": 1e6,
        "rope_scaling": {"type": "mrope", "mrope_section": list(sections)},
        "use_cache": False,
    }
    vision = {"embed_dim": v_width, "depth": v_layers, "num_heads": v_heads, "hidden_size": width, "mlp_ratio": 4, "patch_size": 14}
    config = Qwen2VLConfig(text_config=text, vision_config=vision, image_token_id=IMAGE_TOKEN, attn_implementation="sdpa")
    torch.set_default_dtype(torch.bfloat16)
    with torch.device(device):
        return Qwen2VLModel(config).eval()


def make_inputs(model, work, batch, device):
    if work == "texts":
        n_image, grid, n = 0, None, 70
    else:
        n_image = int(work.split("-")[1])
        rows = max(i for i in range(1, int(n_image**0.5) + 1) if n_image % i == 0)
        grid = torch.tensor([[1, 2 * rows, 2 * (n_image // rows)]] * batch, device=device)
        n = n_image + 30
    ids = torch.randint(1000, 50_000, (batch, n), device=device)
    ids[:, 10 : 10 + n_image] = IMAGE_TOKEN
    positions = torch.arange(n, device=device).expand(3, batch, n)
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids), "position_ids": positions, "use_cache": False}
    if n_image:
        pixels = torch.randn(batch * 4 * n_image, 3 * 2 * 14 * 14, device=device, dtype=torch.bfloat16)
        inputs |= {"pixel_values": pixels, "image_grid_thw": grid}
    return inputs, n * batch


def bench(shape, works, batches, device):
    import transformers

    model = make_model(shape, device)
    say(note=f"torch {torch.__version__}, transformers {transformers.__version__}, bf16, sdpa")
    for work in works.split(","):
        for batch in map(int, batches.split(",")):
            try:
                inputs, n_tokens = make_inputs(model, work, batch, device)
                with torch.inference_mode():
                    seconds = timed(device, lambda inputs=inputs: model(**inputs).last_hidden_state[:, -1])
            except torch.OutOfMemoryError:
                say(note=f"{work}, batch {batch}: no memory")
                torch.cuda.empty_cache()
                break
            say(work=work, batch=batch, ms=1e3 * seconds, itemsPerSecond=batch / seconds, tokens=n_tokens)


def main():
    if sys.argv[1] == "peak":
        return peak(sys.argv[2])
    try:
        import transformers  # noqa: F401
    except ImportError:
        return say(note="transformers is not installed: nothing to compare with")
    return bench(*sys.argv[1:5])


main()
