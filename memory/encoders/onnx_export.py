"""A transformer encoder as an ONNX graph, with weights as they are or rounded to 8 bits.

The graph reads the token ids of one text, `(1, t)` int64, and gives its vector, `(1, d)` float32 of
length 1, and the vectors of its tokens, `(1, t, d)`. There is one text a pass, so it needs no mask.
What it takes to use it (tokeniser, length, fingerprint) is in its metadata. As a file it leaves its
large tensors to files beside it (`split_tensors`), which encoders share.

In the rounded graph each product of a matrix of weights W with token vectors X becomes one of
integers, with a scale for each token and for each output:

    X[i] ~ s[i] (A[i] - 128),   s[i] = max |X[i]| / 127,   A of 8 bits without sign
    W[:, j] ~ u[j] B[:, j],     u[j] = max |W[:, j]| / 63, B of 7 bits with sign
    (X W)[i, j] ~ s[i] u[j] ((A - 128) B)[i, j]

A scale for a whole text, as in the quantisers of PyTorch and of ONNX Runtime, is set by the few
token vectors that are much longer than the others. Weights have 7 bits because processors without
instructions for it add two products of 8 bits in 16 bits with sign: 2 * 255 * 63 fits, so that
the sums are exact, and thus the same, everywhere.

Source: scales by token and by channel, Dettmers et al. 2022 (2208.07339), section 2.1.
"""

from __future__ import annotations

import copy
import hashlib
import io
import warnings
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto, NodeProto

    from hoptrail.memory.encoders.transformer import TransformerModel

OPSET = 17
"""Version of the ONNX operators."""

INPUT, VECTOR, TOKENS = "input_ids", "vector", "tokens"

LEVELS = 63
"""Of a weight, on each side of 0."""

ZERO = 128
"""The 8-bit integer that stands for an activation of 0."""


def export_graph(model: TransformerModel) -> ModelProto:
    """The graph of a model, with the weights that it has in memory.

    Args:
        model: Any that pools by the mean or by the first token.
    """
    import onnx
    import torch

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            # A copy: another thread may be encoding, and attention is traced in its plain form.
            self.network = copy.deepcopy(model.network).cpu().eval()
            self.network.set_attn_implementation("eager")

        def forward(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
            hidden = self.network(input_ids=ids, attention_mask=None).last_hidden_state
            pooled = hidden[:, 0] if model.pooling == "cls" else hidden.mean(1)
            return torch.nn.functional.normalize(pooled, dim=1), hidden

    written = io.BytesIO()
    with warnings.catch_warnings(), torch.inference_mode():
        # PyTorch's newer exporter needs onnxscript, and says so.
        warnings.simplefilter("ignore")
        torch.onnx.export(
            Pooled(),
            (torch.arange(1, 8)[None] % int(model.network.config.vocab_size),),
            written,  # type: ignore[arg-type]
            input_names=[INPUT],
            output_names=[VECTOR, TOKENS],
            dynamic_axes={INPUT: {1: "length"}, TOKENS: {1: "length"}},
            opset_version=OPSET,
            dynamo=False,
        )
    return onnx.load_model_from_string(written.getvalue())


def split_tensors(content: bytes, least: int) -> tuple[bytes, dict[str, bytes]]:
    """A graph without its largest tensors, and these as files beside it.

    A file is named by what it holds, so that encoders which have a tensor in common, as an encoder
    and its trained query side have the vectors of their vocabulary, keep it once. ONNX Runtime maps
    such a file rather than copy it.

    Args:
        content: A graph, as a file has it.
        least: Bytes of a tensor that is taken out.

    Returns:
        The graph as a file, and the tensors by the names of their files.
    """
    import onnx
    from onnx.external_data_helper import set_external_data

    model = onnx.load_model_from_string(content)
    files: dict[str, bytes] = {}
    for tensor in model.graph.initializer:
        if len(tensor.raw_data) >= least:
            name = f"{hashlib.sha256(tensor.raw_data).hexdigest()[:16]}.tensor"
            files[name] = bytes(tensor.raw_data)
            set_external_data(tensor, name, offset=0, length=len(tensor.raw_data))
            tensor.ClearField("raw_data")
    return (bytes(model.SerializeToString()) if files else content), files


def write_metadata(graph: ModelProto, metadata: Mapping[str, str]) -> None:
    """Write metadata into a graph.

    Args:
        graph: Is changed.
        metadata: Text by name.
    """
    from onnx import helper

    helper.set_model_props(graph, dict(metadata))


def quantize(model: ModelProto) -> ModelProto:
    """The graph with its products by weights in integers, as above.

    Args:
        model: What `export_graph` gave; it stays as it is.
    """
    import onnx
    from onnx import helper, numpy_helper

    result = onnx.ModelProto()
    result.CopyFrom(model)
    graph = result.graph
    weights = {each.name: each for each in graph.initializer}
    constants = {
        "quantize.zero": np.array(ZERO, np.uint8),
        "quantize.zeros": np.array([ZERO], np.uint8),
        "quantize.step": np.array(1 / 127, np.float32),
        "quantize.least": np.array(1e-12, np.float32),
        "quantize.one": np.array(1, np.float32),
        "quantize.column": np.array([1, -1, 1], np.int64),
    }
    nodes: list[NodeProto] = []
    rounded: set[str] = set()
    inputs: set[str] = set()
    for node in graph.node:
        if node.op_type != "MatMul" or node.input[1] not in weights:
            nodes.append(node)
            continue
        name = node.input[1]
        integers, scales = _rounded(numpy_helper.to_array(weights[name]))
        constants |= {f"{name}.integers": integers, f"{name}.scales": scales}
        rounded.add(name)
        if node.input[0] not in inputs:  # of queries, keys and values it is the same
            inputs.add(node.input[0])
            nodes += _rounding(node.input[0])
        nodes += _product(node)
    _replace(graph, nodes, rounded, constants)
    result.opset_import.append(helper.make_opsetid("com.microsoft", 1))
    return result


def fuse(model: ModelProto) -> ModelProto:
    """The graph as ONNX Runtime makes it before it runs it: nodes fused, constants folded.

    That takes as long as to open what came of it, so that it is done once and not by each process
    that opens the graph. The nodes are those of any processor; what they compute is the same.

    Args:
        model: What `export_graph` or `quantize` gave; it stays as it is.
    """
    import onnx
    import onnxruntime

    with TemporaryDirectory() as folder:
        file = Path(folder) / "fused.onnx"
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_EXTENDED
        options.optimized_model_filepath = str(file)
        onnxruntime.InferenceSession(
            model.SerializeToString(), options, providers=["CPUExecutionProvider"]
        )
        return onnx.load_model(str(file))


def _rounded(weights: Any) -> tuple[Any, Any]:
    """Weights `(in, out)` as integers and the scale `(out,)` of each column."""
    scales = np.maximum(np.abs(weights).max(axis=0), 1e-12) / LEVELS
    integers = np.clip(np.rint(weights / scales), -LEVELS, LEVELS).astype(np.int8)
    return integers, scales.astype(np.float32)


def _rounding(name: str) -> list[NodeProto]:
    """The nodes that round activations `(1, t, in)`: integers, and scales `(1, t, 1)`."""
    from onnx import helper

    make = helper.make_node
    return [
        make("Abs", [name], [f"{name}.abs"]),
        make("ReduceMax", [f"{name}.abs"], [f"{name}.most"], axes=[0, 2], keepdims=0),
        make("Mul", [f"{name}.most", "quantize.step"], [f"{name}.raw"]),
        make("Max", [f"{name}.raw", "quantize.least"], [f"{name}.scale"]),
        make("Shape", [f"{name}.scale"], [f"{name}.tokens"]),
        make("Expand", ["quantize.zeros", f"{name}.tokens"], [f"{name}.zeros"]),
        make(
            "QuantizeLinear",
            [name, f"{name}.scale", f"{name}.zeros"],
            [f"{name}.integers"],
            axis=1,
        ),
        make("Reshape", [f"{name}.scale", "quantize.column"], [f"{name}.scales"]),
    ]


def _product(node: NodeProto) -> list[NodeProto]:
    """The nodes that stand for a product of activations and weights."""
    from onnx import helper

    activations, weights = node.input
    [output] = node.output
    return [
        helper.make_node(
            "MatMulIntegerToFloat",
            [
                f"{activations}.integers",
                f"{weights}.integers",
                "quantize.one",
                f"{weights}.scales",
                "quantize.zero",
            ],
            [f"{output}.columns"],
            domain="com.microsoft",
        ),
        helper.make_node("Mul", [f"{output}.columns", f"{activations}.scales"], [output]),
    ]


def _replace(
    graph: GraphProto, nodes: list[NodeProto], removed: set[str], constants: Mapping[str, Any]
) -> None:
    """Put other nodes into a graph, and constants in the place of some of its weights."""
    from onnx import numpy_helper

    removed = removed - {name for node in nodes for name in node.input}  # used elsewhere too
    remaining = [each for each in graph.initializer if each.name not in removed]
    del graph.node[:]
    graph.node.extend(nodes)
    del graph.initializer[:]
    graph.initializer.extend(remaining)
    graph.initializer.extend(numpy_helper.from_array(v, name) for name, v in constants.items())
