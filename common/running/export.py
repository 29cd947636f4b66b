"""Trained networks as files that run without this repository.

    papers export papers/resnet/weights/resnet20.safetensors               # ONNX
    papers export papers/resnet/weights/resnet20.safetensors int8=true     # 8 bits
    papers export papers/resnet/weights/resnet20.safetensors format=torch  # torch.export's
    papers export batchnorm/bn/seed0                                       # a finished run in runs/
    papers export papers/resnet/weights/resnet20.safetensors compare=true  # all of them

What is written takes a batch of images as the data set has them, uint8 (n, c, h, w), and returns
logits (n, classes): what the paper does to pixels first is part of it. Every file is tried on test
images before it gets its name. A paper's own format is read, too, such as that of
papers/deep_compression/results/lenet5_compressed/seed0.dcn. Keys:

    format   onnx (default), which needs pip install -e '.[export]', or torch
    int8     true: weights and activations of 8 bits, by ONNX Runtime's static quantisation,
             calibrated on 512 training images
    to       the file to write; default: the source's name in the working folder
    images   how many test images it is tried on, from the first on; default 10000
    compare  true: write no network, print a table of all forms instead
    sure     true: write no network, print how sure it is and how right to be; where weights or
             units are random, also the average of 20 networks that are drawn
    record   true: with compare or sure, keep the table below papers/<paper>/exports/, for
             papers/STUDY.md
"""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import warnings
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from common.conditions import written
from common.config import one_line
from common.errors import UserError, asks_for_help, cut
from common.files import shown
from common.running.ready import Ready, load_ready
from common.running.words import as_typed, parse_options

KEYS = ("format", "int8", "to", "images", "compare", "sure", "record")
SUFFIX = {"onnx": ".onnx", "torch": ".pt2"}

Predict = Callable[[np.ndarray], np.ndarray]
"""uint8 images (n, c, h, w) to logits (n, classes)."""


# ---- writing it ----------------------------------------------------------------------------------

@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """A context that silences the exporters' warnings and messages."""
    with warnings.catch_warnings(), contextlib.redirect_stdout(open(os.devnull, "w",
                                                                    encoding="utf-8")):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(before)


def program(ready: Ready) -> torch.export.ExportedProgram:
    """Trace the network with torch, with a batch axis of any size.

    Raises:
        UserError: torch cannot trace it.
    """
    batch = torch.export.Dim("n", min=1, max=65536)  # else torch would fix the traced size
    try:
        traced = torch.export.export(ready.network, (ready.calibration[:2].clone(),),
                                     strict=False, dynamic_shapes=({0: batch},))
    except Exception as e:  # torch raises many types, with messages of many lines
        raise UserError(f"{ready.name}: torch cannot trace this network for batches of any size: "
                        f"{cut(one_line(e), 160)}") from e
    for node in traced.graph.nodes:
        node.meta.pop("stack_trace", None)  # with this machine's paths
    return traced


def to_torch(ready: Ready, path: Path) -> None:
    """Write a file that ``torch.export.load`` reads."""
    with quiet():
        torch.export.save(program(ready), path)


def to_onnx(ready: Ready, path: Path) -> None:
    """Write an ONNX file with input ``images`` and output ``logits``, for batches of any size.

    Raises:
        UserError: the packages it needs are not installed.
    """
    needed("onnx", "onnxscript")
    with quiet():
        torch.onnx.export(program(ready), (), str(path), input_names=["images"],
                          output_names=["logits"], dynamo=True, external_data=False,
                          optimize=True, verbose=False)
        tidy(path)


def tidy(path: Path) -> None:
    """Call the batch axis of an ONNX file ``n``, which torch numbers, and drop what it adds.

    Torch says for every operation which line of which file asked for it, with this machine's paths.
    """
    import onnx
    model = onnx.load(path)
    graph = model.graph
    for part in (model, graph, *model.functions, *graph.node, *graph.value_info, *graph.input,
                 *graph.output, *graph.initializer):
        del part.metadata_props[:]
    named = {d.dim_param for v in graph.input for d in v.type.tensor_type.shape.dim if d.dim_param}
    for value in (*graph.input, *graph.output, *graph.value_info):
        for d in value.type.tensor_type.shape.dim:
            if d.dim_param in named:
                d.dim_param = "n"
    onnx.save(model, path)


def to_int8(ready: Ready, path: Path) -> None:
    """Write an ONNX file with 8-bit weights (per channel) and activations.

    The ranges of activations are calibrated on training images.

    Raises:
        UserError: the packages it needs are not installed.
    """
    needed("onnx", "onnxruntime", "onnxscript")
    from onnxruntime.quantization import CalibrationDataReader, QuantType, quantize_static
    from onnxruntime.quantization.shape_inference import quant_pre_process

    class Images(CalibrationDataReader):
        def __init__(self) -> None:
            self.left = iter(ready.calibration.split(64))

        def get_next(self) -> dict[str, np.ndarray] | None:
            part = next(self.left, None)
            return None if part is None else {"images": part.numpy()}

    with tempfile.TemporaryDirectory() as folder, quiet():
        whole, prepared = Path(folder, "float32.onnx"), Path(folder, "prepared.onnx")
        to_onnx(ready, whole)
        quant_pre_process(whole, prepared, skip_symbolic_shape=True)
        quantize_static(prepared, path, Images(), per_channel=True,
                        activation_type=QuantType.QUInt8, weight_type=QuantType.QInt8)


def needed(*packages: str) -> None:
    """Make sure that optional packages are installed.

    Raises:
        UserError: some are not.
    """
    missing = []
    for name in packages:
        try:
            __import__(name)
        except ImportError:
            missing.append(name)
    if missing:
        raise UserError(f"ONNX needs {' and '.join(missing)}: pip install -e '.[export]' in the "
                        "clone installs what is missing")


# ---- trying it -----------------------------------------------------------------------------------

def torchs(ready: Ready) -> Predict:
    """A function that applies the network itself, before it is written."""
    def predict(images: np.ndarray) -> np.ndarray:
        with torch.inference_mode():
            return ready.network(torch.from_numpy(images)).numpy()
    return predict


def reader(path: Path) -> Predict:
    """A function that applies a written file with its own runtime, on one core."""
    if path.suffix == SUFFIX["torch"]:
        module = torch.export.load(path).module()

        def of_torch(images: np.ndarray) -> np.ndarray:
            with torch.inference_mode():
                return module(torch.from_numpy(images)).numpy()
        return of_torch
    needed("onnxruntime")
    import onnxruntime
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def logits(predict: Predict, images: Tensor) -> np.ndarray:
    """The logits of all images, computed 250 at a time."""
    return np.concatenate([predict(part.numpy()) for part in images.split(250)])


@dataclass(frozen=True)
class Trial:
    """A comparison of a written file with its network on test images.

    Attributes:
        same, images: the number of images to which both give the same class, of how many.
        furthest: the largest difference of a logit.
        error: the file's test error, in %.
    """

    same: int
    images: int
    furthest: float
    error: float


def tried(predict: Predict, ready: Ready) -> Trial:
    """Compare a written file with its network on the same images."""
    before, after = (logits(p, ready.images) for p in (torchs(ready), predict))
    wrong = (after.argmax(1) != ready.labels.numpy()).mean()
    return Trial(int((before.argmax(1) == after.argmax(1)).sum()), len(ready.images),
                 float(np.abs(before - after).max()), 100 * float(wrong))


def write(ready: Ready, form: str, path: Path) -> Trial:
    """Write the network to a file, which gets its name only after a trial.

    Args:
        ready: the network.
        form: ``onnx``, ``torch`` or ``int8``.
        path: the file.

    Raises:
        UserError: it cannot be written; or, except with ``int8``, it gives other classes than the
            network.
    """
    make = {"onnx": to_onnx, "torch": to_torch, "int8": to_int8}[form]
    try:
        with tempfile.TemporaryDirectory(dir=path.parent, prefix=".export-") as folder:
            new = Path(folder, path.name)
            make(ready, new)
            trial = tried(reader(new), ready)
            if form != "int8" and trial.same < trial.images:
                raise UserError(f"{path.name}: says another class than the network on "
                                f"{trial.images - trial.same} of {trial.images} images; "
                                "not written")
            new.replace(path)
    except OSError as e:
        raise UserError(f"cannot write {path}: {e.strerror or one_line(e)}") from e
    return trial


WRITES_NOTHING = {"sure": ("record",), "compare": ("record", "images")}
"""The keys that write no network, and those that each can have beside it."""


def refuse_unused(options: dict[str, Any]) -> None:
    """Refuse keys that another one leaves without a use.

    Raises:
        UserError: a key is not used; the message names both.
    """
    given = [k for k, v in options.items() if v is not False]
    for way, beside in WRITES_NOTHING.items():
        if way not in given:
            continue
        if extra := [k for k in given if k not in (way, *beside)]:
            raise UserError(f"{extra[0]}={written(options[extra[0]])}: not used with {way}=true: "
                            f"expected {' or '.join(beside)} beside it, or nothing")
    if "record" in given and not {*WRITES_NOTHING} & {*given}:
        raise UserError("record=true: expected compare=true or sure=true, whose table it keeps")


def check_place(to: str, suffix: str) -> None:
    """Check where to write before anything is loaded, which takes long.

    Raises:
        UserError: the name has another suffix, or there is no such folder.
    """
    if Path(to).suffix != suffix:
        raise UserError(f"to={written(to)}: expected a name that ends in {suffix}")
    if not (folder := Path(to).absolute().parent).is_dir():
        raise UserError(f"to={written(to)}: there is no folder {folder}")


def main(argv: list[str]) -> int:
    """The command line; see the module's docstring."""
    if asks_for_help(argv or ["--help"], __doc__):
        return 0
    source, *words = argv
    if "=" in source or not source:
        raise UserError(f"cannot read {source!r}: expected a file of weights or a run first, such "
                        "as papers/resnet/weights/resnet20.safetensors")
    options = parse_options(words, KEYS)
    kind, images = options.get("format", "onnx"), options.get("images", 10000)
    if kind not in [*SUFFIX]:  # whatever YAML made of it, hashable or not
        raise UserError(f"format={written(kind)}: expected {' or '.join(SUFFIX)}")
    for k in ("int8", "compare", "sure", "record"):
        if not isinstance(options.get(k, False), bool):
            raise UserError(f"{k}={written(options[k])}: expected true or false")
    with as_typed(words):
        if not isinstance(images, int) or isinstance(images, bool) or images < 1:
            raise UserError(f"images={written(images)}: expected a whole number of at least 1")
    refuse_unused(options)
    int8 = options.get("int8", False)
    if int8 and kind == "torch":
        raise UserError("int8=true: expected format=onnx")
    if options.get("sure"):
        from common.running import sure
        return sure.main(source, bool(options.get("record")))
    if kind == "onnx":  # fail before the data are loaded
        needed("onnx", "onnxruntime", "onnxscript")
    if options.get("to", "x") is None:
        raise UserError(f"to=: expected a name that ends in {SUFFIX[kind]}")
    if "to" in options:
        check_place(str(options["to"]), SUFFIX[kind])
    ready = load_ready(source, images)
    if options.get("compare"):
        from common.running import forms  # which needs this module
        found = forms.compare(ready)
        print(forms.table([found]))
        if options.get("record"):
            print(f"kept: {shown(forms.keep(ready, found))}")
        return 0
    default = f"{ready.name}{'-int8' if int8 else ''}{SUFFIX[kind]}"
    path = Path(str(options.get("to", default))).absolute()
    trial = write(ready, "int8" if int8 else kind, path)
    print(f"{shown(path)}: {path.stat().st_size / 1000:,.0f} KB, test error {trial.error:.2f} %\n"
          f"the same class as the network on {trial.same:,} of {trial.images:,} test images, "
          f"logits at most {trial.furthest:.2g} apart")
    return 0
