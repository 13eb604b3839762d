"""torch.matmul on the shapes and in the layouts of `vkdomino bench gemm`, to stand beside it."""
import argparse
import json
import statistics
import time

import torch

SHAPES = {
    "toy": [(512, 512, 512), (256, 256, 256), (256, 768, 256), (256, 256, 768), (256, 4096, 256), (256, 256, 4096)],
    "qwen3-8b": [(4096, 6144, 4096), (4096, 24576, 4096), (4096, 4096, 12288), (4096, 151936, 4352), (4096, 4096, 151936)],
}


def timed(f, cuda, runs):
    for _ in range(2):
        f()
    took = []
    for _ in range(runs):
        if cuda:
            start, end = torch.cuda.Event(enable_timing=True), torch.cuda.Event(enable_timing=True)
            start.record()
            f()
            end.record()
            torch.cuda.synchronize()
            took.append(start.elapsed_time(end))
        else:
            start = time.perf_counter()
            f()
            took.append(1e3 * (time.perf_counter() - start))
    return statistics.median(took), min(took)


def main():
    p = argparse.ArgumentParser(description=__doc__)
    p.add_argument("--shapes", default="qwen3-8b", choices=sorted(SHAPES))
    p.add_argument("--runs", type=int, default=10)
    p.add_argument("--json", default="")
    a = p.parse_args()
    cuda = torch.cuda.is_available()
    device, dtype = ("cuda", torch.bfloat16) if cuda else ("cpu", torch.float32)
    rows = []
    for m, n, k in SHAPES[a.shapes]:
        for layout in ("NT", "NN", "TN"):
            x = torch.randn((k, m) if layout == "TN" else (m, k), device=device).to(dtype)
            y = torch.randn((n, k) if layout == "NT" else (k, n), device=device).to(dtype)
            left, right = (x.t() if layout == "TN" else x), (y.t() if layout == "NT" else y)
            median, least = timed(lambda: torch.matmul(left, right), cuda, a.runs)
            rows.append({"m": m, "n": n, "k": k, "layout": layout, "median_ms": median, "min_ms": least, "tflops": 2e-9 * m * n * k / median})
            print("torch.matmul %-20s %s %9.3f ms (least %.3f) %8.2f TFLOP/s" % ("%dx%dx%d" % (m, n, k), layout, median, least, rows[-1]["tflops"]), flush=True)
            if a.json:
                with open(a.json, "w") as f:
                    json.dump({"torch": torch.__version__, "dtype": str(dtype), "products": rows}, f, indent=2)


if __name__ == "__main__":
    main()
