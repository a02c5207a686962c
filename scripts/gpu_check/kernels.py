"""Where the time goes by kernel, told by CUPTI, which comes with the toolkit."""

import os
import shutil

from .bench import bench
from .steps import Failed, run


def build_library(nvcc, folder, limit):
    toolkit = os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))
    places = [os.path.join(toolkit, "extras", "CUPTI"), toolkit]
    root = next((place for place in places if os.path.exists(os.path.join(place, "include", "cupti.h"))), None)
    if root is None:
        raise Failed("the toolkit has no cupti.h")
    source = os.path.join(os.path.dirname(__file__), "kernel_times.cpp")
    target = os.path.join(folder, "libkernel-times.so")
    libraries = os.path.join(root, "lib64")
    includes = [f"-I{os.path.join(place, 'include')}" for place in dict.fromkeys([root, toolkit])]
    compiler = shutil.which("c++") or "g++"
    run([compiler, "-std=c++17", "-O1", "-fPIC", "-shared", *includes, source, "-o", target, f"-L{libraries}", "-lcupti", f"-Wl,-rpath,{libraries}"], limit)
    return target


def short(name):
    """A mangled name's readable part is enough to tell the kernels apart."""
    return name if len(name) < 110 else f"{name[:107]}..."


def demangle(names):
    tool = shutil.which("c++filt")
    if tool is None:
        return names
    return run([tool, "-p", *names], 20).splitlines()


def kernel_times(library, tool, model, device, work, batch, folder, limit):
    target = os.path.join(folder, "kernel-times.tsv")
    environment = {"CUDA_INJECTION64_PATH": library, "GME_KERNEL_TIMES": target}
    bench(tool, model, device, work, str(batch), 1, limit, environment)
    rows = []
    with open(target, encoding="utf-8") as file:
        for line in file:
            milliseconds, calls, name = line.rstrip("\n").split("\t", 2)
            rows.append([float(milliseconds), int(calls), name])
    rows.sort(reverse=True)
    rows = rows[:25]
    total = sum(row[0] for row in rows)
    for row, name in zip(rows, demangle([row[2] for row in rows]), strict=True):
        row[2] = name
        print(f"  {100 * row[0] / total:5.1f} %  {row[1]:>7} calls  {short(name)}")
    return [{"ms": milliseconds, "calls": calls, "kernel": name} for milliseconds, calls, name in rows]
