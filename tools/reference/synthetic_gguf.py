#!/usr/bin/env python3
"""Random GGUF files of Gemma 4 shape, with every key, tensor name and type that a real file has.

    synthetic_gguf.py --shape SHAPE --recipe f16|q8_0|q4_0|q4_k_m --vocab VOCABULARY.gguf [--seed N] OUT.gguf

Small shapes (nano, micro, moe-nano, moe-micro) serve the tests; e2b, e4b and 26b have the true sizes, to measure
memory and speed without the published weights. Each matrix has a standard deviation of about 1 / sqrt(inputs) and mean
zero. Norms and layer scalars are one; with --rough they are not, so that a reader who drops or swaps one is caught.
Tokenizer keys come from VOCABULARY.gguf, cut to --n-vocab tokens for small shapes. Needs numpy; the same seed gives the
same bytes.
"""
import argparse, struct, sys, time, math
import numpy as np

GGML = dict(F32=(0,1,4), F16=(1,1,2), Q4_0=(2,32,18), Q8_0=(8,32,34), Q4_K=(12,256,144),
            Q5_K=(13,256,176), Q6_K=(14,256,210), BF16=(30,1,2))
FTYPE = dict(f32=0, f16=1, q4_0=2, q8_0=7, q4_k_m=15, bf16=32)

SHAPES = {
 # small ones for tests: E-series (nano, micro, tiny) and 26B-like (moe-nano, moe-micro); micro widths are multiples of 256 for K-quants
 'nano': dict(n_layer=10, n_embd=64, n_ff=96, n_head=4, n_kv_swa=1, n_kv_full=1, hd_swa=16, hd_full=32,
              n_pl=32, n_shared=5, wide=True, window=8, p=5, ctx=2048, k_eq_v=False),
 'micro': dict(n_layer=4, n_embd=256, n_ff=256, n_head=4, n_kv_swa=1, n_kv_full=1, hd_swa=64, hd_full=128,
              n_pl=256, n_shared=2, wide=True, window=8, p=2, ctx=2048, k_eq_v=False),
 'moe-nano': dict(n_layer=6, n_embd=64, n_ff=96, n_head=4, n_kv_swa=2, n_kv_full=1, hd_swa=16, hd_full=32,
              n_pl=0, n_shared=0, wide=False, window=8, p=3, ctx=2048, k_eq_v=True, n_expert=8, n_used=2, n_ff_exp=32),
 'moe-micro': dict(n_layer=2, n_embd=256, n_ff=256, n_head=4, n_kv_swa=2, n_kv_full=1, hd_swa=64, hd_full=128,
              n_pl=0, n_shared=0, wide=False, window=8, p=2, ctx=2048, k_eq_v=True, n_expert=4, n_used=2, n_ff_exp=64),
 # sliding pattern p: every p-th layer is full attention
 'tiny': dict(n_layer=10, n_embd=256, n_ff=512, n_head=4, n_kv_swa=1, n_kv_full=1, hd_swa=64, hd_full=128,
              n_pl=256, n_shared=5, wide=True, window=64, p=5, ctx=2048, k_eq_v=False),
 'e2b':  dict(n_layer=35, n_embd=1536, n_ff=6144, n_head=8, n_kv_swa=1, n_kv_full=1, hd_swa=256, hd_full=512,
              n_pl=256, n_shared=20, wide=True, window=512, p=5, ctx=131072, k_eq_v=False),
 'e4b':  dict(n_layer=42, n_embd=2560, n_ff=10240, n_head=8, n_kv_swa=2, n_kv_full=2, hd_swa=256, hd_full=512,
              n_pl=256, n_shared=18, wide=False, window=512, p=6, ctx=131072, k_eq_v=False),
 '26b':  dict(n_layer=30, n_embd=2816, n_ff=2112, n_head=16, n_kv_swa=8, n_kv_full=2, hd_swa=256, hd_full=512,
              n_pl=0, n_shared=0, wide=False, window=1024, p=6, ctx=262144, k_eq_v=True,
              n_expert=128, n_used=8, n_ff_exp=704),
 '26b-1l': dict(n_layer=6, n_embd=2816, n_ff=2112, n_head=16, n_kv_swa=8, n_kv_full=2, hd_swa=256, hd_full=512,
              n_pl=0, n_shared=0, wide=False, window=1024, p=6, ctx=262144, k_eq_v=True,
              n_expert=128, n_used=8, n_ff_exp=704),
}
SMALL = ('nano', 'micro', 'tiny', 'moe-nano', 'moe-micro')
# ---------------------------------------------------------------- random blocks
def f16(x): return np.asarray(x, np.float16)
def blocks(rng, ty, n, sigma):
    """n elements of type ty as bytes; standard deviation sigma, mean zero"""
    t, bl, sz = GGML[ty]; nb = n//bl
    if ty == 'F32': return (rng.standard_normal(n, np.float32)*np.float32(sigma)).tobytes()
    if ty == 'F16': return (rng.standard_normal(n, np.float32)*np.float32(sigma)).astype(np.float16).tobytes()
    if ty == 'BF16':
        u = (rng.standard_normal(n, np.float32)*np.float32(sigma)).view(np.uint32)
        return ((u + 0x8000) >> 16).astype(np.uint16).tobytes()
    out = np.frombuffer(bytearray(rng.bytes(nb*sz)), np.uint8).reshape(nb, sz)
    sgn = (rng.integers(0,2,nb)*2-1).astype(np.float32) * rng.uniform(.75,1.25,nb).astype(np.float32)
    def put(col, x): out[:, col:col+2] = f16(x).view(np.uint8).reshape(nb,2)
    if ty == 'Q4_0': put(0, sgn*sigma/4.61)
    elif ty == 'Q8_0': put(0, sgn*sigma/73.9)
    elif ty == 'Q6_K':   # ql[128] qh[64] scales i8[16] d
        sc = out[:, 192:208].view(np.int8)
        sc[:] = np.where(sc >= 0, 64 + (sc & 63), -64 - (sc & 63)).astype(np.int8)
        put(208, sgn*sigma/(18.5*97))
    elif ty in ('Q4_K','Q5_K'):  # d dmin scales[12] ...
        qm, qs = (7.5, 4.61) if ty == 'Q4_K' else (15.5, 9.23)
        s = rng.integers(32, 64, (nb, 8)).astype(np.uint8)     # sc == m
        b = out[:, 4:16]
        b[:, 0:4] = (s[:, 0:4] & 63) | ((s[:, 4:8] >> 4) << 6)
        b[:, 4:8] = (s[:, 0:4] & 63) | ((s[:, 4:8] >> 4) << 6)
        b[:, 8:12] = (s[:, 4:8] & 15) | ((s[:, 4:8] & 15) << 4)
        d = sgn*sigma/(qs*48); put(0, d); put(2, d*qm)
    else: raise SystemExit(ty)
    return out.tobytes()
# ---------------------------------------------------------------- GGUF reading of the vocabulary file
def rd(f, fmt): n = struct.calcsize('<'+fmt); return struct.unpack('<'+fmt, f.read(n))[0]
def rs(f): return f.read(rd(f,'Q'))
T = {0:'B',1:'b',2:'H',3:'h',4:'I',5:'i',6:'f',7:'?',10:'Q',11:'q',12:'d'}
def rv(f, t):
    if t == 8: return rs(f)
    if t == 9:
        et = rd(f,'I'); n = rd(f,'Q')
        if et == 8: return (et, [rs(f) for _ in range(n)])
        s = struct.calcsize('<'+T[et]); return (et, list(struct.unpack('<%d%s'%(n,T[et]), f.read(n*s))))
    return rd(f, T[t])
def read_kv(path):
    f = open(path,'rb'); assert f.read(4) == b'GGUF' and rd(f,'I') == 3
    rd(f,'Q'); nk = rd(f,'Q'); kv = {}
    for _ in range(nk):
        k = rs(f).decode(); t = rd(f,'I'); kv[k] = (t, rv(f,t))
    return kv
# ---------------------------------------------------------------- GGUF writing
def ws(s): s = s if isinstance(s,bytes) else s.encode(); return struct.pack('<Q',len(s))+s
def wv(t, v):
    if t == 8: return ws(v)
    if t == 9:
        et, xs = v; h = struct.pack('<IQ', et, len(xs))
        return h + (b''.join(ws(x) for x in xs) if et == 8 else struct.pack('<%d%s'%(len(xs),T[et]), *xs))
    return struct.pack('<'+T[t], v)
U32,I32,F32,BOOL,STR,ARR = 4,5,6,7,8,9

def cut_vocab(kv, n_keep):
    """small vocabulary for the tiny shape: control tokens, bytes, single characters, first merges"""
    toks = kv['tokenizer.ggml.tokens'][1][1]; typ = kv['tokenizer.ggml.token_type'][1][1]; mer = kv['tokenizer.ggml.merges'][1][1]
    keep = [i for i in range(len(toks)) if typ[i] != 1 or i < 238 and not toks[i].startswith(b'<unused')]
    have = {toks[i] for i in keep}
    idx = {t:i for i,t in enumerate(toks)}
    for c in [bytes([b]) for b in range(32,127)] + ['▁'.encode(), b'\n', b'\t']:
        if c in idx and c not in have: keep.append(idx[c]); have.add(c)
    mm = []
    for m in mer:
        p = m.find(b' ',1); a,b = m[:p], m[p+1:]
        if a in have and b in have:
            if a+b not in have:
                if len(keep) >= n_keep: continue
                keep.append(idx[a+b]); have.add(a+b)
            mm.append(m)
    low = sorted(i for i in keep if i < 255999); high = sorted(i for i in keep if i >= 255999)
    ids = low + high; new = {o:n for n,o in enumerate(ids)}
    kv['tokenizer.ggml.tokens'] = (ARR,(STR,[toks[i] for i in ids]))
    kv['tokenizer.ggml.token_type'] = (ARR,(I32,[typ[i] for i in ids]))
    kv['tokenizer.ggml.scores'] = (ARR,(F32,[-1000.0]*len(ids)))
    kv['tokenizer.ggml.merges'] = (ARR,(STR,mm))
    return len(ids)

def main():
    ap = argparse.ArgumentParser(); ap.add_argument('out'); ap.add_argument('--shape', default='tiny')
    ap.add_argument('--recipe', default='q4_0'); ap.add_argument('--vocab', required=True)
    ap.add_argument('--seed', type=int, default=4); ap.add_argument('--n-vocab', type=int, default=4096)
    ap.add_argument('--embd-type', default=None, help='type of token_embd'); ap.add_argument('--ple-type', default=None)
    ap.add_argument('--proj-type', default='BF16'); ap.add_argument('--rough', action='store_true')
    a = ap.parse_args(); S = SHAPES[a.shape]; rng = np.random.Generator(np.random.SFC64(a.seed)); t0 = time.time()
    vkv = read_kv(a.vocab); tok = {k:v for k,v in vkv.items() if k.startswith('tokenizer.')}
    nv = cut_vocab(tok, a.n_vocab) if a.shape in SMALL else len(tok['tokenizer.ggml.tokens'][1][1])
    L = S['n_layer']; swa = [(i+1) % S['p'] != 0 for i in range(L)]; first_shared = L - S['n_shared']
    ff = [S['n_ff']*(2 if S['wide'] and i >= first_shared else 1) for i in range(L)]
    nkv = [S['n_kv_swa'] if s else S['n_kv_full'] for s in swa]; hd = [S['hd_swa'] if s else S['hd_full'] for s in swa]
    E, H, P = S['n_embd'], S['n_head'], S['n_pl']
    kv = {}
    def K(k,t,v): kv[k] = (t,v)
    K('general.architecture',STR,'gemma4'); K('general.type',STR,'model'); K('general.name',STR,'random gemma4 %s'%a.shape)
    K('general.file_type',U32,FTYPE[a.recipe]); K('general.quantization_version',U32,2)
    g='gemma4.'; K(g+'block_count',U32,L); K(g+'context_length',U32,S['ctx']); K(g+'embedding_length',U32,E)
    if S['wide']: K(g+'feed_forward_length',ARR,(I32,ff))
    else: K(g+'feed_forward_length',U32,S['n_ff'])
    K(g+'attention.head_count',U32,H)
    if len(set(nkv)) > 1: K(g+'attention.head_count_kv',ARR,(I32,nkv))
    else: K(g+'attention.head_count_kv',U32,nkv[0])
    K(g+'rope.freq_base',F32,1e6); K(g+'rope.freq_base_swa',F32,1e4); K(g+'attention.layer_norm_rms_epsilon',F32,1e-6)
    K(g+'attention.key_length',U32,S['hd_full']); K(g+'attention.value_length',U32,S['hd_full'])
    K(g+'attention.key_length_swa',U32,S['hd_swa']); K(g+'attention.value_length_swa',U32,S['hd_swa'])
    K(g+'final_logit_softcapping',F32,30.0); K(g+'attention.sliding_window',U32,S['window'])
    K(g+'attention.shared_kv_layers',U32,S['n_shared']); K(g+'embedding_length_per_layer_input',U32,P)
    K(g+'attention.sliding_window_pattern',ARR,(BOOL,swa))
    K(g+'rope.dimension_count',U32,S['hd_full']); K(g+'rope.dimension_count_swa',U32,S['hd_swa'])
    if 'n_expert' in S:
        K(g+'expert_count',U32,S['n_expert']); K(g+'expert_used_count',U32,S['n_used']); K(g+'expert_feed_forward_length',U32,S['n_ff_exp'])
    kv.update(tok)
    # ---- types as llama-quantize picks them
    R = a.recipe; base = dict(q4_0='Q4_0', q8_0='Q8_0', q4_k_m='Q4_K', f16='F16', bf16='BF16')[R]
    head = {'q4_0':'Q6_K','q4_k_m':'Q6_K'}.get(R, base)     # tied head: token_embd and per_layer_token_embd
    more = lambda i,n: i < n//8 or i >= 7*n//8 or (i - n//8) % 3 == 2
    def ty(name, n_in, i=None):
        t = base
        if R == 'q4_k_m' and (name.endswith('attn_v.weight') and more(i, n_v) or name.endswith('ffn_down.weight') and more(i, L)): t = 'Q6_K'
        if n_in % GGML[t][1]: t = {'Q4_K':'Q5_0','Q6_K':'Q8_0'}.get(t, 'F16') if False else 'Q8_0'
        return t
    n_v = sum(1 for i in range(L) if i < first_shared and not (S['k_eq_v'] and not swa[i]))
    ten = []   # name, dims (ggml order), type, sigma or ('const',v) or ('rope',)
    def W(name, dims, t, sigma): ten.append((name, dims, t, sigma))
    def N(name, n): ten.append((name, [n], 'F32', ('one',)))
    W('token_embd.weight', [E, nv], a.embd_type or head, 1/math.sqrt(E))
    if P:
        W('per_layer_token_embd.weight', [P*L, nv], a.ple_type or head, 1/math.sqrt(P))
        W('per_layer_model_proj.weight', [E, P*L], a.proj_type, 1/math.sqrt(E)); N('per_layer_proj_norm.weight', P)
    N('output_norm.weight', E); ten.append(('rope_freqs.weight', [S['hd_full']//2], 'F32', ('rope',)))
    iv = 0
    for i in range(L):
        b = 'blk.%d.' % i; N(b+'attn_norm.weight', E)
        W(b+'attn_q.weight', [E, hd[i]*H], ty('q',E), 1/math.sqrt(E)); N(b+'attn_q_norm.weight', hd[i])
        if i < first_shared:
            W(b+'attn_k.weight', [E, hd[i]*nkv[i]], ty('k',E), 1/math.sqrt(E)); N(b+'attn_k_norm.weight', hd[i])
            if not (S['k_eq_v'] and not swa[i]):
                W(b+'attn_v.weight', [E, hd[i]*nkv[i]], ty(b+'attn_v.weight',E,iv), 1/math.sqrt(E)); iv += 1
        W(b+'attn_output.weight', [hd[i]*H, E], ty('o',hd[i]*H), 1/math.sqrt(hd[i]*H)); N(b+'post_attention_norm.weight', E)
        N(b+'ffn_norm.weight', E)
        W(b+'ffn_gate.weight', [E, ff[i]], ty('g',E), 1/math.sqrt(E)); W(b+'ffn_up.weight', [E, ff[i]], ty('u',E), 1/math.sqrt(E))
        W(b+'ffn_down.weight', [ff[i], E], ty(b+'ffn_down.weight',ff[i],i), 1/math.sqrt(ff[i])); N(b+'post_ffw_norm.weight', E)
        if 'n_expert' in S:
            X, FE = S['n_expert'], S['n_ff_exp']
            W(b+'ffn_gate_inp.weight', [E, X], 'F32', 1/math.sqrt(E)); ten.append((b+'ffn_gate_inp.scale', [E], 'F32', ('one',)))
            N(b+'pre_ffw_norm_2.weight', E); N(b+'post_ffw_norm_1.weight', E); N(b+'post_ffw_norm_2.weight', E)
            W(b+'ffn_gate_up_exps.weight', [E, 2*FE, X], ty('gu',E), 1/math.sqrt(E))
            W(b+'ffn_down_exps.weight', [FE, E, X], ty('d',FE), 1/math.sqrt(FE)); ten.append((b+'ffn_down_exps.scale', [X], 'F32', ('one',)))
        if P:
            W(b+'inp_gate.weight', [E, P], ty('ig',E), 1/math.sqrt(E)); W(b+'proj.weight', [P, E], ty('pr',P), 1/math.sqrt(P)); N(b+'post_norm.weight', E)
        ten.append((b+'layer_output_scale.weight', [1], 'F32', ('one',)))
    # ---- write
    hdr = b'GGUF' + struct.pack('<IQQ', 3, len(ten), len(kv))
    hdr += b''.join(ws(k)+struct.pack('<I',t)+wv(t,v) for k,(t,v) in kv.items())
    off = 0; infos = []; tot = {}
    for name, dims, t, s in ten:
        gt, bl, sz = GGML[t]; n = math.prod(dims); assert dims[0] % bl == 0, (name, dims, t); nb = n//bl*sz
        infos.append(ws(name)+struct.pack('<I',len(dims))+struct.pack('<%dQ'%len(dims),*dims)+struct.pack('<IQ',gt,off))
        off += (nb+31)//32*32; tot[t] = tot.get(t,0)+nb
    hdr += b''.join(infos); hdr += b'\0'*(-len(hdr) % 32)
    with open(a.out,'wb') as f:
        f.write(hdr)
        for name, dims, t, s in ten:
            gt, bl, sz = GGML[t]; n = math.prod(dims); nb = n//bl*sz
            if isinstance(s, tuple):
                x = np.ones(n, np.float32)
                if s[0] == 'rope': x[int(S['hd_full']*0.25/2):] = 1e30
                elif a.rough: x = rng.uniform(.6, 1.2, n).astype(np.float32) if name.endswith('layer_output_scale.weight') else 1 + .2*rng.standard_normal(n, np.float32)
                f.write(x.tobytes())
            else:
                step = 1 << 24; step -= step % bl
                for o in range(0, n, step): f.write(blocks(rng, t, min(step, n-o), s))
            f.write(b'\0'*(-nb % 32))
    print('%s: %d tensors, vocabulary %d, %.1f MiB in %.1f s; bytes by type: %s' % (a.out, len(ten), nv, (len(hdr)+off)/2**20, time.time()-t0,
          {k:'%.1f MiB'%(v/2**20) for k,v in sorted(tot.items())}))

if __name__ == '__main__': main()
