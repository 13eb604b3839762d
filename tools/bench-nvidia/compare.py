"""Prints the ratios of a folder that run.sh has filled: vkdomino beside PyTorch on the same machine."""
import json
import os
import sys


def read(name):
    try:
        with open(os.path.join(sys.argv[1], name)) as f:
            return json.load(f)
    except (OSError, ValueError) as e:
        print("no %s: %s" % (name, e))
        return None


def gemm():
    ours, theirs = read("gemm.json"), read("torch_gemm.json")
    if not ours or not theirs:
        return
    rate = {(r["m"], r["n"], r["k"], r["layout"]): r["tflops"] for r in theirs["products"]}
    print("\nmatrix products, %s %s: TFLOP/s, and the share of torch.matmul's (%s, %s)" % (
        ours["report"]["device"]["name"], ours["report"]["precision"], theirs["torch"], theirs["dtype"]))
    shares = []
    for r in ours["report"]["products"]:
        key = (r["m"], r["n"], r["k"], r["layout"])
        if key in rate:
            shares.append(r["tflops"] / rate[key])
            print("  %-20s %s %10.4g %10.4g  %.2f" % ("%dx%dx%d" % key[:3], key[3], r["tflops"], rate[key], shares[-1]))
    if shares:
        print("  least %.2f, median %.2f" % (min(shares), sorted(shares)[len(shares) // 2]))


def step():
    ours, theirs = read("step.json"), read("torch_step.json")
    if not ours or not theirs:
        return
    o = ours["report"]
    print("\ntraining step %s, batch %d: forward and backward per sample, and the whole step" % (o["preset"], o["batch"]))
    print("  %-24s %9.3f ms %9.3f ms  memory %6.2f GB" % ("vkdomino", o["forward_backward_ms_per_sample"], o["total"]["median_ms"], o["memory"]["allocated_bytes"] / 1e9))
    for s in theirs["steps"]:
        if "error" in s:
            print("  torch %-18s %s" % (s["mode"], s["error"][:200]))
            continue
        memory = "%6.2f GB" % (s["memory_bytes"] / 1e9) if "memory_bytes" in s else "not known"
        print("  torch %-18s %9.3f ms %9.3f ms  memory %s; vkdomino takes %.3f of its time per sample, %.3f of its whole step" % (
            s["mode"], s["forward_backward_ms_per_sample"], s["total_ms"], memory,
            o["forward_backward_ms_per_sample"] / s["forward_backward_ms_per_sample"], o["total"]["median_ms"] / s["total_ms"]))
    cpu = [s["processor_ms"] for s in theirs["steps"] if "processor_ms" in s]
    if "processor" in o and cpu:
        print("  processor time: vkdomino %.1f ms, torch %.1f ms at the least: %.3f" % (o["processor"]["median_ms"], min(cpu), o["processor"]["median_ms"] / min(cpu)))


peak = read("peak.json")
if peak:
    r = peak["report"]
    print("device: %s, %s %s, %s" % (r["device"]["name"], r["device"]["driver"], r["device"]["driver_info"], r["device"]["tier"]))
    print("peaks: %.4g TFLOP/s matrices of a subgroup, %.4g of a workgroup, %.4g multiply-add, %.4g GB/s copy; dispatch %.1f us, with barrier %.1f us, submit %.1f us" % (
        r.get("matrix_tflops", 0), r.get("workgroup_matrix_tflops", 0), r["fma_tflops"], r["copy_gb_per_second"], r["dispatch_us"], r["dispatch_and_barrier_us"], r["submit_and_wait_us"]))
gemm()
step()
