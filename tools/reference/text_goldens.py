#!/usr/bin/env python3
"""Goldens of the text decoder: tiny random checkpoints, and every intermediate result of the reference for them.

    text_goldens.py OUT [NAME...]    writes OUT/NAME/{config.json, model.safetensors, golden.safetensors, meta.json}

The reference is the published implementation (transformers) in float32 with eager attention, run on the checkpoint as
read back from disk. Needs torch 2.9.1 and transformers 5.24.0: with these, the same bytes come out every time.
tools/make_goldens says how to install them and puts the results where the tests look. Shapes and cases follow the
specification of the decoder; the meaning of each tap is written to meta.json.
"""
import json
import pathlib
import shutil
import sys

import torch
import transformers
from safetensors.torch import save_file
from transformers import (
    DynamicCache, Gemma4Config, Gemma4ForCausalLM,
    Gemma4ForConditionalGeneration, Gemma4TextConfig, Gemma4UnifiedConfig, Gemma4UnifiedForConditionalGeneration,
    Gemma4UnifiedTextConfig,
)

S, F = "sliding_attention", "full_attention"
IMAGE, AUDIO, VIDEO = 100, 101, 102  # placeholder ids of the tiny vocabulary
PLACEHOLDER = {1: IMAGE, 2: VIDEO, 3: AUDIO}
SPECIAL_IDS = dict(image_token_id=IMAGE, audio_token_id=AUDIO, video_token_id=VIDEO, boi_token_id=103, eoi_token_id=104,
                   boa_token_id=105, eoa_token_index=106)

COMMON = dict(
    hidden_activation="gelu_pytorch_tanh", rms_norm_eps=1e-6, final_logit_softcapping=30.0, tie_word_embeddings=True,
    attention_bias=False, attention_dropout=0.0, initializer_range=0.2, use_cache=True, pad_token_id=0, eos_token_id=1,
    bos_token_id=2, max_position_embeddings=256, attention_k_eq_v=False, num_kv_shared_layers=0, use_double_wide_mlp=False,
    hidden_size_per_layer_input=0, enable_moe_block=False, use_bidirectional_attention=None,
    rope_parameters={S: {"rope_type": "default", "rope_theta": 10000.0},
                     F: {"rope_type": "proportional", "partial_rotary_factor": 0.25, "rope_theta": 1000000.0}})

TINY = dict(vocab_size=128, vocab_size_per_layer_input=128, hidden_size=96, num_hidden_layers=6, num_attention_heads=4,
            num_key_value_heads=2, head_dim=16, global_head_dim=32, sliding_window=4)
E = TINY | dict(intermediate_size=128, layer_types=[S, S, F, S, S, F], num_kv_shared_layers=3, use_double_wide_mlp=True,
                hidden_size_per_layer_input=8)
MOE = TINY | dict(intermediate_size=64, layer_types=[S, S, F, S, S, F], num_global_key_value_heads=1,
                  attention_k_eq_v=True, enable_moe_block=True, num_experts=8, top_k_experts=2, moe_intermediate_size=32,
                  use_bidirectional_attention="vision")
DENSE = TINY | dict(intermediate_size=160, layer_types=[S, S, S, S, S, F], num_global_key_value_heads=1,
                    attention_k_eq_v=True, use_bidirectional_attention="vision")
WIDE = E | dict(vocab_size=512, vocab_size_per_layer_input=512, hidden_size=256, intermediate_size=256, head_dim=64,
                global_head_dim=128, hidden_size_per_layer_input=256, num_hidden_layers=3, layer_types=[S, F, F],
                num_kv_shared_layers=1, num_key_value_heads=1)

TRUE_HEADS = dict(hidden_size=256, vocab_size=256, vocab_size_per_layer_input=256, head_dim=256, global_head_dim=512, num_hidden_layers=4,
                  layer_types=[S, F, S, F], sliding_window=32)
HEADS_E = E | TRUE_HEADS | dict(intermediate_size=256, num_attention_heads=2, num_key_value_heads=1, hidden_size_per_layer_input=256,
                                num_kv_shared_layers=2)
HEADS_MOE = MOE | TRUE_HEADS | dict(intermediate_size=160, num_attention_heads=4, num_key_value_heads=2, moe_intermediate_size=96,
                                    num_experts=4, num_hidden_layers=2, layer_types=[S, F])

TARGETS = {  # name: (seed, wrapper, text keys, how to save)
    "tiny-e": (11, "multimodal", E, {}),
    "tiny-e-mqa": (55, "text", E | dict(num_key_value_heads=1), {}),
    "tiny-e4": (13, "text", E | dict(use_double_wide_mlp=False), {}),
    "tiny-e-bf16": (11, "multimodal", E, dict(dtype=torch.bfloat16)),
    "tiny-moe": (47, "multimodal", MOE, {}),
    "tiny-moe-sharded": (47, "multimodal", MOE, dict(max_shard_size="400KB")),
    "tiny-dense": (15, "multimodal", DENSE, {}),
    "tiny-unified": (16, "unified", DENSE, {}),
    "wide": (17, "text", WIDE, dict(dtype=torch.bfloat16)),
    "wide-e": (18, "text", HEADS_E, dict(dtype=torch.bfloat16, qk_norm=0.4)),  # wide heads: keep the softmax from saturating
    "wide-moe": (19, "text", HEADS_MOE, dict(dtype=torch.bfloat16, qk_norm=0.4)),
}
FLAT_SPELLING = ("tiny-e", "tiny-moe")

ABOUT = {
    "input_ids": "i64[T]", "embed": "f32[T,H] layer-0 input: scaled token embeddings, or inputs_embeds where given",
    "ple": "f32[T,L,P] per-layer inputs as the layers receive them",
    "layer.{i}.attn_out": "f32[T,H] output of o_proj, before post_attention_layernorm",
    "layer.{i}.out": "f32[T,H] output of the layer, after layer_scalar",
    "layer.{i}.k / .v": "f32[T,nkv,hd] as cached (k after norm and RoPE, v after norm), storing layers only",
    "layer.{i}.router": "f32[T,E] softmax over all experts",
    "layer.{i}.experts / .expert_weights": "i32[T,k] / f32[T,k] in order of falling probability; weights include per_expert_scale",
    "final_norm": "f32[T,H]", "logits": "f32[T,V] after the softcap",
}


# ---- building ----------------------------------------------------------------------------------------------------

def build(wrapper, keys):
    keys = COMMON | keys
    if wrapper == "unified":
        absent = ("hidden_size_per_layer_input", "vocab_size_per_layer_input", "enable_moe_block")
        text = Gemma4UnifiedTextConfig(**{k: v for k, v in keys.items() if k not in absent})
        config = Gemma4UnifiedConfig(text_config=text, vision_config=None, audio_config=None, **SPECIAL_IDS)
        return Gemma4UnifiedForConditionalGeneration(config)
    text = Gemma4TextConfig(**keys)
    if wrapper == "text":
        return Gemma4ForCausalLM(text)
    return Gemma4ForConditionalGeneration(Gemma4Config(text_config=text, vision_config=None, audio_config=None, **SPECIAL_IDS))


@torch.no_grad()
def randomise(model, seed):
    """Gives every tensor values that show whether it is used, and used in the right place."""
    random = torch.Generator().manual_seed(seed)
    done = set()
    for name, tensor in list(model.named_parameters()) + list(model.named_buffers()):
        if tensor.data_ptr() in done or "inv_freq" in name or name.endswith("embed_scale"):
            continue
        done.add(tensor.data_ptr())
        if name.endswith("token_ordering"):
            tensor.copy_(torch.randperm(len(tensor), generator=random))
        elif name.endswith("layer_scalar"):
            tensor.uniform_(0.3, 1.2, generator=random)
        elif name.endswith("per_expert_scale"):
            tensor.uniform_(0.5, 2.0, generator=random)
        elif name.endswith((".model.norm.weight", "language_model.norm.weight")) or name == "model.norm.weight":
            tensor.uniform_(3.0, 9.0, generator=random)  # logits large enough for the softcap to bend
        elif name.endswith(("q_norm.weight", "k_norm.weight")):
            tensor.uniform_(0.3, 1.1, generator=random)  # attention that is neither flat nor one-hot
        elif name.endswith(".embed_tokens.weight"):
            tensor.normal_(0, 0.6 * tensor.shape[1] ** -0.5, generator=random)  # else the last token predicts itself for ever
        elif name.endswith("router.proj.weight"):
            tensor.normal_(0, 1.0, generator=random)  # experts that differ in weight
        elif "norm" in name or name.endswith("router.scale"):
            tensor.uniform_(0.5, 1.5, generator=random)
        elif name.endswith("per_layer_input_gate.weight"):
            tensor.normal_(0, 0.06, generator=random)  # a few wide gates would all be closed now and then: ill-conditioned
        else:
            spread = 0.15 + 0.15 * torch.rand((), generator=random).item()
            tensor.normal_(0, spread, generator=random)
    return model.eval()


def load(model_class, folder, dtype=torch.float32):
    return model_class.from_pretrained(folder, dtype=dtype, attn_implementation="eager", experts_implementation="eager").eval()


# ---- running -----------------------------------------------------------------------------------------------------

def decoder_of(model):
    return getattr(model.model, "language_model", model.model)


@torch.no_grad()
def run(model, **inputs):
    """One forward pass over a whole sequence: every tap, without the batch axis."""
    decoder, taps, handles, ple = decoder_of(model), {}, [], []

    def keep(name):
        return lambda module, arguments, output: taps.__setitem__(name, output[0].clone())

    def layer_input(i):
        def hook(module, arguments):
            if i == 0:
                taps["embed"] = arguments[0][0].clone()
            if len(arguments) > 1 and arguments[1] is not None:
                ple.append(arguments[1][0].clone())
        return hook

    def routing(i):
        def hook(module, arguments, output):
            taps[f"layer.{i}.router"], taps[f"layer.{i}.expert_weights"] = output[0].clone(), output[1].clone()
            taps[f"layer.{i}.experts"] = output[2].int()
        return hook

    for i, layer in enumerate(decoder.layers):
        handles += [layer.register_forward_pre_hook(layer_input(i)), layer.register_forward_hook(keep(f"layer.{i}.out")),
                    layer.self_attn.o_proj.register_forward_hook(keep(f"layer.{i}.attn_out"))]
        if hasattr(layer, "router"):
            handles.append(layer.router.register_forward_hook(routing(i)))
    handles.append(decoder.norm.register_forward_hook(keep("final_norm")))

    cache = DynamicCache()  # keeps every row of every layer, unlike the windowed one that generation uses
    output = model(**{k: v[None] if isinstance(v, torch.Tensor) else v for k, v in inputs.items()}, cache=cache, use_cache=True)
    for handle in handles:
        handle.remove()
    taps["logits"] = output.logits[0]
    if ple:
        taps["ple"] = torch.stack(ple, dim=1)
    for i, layer in enumerate(cache.layers):
        taps[f"layer.{i}.k"], taps[f"layer.{i}.v"] = layer.keys[0].transpose(0, 1), layer.values[0].transpose(0, 1)
    return taps


@torch.no_grad()
def in_chunks(model, ids, sizes):
    """Logits of the same sequence computed piecewise with the windowed cache of generation."""
    cache, logits = DynamicCache(config=model.config), []
    for piece in torch.split(ids, sizes):
        logits.append(model(input_ids=piece[None], cache=cache, use_cache=True).logits[0])
    return torch.cat(logits)


@torch.no_grad()
def greedy(model, prompt, count):
    """Returns ids and the smallest distance between the best two logits on the way. Stop tokens do not stop."""
    cache, ids, gap = DynamicCache(config=model.config), [], float("inf")
    step = prompt
    for _ in range(count):
        logits = model(input_ids=step[None], cache=cache, use_cache=True).logits[0, -1]
        best = logits.topk(2)
        gap = min(gap, (best.values[0] - best.values[1]).item())
        ids.append(best.indices[0].item())
        step = best.indices[:1]
    return torch.tensor(ids), gap


# ---- cases -------------------------------------------------------------------------------------------------------

def text_ids(random, count, vocabulary):
    """bos and then ordinary ids below vocabulary."""
    ids = torch.randint(3, vocabulary, (count,), generator=random)
    ids[0] = 2
    return ids


def varied_prompt(model, random, vocabulary, count=32, attempts=60):
    """The prompt with the most varied continuation without a near-tie, its continuation and the smallest gap on the way.

    Placeholder ids are avoided: the multimodal classes embed them as pad, also when they were generated.
    """
    best = None
    for _ in range(attempts):
        prompt = text_ids(random, 9, vocabulary)
        ids, gap = greedy(model, prompt, count)
        variety = len(set(ids.tolist()))
        if gap > 0.02 and not set(ids.tolist()) & set(PLACEHOLDER.values()) and (best is None or variety > best[0]):
            best = variety, prompt, ids, gap
        if best and best[0] >= 0.4 * count:
            break
    return best[1:]


def multimodal_inputs(model, random, types):
    """Ids with placeholders and layer-0 inputs with random soft tokens merged in."""
    decoder = decoder_of(model)
    types = torch.tensor(types)
    ids = text_ids(random, len(types), IMAGE)
    for kind, placeholder in PLACEHOLDER.items():
        ids[types == kind] = placeholder
    with torch.no_grad():
        embeds = decoder.embed_tokens(torch.where(types > 0, 0, ids))
    soft = torch.randn(embeds.shape, generator=random) * 1.5
    return ids, torch.where(types[:, None] > 0, soft, embeds), types


def image_masks(types, window, bound_right):
    """Additive masks with the overlay on sliding layers only, bounded by the window on one or both sides."""
    types = torch.as_tensor(types)
    inside = (types == 1) | (types == 2)
    begins = inside & ~torch.cat([torch.tensor([False]), inside[:-1]])
    block = torch.where(inside, begins.cumsum(0) - 1, -1)
    q, k = torch.arange(len(types))[:, None], torch.arange(len(types))[None]
    same = (block[:, None] == block[None]) & (block[:, None] >= 0)
    sliding = ((k <= q) | same) & (q - k < window) & ((k - q < window) | (not bound_right))
    additive = lambda visible: torch.zeros(visible.shape).masked_fill(~visible, torch.finfo(torch.float32).min)[None, None]
    return {F: additive(k <= q), S: additive(sliding)}


def image_cases(model, random, window):
    long_image = [0] * 4 + [1] * (window + 3) + [0] * 3 + [1] * (window - 1) + [0] + [3] * 3 + [0] * 2 + [2] * 2 + [0] + [2] * 3 + [0] * 3
    short_images = [0] * 3 + [1] * window + [0] * 2 + [1] * 2 + [0] * 2 + [3] * 4 + [0] + [2] * 2 + [0] * 3
    own_masks = not isinstance(model, Gemma4UnifiedForConditionalGeneration)
    for name, types in {"image_mask": long_image, "image_short": short_images}.items():
        ids, embeds, types = multimodal_inputs(model, random, types)
        given = {"input_ids": ids, "inputs_embeds": embeds, "mm_token_type_ids": types}
        own = run(model, inputs_embeds=embeds, mm_token_type_ids=types)
        explicit = run(model, inputs_embeds=embeds, attention_mask=image_masks(types, window, bound_right=False))
        assert own_masks == (relative(own["logits"], explicit["logits"]) < 1e-6)
        yield name, given | explicit
        if name == "image_mask":
            bounded = run(model, inputs_embeds=embeds, attention_mask=image_masks(types, window, bound_right=True))
            yield "image_bounded", given | {tap: value for tap, value in bounded.items() if tap.endswith((".out", "final_norm", "logits"))}
            if not own_masks:
                yield "image_both_types", given | {"logits": own["logits"]}


def soft_token_case(model, random):
    ids, embeds, types = multimodal_inputs(model, random, [0] * 3 + [1] * 6 + [0] * 2 + [3] * 3 + [0] + [2] * 2 + [0] * 4)
    with torch.no_grad():
        tokens = decoder_of(model).get_per_layer_inputs(torch.where(types > 0, 0, ids)[None])[0]
    return {"input_ids": ids, "inputs_embeds": embeds, "mm_token_type_ids": types} | run(
        model, inputs_embeds=embeds, per_layer_inputs=tokens, mm_token_type_ids=types)


def relative(a, b):
    return ((a - b).abs().max() / b.abs().max()).item()


def target_cases(model, seed, wrapper):
    """All cases of a decoder, and what meta.json says of them."""
    random = torch.Generator().manual_seed(seed + 1000)
    config = decoder_of(model).config
    window, vocabulary = config.sliding_window, config.vocab_size if wrapper == "text" else IMAGE
    cases, notes = {}, {}
    for name, length in {"prefill": max(20, 3 * window + 2), "long": 100}.items():
        ids = text_ids(random, length, vocabulary)
        cases[name] = {"input_ids": ids} | run(model, input_ids=ids)
        logits = cases[name]["logits"]
        steps = [window + 3] + [1] * (length - window - 3)
        if name == "long":
            cases[name] = {tap: value for tap, value in cases[name].items() if not tap.endswith(("attn_out", "embed", "ple"))}
        notes[name] = {
            "max_relative_difference_token_by_token": relative(in_chunks(model, ids, steps), logits),
            "max_relative_difference_chunks_of_5": relative(in_chunks(model, ids, 5), logits)}
    prompt, ids, gap = varied_prompt(model, random, vocabulary)
    cases["greedy"] = {"prompt": prompt, "ids": ids}
    notes["greedy"] = {"smallest_gap_of_best_two_logits": gap, "distinct_ids": len(set(ids.tolist())),
                       "stop_tokens": "ignored"}
    if wrapper == "unified":
        suppressed = sorted({*ids[3:12:4].tolist(), *PLACEHOLDER.values(), SPECIAL_IDS["eoi_token_id"], SPECIAL_IDS["eoa_token_index"]})
        ids = model.generate(prompt[None], attention_mask=torch.ones_like(prompt)[None], max_new_tokens=32, do_sample=False,
                             eos_token_id=None, pad_token_id=0, suppress_tokens=suppressed)[0, len(prompt):]
        cases["suppressed"] = {"prompt": prompt, "suppress_tokens": torch.tensor(suppressed), "ids": ids}
        notes["suppressed"] = "greedy with suppress_tokens, given to the generation call"
    if wrapper != "text" and config.use_bidirectional_attention == "vision":
        cases.update(image_cases(model, random, window))
        notes["image_mask"] = "one image is longer than the window; overlay on sliding layers, bounded on the left only: the reference's form"
        notes["image_bounded"] = "same inputs; bounded on both sides, by a mask given to the reference"
        notes["image_short"] = "no block longer than the window: both forms agree"
        if wrapper == "unified":
            notes["image_mask"] += ", by a mask given to it (see image_both_types)"
            notes["image_both_types"] = ("same inputs; what this class computes by itself: overlay on full layers too and not bounded by the"
                                         " window on sliding ones. Its own generation masks contradict it")
    if wrapper != "text" and getattr(config, "hidden_size_per_layer_input", 0):
        cases["soft_tokens"] = soft_token_case(model, random)
        notes["soft_tokens"] = "placeholders of all three kinds; PLE looks up pad for them; the mask stays causal"
    if getattr(config, "enable_moe_block", False):
        notes["smallest_router_gap"] = min(router_gap(value, config.top_k_experts) for case in cases.values()
                                           for tap, value in case.items() if tap.endswith(".router"))
    return cases, notes


def router_gap(probabilities, top_k):
    """Smallest difference in probability between the last expert chosen and the first one left out."""
    ordered = probabilities.sort(descending=True).values
    return (ordered[:, top_k - 1] - ordered[:, top_k]).min().item()


def bf16_error(folder, model_class, cases):
    """How far the reference run in bf16 is from the reference in fp32 on the same bf16 weights."""
    model = load(model_class, folder, torch.bfloat16)
    return {name: relative(run(model, input_ids=cases[name]["input_ids"])["logits"].float(), cases[name]["logits"])
            for name in ("prefill", "long")}


def flat_config(config):
    """The same configuration in the older spelling."""
    flat = json.loads(json.dumps(config))
    text = flat.get("text_config", flat)
    overrides = list(text.pop("per_layer_config").values())
    text["global_head_dim"] = overrides[0]["head_dim"]
    text["num_global_key_value_heads"] = overrides[0].get("num_key_value_heads")
    return flat


# ---- writing -----------------------------------------------------------------------------------------------------

def write(folder, cases, meta):
    flat = {f"{case}.{tap}": value.clone().contiguous() for case, taps in cases.items() for tap, value in taps.items()}
    save_file(flat, folder / "golden.safetensors")
    meta = {"transformers": transformers.__version__, "torch": torch.__version__, "reference": "fp32, eager attention"} | meta
    (folder / "meta.json").write_text(json.dumps(meta, indent=1) + "\n")
    for file in folder.iterdir():
        file.chmod(0o644)


def make_target(out, name, seed, wrapper, keys, saving):
    folder = fresh(out / name)
    model = randomise(build(wrapper, keys), seed)
    with torch.no_grad():
        for parameter, tensor in model.named_parameters():
            if parameter.endswith(("q_norm.weight", "k_norm.weight")):
                tensor.mul_(saving.get("qk_norm", 1.0))
    if "dtype" in saving:
        model = model.to(saving["dtype"])
    model.save_pretrained(folder, **{k: v for k, v in saving.items() if k == "max_shard_size"})
    model = load(type(model), folder)
    cases, notes = target_cases(model, seed, wrapper)
    if "dtype" in saving:
        notes["max_relative_logit_error_of_the_reference_in_bf16"] = bf16_error(folder, type(model), cases)
    if "max_shard_size" in saving:  # the same model as tiny-moe: one case is enough
        cases, notes = {"prefill": cases["prefill"]}, {"prefill": notes["prefill"]}
    write(folder, cases, {"seed": seed, "class": type(model).__name__, "taps": ABOUT, "cases": notes})
    return folder


def fresh(folder):
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    return folder


def main(out, wanted):
    torch.set_num_threads(1)
    for name, (seed, wrapper, keys, saving) in TARGETS.items():
        if not wanted or name in wanted:
            folder = make_target(out, name, seed, wrapper, keys, saving)
            if name in FLAT_SPELLING:
                config = json.loads((folder / "config.json").read_text())
                flat = flat_config(config)
                assert Gemma4Config(**flat).to_dict() == Gemma4Config(**config).to_dict()
                (folder / "config_flat.json").write_text(json.dumps(flat, indent=2) + "\n")
            print(name)


if __name__ == "__main__":
    main(pathlib.Path(sys.argv[1]), sys.argv[2:])
