"""PyTorch with transformers: the decoder of GME-2B's shape, random weights, float32.

torch_worker.py THREADS; reads lines [tokens of each text], answers with the number of vectors and the first of them.
The time does not depend on the weights or on which tokens they are, so both are drawn at random.
"""

import json
import sys

import torch
from transformers import Qwen2VLTextConfig
from transformers.models.qwen2_vl.modeling_qwen2_vl import Qwen2VLTextModel

torch.set_num_threads(int(sys.argv[1]))
config = Qwen2VLTextConfig(
    hidden_size=1536,
    intermediate_size=8960,
    num_hidden_layers=28,
    num_attention_heads=12,
    num_key_value_heads=2,
    vocab_size=151936,
    rope_theta=1e6,
    rope_scaling={"type": "default", "mrope_section": [16, 24, 24]},
    use_cache=False,
)
with torch.device("meta"):
    model = Qwen2VLTextModel(config)
model = model.to_empty(device="cpu").eval()
torch.manual_seed(1)
with torch.no_grad():
    for parameter in model.parameters():
        parameter.uniform_(-0.03, 0.03)
    # Buffers of the meta device hold nothing: the rotary frequencies are made anew.
    model.rotary_emb = type(model.rotary_emb)(config)

print(json.dumps("ready"), flush=True)
for line in sys.stdin:
    lengths = json.loads(line)
    ids = torch.randint(1000, 50000, (len(lengths), max(lengths)))
    mask = torch.arange(max(lengths)) < torch.tensor(lengths)[:, None]
    with torch.inference_mode():
        states = model(input_ids=ids, attention_mask=mask.long()).last_hidden_state
        vectors = torch.nn.functional.normalize(states[torch.arange(len(lengths)), torch.tensor(lengths) - 1], dim=-1)
    print(json.dumps({"vectors": len(vectors), "first": vectors[0].tolist()}), flush=True)
