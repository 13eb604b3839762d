"""The Domino training step of `vkdomino bench step` in PyTorch, to stand beside it.

Same shapes, random weights and features, frozen embedding and LM head, one micro-batch. Modes:
  flex+fused       flex_attention with a block mask; gradients of the head made with its loss, chunk by chunk
  sdpa+fused       attention with a dense mask, the head as above
  sdpa+checkpoint  attention with a dense mask; the head's chunks computed anew in the backward pass
On a torch without scaled_dot_product_attention sdpa is written out.
"""
import argparse
import json
import statistics
import time

import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.checkpoint import checkpoint

PRESETS = {
    "specforge": dict(hidden=4096, inter=12288, layers=5, heads=32, kv=8, dim=128, vocab=151936, feats=5, block=16,
                      anchors=256, length=768, batch=2, gru=1024, emb=256, mask=151669, optimizer=False),
    "toy": dict(hidden=256, inter=768, layers=2, heads=4, kv=2, dim=64, vocab=4096, feats=2, block=8,
                anchors=32, length=128, batch=1, gru=64, emb=64, mask=4095, optimizer=True),
}
EPS, THETA, GAMMA, LAMBDA = 1e-6, 1e6, 7.0, 0.5


class Norm(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(n))

    def forward(self, x):
        if hasattr(F, "rms_norm"):
            return F.rms_norm(x, (x.shape[-1],), self.weight, EPS)
        return x * torch.rsqrt(x.float().pow(2).mean(-1, keepdim=True) + EPS).to(x.dtype) * self.weight


def linear(n_in, n_out):
    return nn.Linear(n_in, n_out, bias=False)


def rotate(x, cos, sin):
    a, b = x.chunk(2, -1)
    return x * cos + torch.cat((-b, a), -1) * sin


class Layer(nn.Module):
    def __init__(self, c):
        super().__init__()
        q, kv = c["heads"] * c["dim"], c["kv"] * c["dim"]
        self.c = c
        self.before, self.after = Norm(c["hidden"]), Norm(c["hidden"])
        self.q, self.k, self.v, self.o = linear(c["hidden"], q), linear(c["hidden"], kv), linear(c["hidden"], kv), linear(q, c["hidden"])
        self.qn, self.kn = Norm(c["dim"]), Norm(c["dim"])
        self.gate, self.up, self.down = linear(c["hidden"], c["inter"]), linear(c["hidden"], c["inter"]), linear(c["inter"], c["hidden"])

    def forward(self, x, context, cos, sin, attend):
        c, b, rows = self.c, x.shape[0], x.shape[1]
        h = self.before(x)
        both = torch.cat((context, h), 1)
        q = self.qn(self.q(h).view(b, rows, c["heads"], c["dim"])).transpose(1, 2)
        k = self.kn(self.k(both).view(b, -1, c["kv"], c["dim"])).transpose(1, 2)
        v = self.v(both).view(b, -1, c["kv"], c["dim"]).transpose(1, 2)
        q, k = rotate(q, cos[:, :, -rows:], sin[:, :, -rows:]), rotate(k, cos, sin)
        x = x + self.o(attend(q, k, v).transpose(1, 2).reshape(b, rows, -1))
        h = self.after(x)
        return x + self.down(F.silu(self.gate(h)) * self.up(h))


class Draft(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.fc, self.fc_norm = linear(c["feats"] * c["hidden"], c["hidden"]), Norm(c["hidden"])
        self.layers = nn.ModuleList(Layer(c) for _ in range(c["layers"]))
        self.norm = Norm(c["hidden"])
        self.gru = nn.GRU(c["hidden"], c["gru"], batch_first=True, bias=False)
        self.w1, self.w2 = linear(c["hidden"] + c["gru"], c["emb"]), linear(c["emb"], c["vocab"])


def dense_attention(mask):
    """Attention with a mask [B, 1, Q, K], True where a key counts."""
    if hasattr(F, "scaled_dot_product_attention"):
        def attend(q, k, v):
            n = q.shape[1] // k.shape[1]
            return F.scaled_dot_product_attention(q, k.repeat_interleave(n, 1), v.repeat_interleave(n, 1), attn_mask=mask)
        return attend
    bias = torch.zeros(mask.shape).masked_fill(~mask, -1e30)

    def plain(q, k, v):
        n = q.shape[1] // k.shape[1]
        s = q @ k.repeat_interleave(n, 1).transpose(-1, -2) * q.shape[-1] ** -0.5 + bias
        return s.softmax(-1) @ v.repeat_interleave(n, 1)
    return plain


class FusedLoss(torch.autograd.Function):
    """Sum of coef * ((1-L) CE(base + act W2^T) + L CE(base)), base = z LM^T, with its gradients, chunk by chunk."""

    @staticmethod
    def forward(ctx, z, act, w2, lm, label, coef, chunk):
        dz, dact, dw2, total = torch.empty_like(z), torch.empty_like(act), torch.zeros_like(w2, dtype=torch.float32), 0.0
        for lo in range(0, z.shape[0], chunk):
            s = slice(lo, lo + chunk)
            base = (z[s] @ lm.t()).float()
            final = base + (act[s] @ w2.t()).float()
            grads = []
            for logits, share in ((base, LAMBDA), (final, 1 - LAMBDA)):
                lse = logits.logsumexp(-1, keepdim=True)
                picked = logits.gather(1, label[s, None])
                total = total + (share * coef[s] * (lse - picked)[:, 0]).sum()
                g = logits.sub_(lse).exp_()
                g.scatter_add_(1, label[s, None], -torch.ones_like(picked))
                grads.append(g.mul_(share * coef[s, None]).to(z.dtype))
            dz[s] = (grads[0] + grads[1]) @ lm
            dact[s] = grads[1] @ w2
            dw2 += grads[1].t() @ act[s]
        ctx.save_for_backward(dz, dact, dw2.to(w2.dtype))
        return total

    @staticmethod
    def backward(ctx, grad):
        dz, dact, dw2 = ctx.saved_tensors
        return grad * dz, grad * dact, grad * dw2, None, None, None, None


def chunked_loss(z, act, w2, lm, label, coef, chunk):
    def one(z, act, label, coef):
        base = z @ lm.t()
        final = base + act @ w2.t()
        ce = lambda x: F.cross_entropy(x.float(), label, reduction="none")
        return (coef * (LAMBDA * ce(base) + (1 - LAMBDA) * ce(final))).sum()
    parts = [slice(lo, lo + chunk) for lo in range(0, z.shape[0], chunk)]
    return sum(checkpoint(one, z[s], act[s], label[s], coef[s], **REENTRANT) for s in parts)


REENTRANT = {} if torch.__version__.startswith("1.") else {"use_reentrant": False}


class Step:
    def __init__(self, c, mode, device, dtype):
        self.c, self.mode, self.device = c, mode, device
        torch.manual_seed(42)
        self.draft = Draft(c).to(device, dtype)
        self.embed = (0.02 * torch.randn(c["vocab"], c["hidden"], dtype=torch.float32)).to(device, dtype)
        self.lm = (0.02 * torch.randn(c["vocab"], c["hidden"], dtype=torch.float32)).to(device, dtype)
        self.features = torch.randn(c["batch"], c["length"], c["feats"] * c["hidden"]).to(device, dtype)
        self.ids = torch.randint(0, c["vocab"], (c["batch"], c["length"])).to(device)
        self.opt = torch.optim.AdamW(self.draft.parameters(), lr=1e-6) if c["optimizer"] else None

    def anchors(self):
        c = self.c
        rows = [torch.randperm(c["length"] - 1)[:c["anchors"]].sort().values for _ in range(c["batch"])]
        return torch.stack(rows).to(self.device)

    def attention(self, anchors):
        c, rows, S = self.c, self.c["anchors"] * self.c["block"], self.c["length"]
        if self.mode.startswith("flex"):
            from torch.nn.attention.flex_attention import create_block_mask, flex_attention
            block = c["block"]

            def allowed(b, h, q, k):
                return ((k < S) & (k < anchors[b, q // block])) | ((k >= S) & ((k - S) // block == q // block))
            if not hasattr(Step, "flex"):
                Step.flex = torch.compile(flex_attention, dynamic=False)
                Step.mask = torch.compile(create_block_mask)
            mask = Step.mask(allowed, c["batch"], None, rows, S + rows, device=self.device)
            return lambda q, k, v: Step.flex(q, k, v, block_mask=mask, enable_gqa=True)
        of = torch.arange(rows, device=self.device) // c["block"]
        key = torch.arange(S + rows, device=self.device)
        seen = (key < S) & (key < anchors[:, of, None])
        own = (key >= S) & ((key - S) // c["block"] == of[:, None])
        return dense_attention((seen | own)[:, None])

    def forward(self):
        c, d, ids = self.c, self.draft, self.ids
        B, N, bs, S = c["batch"], c["anchors"], c["block"], c["length"]
        anchors = self.anchors()
        place = anchors[:, :, None] + torch.arange(bs, device=self.device)
        pos = torch.cat((torch.arange(S, device=self.device).expand(B, S), place.reshape(B, -1)), 1)
        angle = pos[..., None] * THETA ** (-torch.arange(0, c["dim"], 2, device=self.device) / c["dim"])
        angle = torch.cat((angle, angle), -1)[:, None]
        cos, sin = angle.cos().to(self.features.dtype), angle.sin().to(self.features.dtype)
        noise = torch.full((B, N, bs), c["mask"], device=self.device)
        noise[:, :, 0] = ids.gather(1, anchors)
        x = F.embedding(noise.reshape(B, -1), self.embed)
        context, attend = d.fc_norm(d.fc(self.features)), self.attention(anchors)
        for layer in d.layers:
            x = layer(x, context, cos, sin, attend)
        x = d.norm(x)
        pick = lambda at: ids.unsqueeze(1).expand(-1, N, -1).gather(2, at.clamp(max=S - 1))
        states, _ = d.gru(F.embedding(pick(place).reshape(B * N, bs), self.embed))
        joined = torch.cat((x.view(B, N, bs, -1), states.view(B, N, bs, -1)), -1)
        act = F.silu(d.w1(joined))
        act = torch.cat((torch.zeros_like(act[:, :, :1]), act[:, :, 1:]), 2)  # the first row of a block is not corrected
        weight = (place + 1 < S) * torch.exp(-torch.arange(bs, device=self.device) / GAMMA)
        coef = (weight / weight.sum()).reshape(-1)
        loss = FusedLoss.apply if self.mode.endswith("fused") else chunked_loss
        return loss(x.reshape(-1, c["hidden"]), act.reshape(-1, c["emb"]), d.w2.weight, self.lm, pick(place + 1).reshape(-1), coef, 1024)

    def sync(self):
        if self.device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter()

    def once(self):
        t0 = self.sync()
        loss = self.forward()
        t1 = self.sync()
        loss.backward()
        t2 = self.sync()
        if self.opt is None:
            self.draft.zero_grad(set_to_none=False)
        else:
            torch.nn.utils.clip_grad_norm_(self.draft.parameters(), 1.0)
            self.opt.step()
            self.opt.zero_grad()
        t3 = self.sync()
        if not torch.isfinite(loss):
            raise RuntimeError("the loss is not finite: %s" % loss)
        return t1 - t0, t2 - t1, t3 - t2, float(loss.detach())


def measure(c, mode, device, dtype, runs):
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = Step(c, mode, device, dtype)
    for _ in range(3):
        step.once()
    cpu = time.process_time()
    rows = [step.once() for _ in range(runs)]
    cpu = time.process_time() - cpu
    median = lambda f: 1e3 * statistics.median(f(r) for r in rows)
    out = {
        "mode": mode, "forward_ms": median(lambda r: r[0]), "backward_ms": median(lambda r: r[1]), "optimizer_ms": median(lambda r: r[2]),
        "total_ms": median(lambda r: sum(r[:3])), "total_min_ms": 1e3 * min(sum(r[:3]) for r in rows),
        "forward_backward_ms_per_sample": median(lambda r: r[0] + r[1]) / c["batch"],
        "processor_ms": 1e3 * cpu / runs, "loss": rows[-1][3], "runs": runs,
    }
    if device == "cuda":
        out["memory_bytes"] = torch.cuda.max_memory_allocated()
    return out


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--preset", default="specforge", choices=sorted(PRESETS))
    p.add_argument("--batch", type=int, default=0)
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--modes", default="")
    p.add_argument("--threads", type=int, default=0, help="torch threads; OpenBLAS has its own beside them")
    p.add_argument("--json", default="")
    a = p.parse_args()
    if a.threads:
        torch.set_num_threads(a.threads)
    c = dict(PRESETS[a.preset])
    c["batch"] = a.batch or c["batch"]
    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    modes = a.modes.split(",") if a.modes else (["sdpa+checkpoint", "sdpa+fused", "flex+fused"] if cuda else ["sdpa+fused", "sdpa+checkpoint"])
    report = {"torch": torch.__version__, "device": torch.cuda.get_device_name() if cuda else "cpu", "dtype": str(dtype),
              "preset": a.preset, "batch": c["batch"], "steps": []}
    for mode in modes:
        try:
            row = measure(c, mode, device, dtype, a.runs)
            print("torch %-16s forward %8.2f  backward %8.2f  optimizer %7.2f  total %8.2f ms (least %.2f), processor %.1f ms, loss %.4f" % (
                mode, row["forward_ms"], row["backward_ms"], row["optimizer_ms"], row["total_ms"], row["total_min_ms"], row["processor_ms"], row["loss"]), flush=True)
        except Exception as e:  # one mode's failure is reported and does not stop the others
            row = {"mode": mode, "error": "%s: %s" % (type(e).__name__, str(e)[:500])}
            print("torch %-16s failed: %s" % (mode, row["error"]), flush=True)
        report["steps"].append(row)
        if cuda:
            torch.cuda.empty_cache()
        if a.json:
            with open(a.json, "w") as f:
                json.dump(report, f, indent=2)


if __name__ == "__main__":
    main()
