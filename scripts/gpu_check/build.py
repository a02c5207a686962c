"""Engine, tool and CUDA library out of the checkout, for the graphics card of this machine alone."""

import glob
import os
import platform
import shutil
import subprocess
import sys

from .steps import Failed, run


def find_nvcc():
    found = shutil.which("nvcc") or next(iter(glob.glob("/usr/local/cuda*/bin/nvcc")), None)
    if found is None:
        raise Failed("no nvcc on the PATH or in /usr/local/cuda")
    return found


def gpu():
    """Name and architecture of the first card, as CMake writes it; None where there is none."""
    try:
        out = run(["nvidia-smi", "--query-gpu=name,compute_cap,driver_version,memory.total", "--format=csv,noheader"], 20)
    except (Failed, OSError):
        return None
    name, capability, driver, memory = [each.strip() for each in out.splitlines()[0].split(",")]
    return {"name": name, "architecture": f"{capability.replace('.', '')}-real", "driver": driver, "memory": memory}


def cublas_root(nvcc):
    """None: the toolkit has it. Else a folder with include/cublas_v2.h and lib/libcublas.so.*, such as PyTorch's packages bring."""
    toolkit = os.path.dirname(os.path.dirname(os.path.realpath(nvcc)))
    if glob.glob(os.path.join(toolkit, "**", "cublas_v2.h"), recursive=True):
        return None
    roots = [os.environ.get("GME_CUBLAS_ROOT", "")]
    for python in {sys.executable, shutil.which("python3") or sys.executable}:
        paths = subprocess.run([python, "-c", "import sys; print('\\n'.join(sys.path))"], capture_output=True, text=True, check=False).stdout
        roots += [path for base in paths.split("\n") if base for path in glob.glob(os.path.join(base, "nvidia", "*"))]
    for root in roots:
        if os.path.exists(os.path.join(root, "include", "cublas_v2.h")) and glob.glob(os.path.join(root, "lib", "libcublas.so.*")):
            return root
    raise Failed("no cublas_v2.h: neither the toolkit nor a Python package nvidia-cublas has it; name a folder with include and lib in GME_CUBLAS_ROOT")


def processor_library():
    """The best level of ggml's kernels that this processor surely has."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            flags = file.read()
    except OSError:
        flags = ""
    if platform.machine() not in ("x86_64", "AMD64"):
        raise Failed(f"built on x86-64 only, this is {platform.machine()}")
    return "skylakex" if "avx512vl" in flags and "avx512bw" in flags else "haswell" if "avx2" in flags else "sse42"


def build(root, folder, card, jobs, limit):
    """The tool, the CUDA library or None without a card, and the folders in which cuBLAS lies."""
    with_cuda = card is not None
    options, targets, cublas = [], ["gme-tool", f"ggml-cpu-{processor_library()}"], None
    if with_cuda:
        nvcc = find_nvcc()
        cublas = cublas_root(nvcc)
        options = ["-DGME_CUDA=ON", f"-DGME_CUDA_ARCHITECTURES={card['architecture']}", f"-DCMAKE_CUDA_COMPILER={nvcc}"]
        options += [f"-DGME_CUBLAS_ROOT={cublas}"] if cublas else []
        targets.append("ggml-cuda")
    if shutil.which("ninja"):
        options += ["-G", "Ninja"]
    run(["cmake", "-S", root, "-B", folder, "-DGME_PORTABLE=ON", *options], limit)
    run(["cmake", "--build", folder, f"-j{jobs}", "--target", *targets], limit)
    tool = os.path.join(folder, "bin", "gme-tool")
    library = os.path.join(folder, "bin", "libgme-ggml-cuda.so") if with_cuda else None
    return tool, library, [os.path.join(cublas, "lib")] if cublas else []
