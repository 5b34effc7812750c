"""The ONNX operators that graphs of fixed shapes may have, and what can be written in the place of others."""

from __future__ import annotations

_OPERATORS = (
    "Abs Add AveragePool BatchNormalization Cast Clip Concat Constant Conv Div Dropout Elu Erf Exp Expand Flatten "
    "Gather Gelu Gemm GlobalAveragePool GlobalMaxPool GreaterOrEqual Greater HardSigmoid HardSwish Identity "
    "LayerNormalization LeakyRelu Less LessOrEqual MatMul Max MaxPool Mean Min Mul Neg Not PRelu Pad Pow Reciprocal "
    "ReduceMax ReduceMean ReduceMin ReduceSum Relu Reshape Shape Sigmoid Slice Softmax Split Sqrt Squeeze Sub Sum Tanh "
    "Transpose Unsqueeze Where"
)
SUPPORTED = frozenset(_OPERATORS.split())

#: Operators that are compiled as what ONNX defines them by, where that is of the above: exporters use them.
WRITTEN_OUT = frozenset(("Attention", "GroupNormalization", "RMSNormalization"))

#: What can be written in the place of operators that people often meet.
REPLACEMENTS = {
    "Attention": "MatMul, Softmax and MatMul",
    "MultiHeadAttention": "MatMul, Softmax and MatMul",
    "ConvTranspose": "Expand (nearest upsampling) and Conv",
    "Resize": "Reshape, Expand and Reshape (nearest upsampling)",
    "Upsample": "Reshape, Expand and Reshape (nearest upsampling)",
    "GRU": "a causal transformer, or the cell's MatMul, Sigmoid and Tanh written out",
    "LSTM": "a causal transformer, or the cell's MatMul, Sigmoid and Tanh written out",
    "RNN": "a causal transformer, or the cell's MatMul and Tanh written out",
    "GroupNormalization": "Reshape, LayerNormalization and Reshape, then Mul and Add",
    "InstanceNormalization": "Reshape, LayerNormalization and Reshape, then Mul and Add",
    "RMSNormalization": "Mul, ReduceMean, Add, Sqrt and Div",
    "RotaryEmbedding": "Slice, Neg, Concat, Mul and Add",
    "LRN": "BatchNormalization",
    "LogSoftmax": "Softmax, or no operator: the order of the classes is that of its input",
    "Log": "no operator at the end of a classifier: the order of the classes stays",
    "ArgMax": "no operator: the caller takes the largest of the outputs",
    "TopK": "no operator: the caller takes the largest of the outputs",
    "Einsum": "Transpose, Reshape and MatMul",
    "Softplus": "Relu or Gelu",
    "Softsign": "Tanh",
    "Mish": "Gelu",
    "Selu": "Elu, then Mul",
    "Celu": "Elu",
    "Swish": "Sigmoid and Mul",
    "Sin": "a table as a constant and Gather",
    "Cos": "a table as a constant and Gather",
    "ReduceL2": "Mul, ReduceSum and Sqrt",
    "LpPool": "AveragePool",
    "GlobalLpPool": "GlobalAveragePool",
    "DepthToSpace": "Reshape, Transpose and Reshape",
    "SpaceToDepth": "Reshape, Transpose and Reshape",
    "QuantizeLinear": "the float graph: export it before quantisation",
    "DequantizeLinear": "the float graph: export it before quantisation",
    "QLinearConv": "the float graph: export it before quantisation",
    "QLinearMatMul": "the float graph: export it before quantisation",
    "MatMulInteger": "the float graph: export it before quantisation",
    "ConvInteger": "the float graph: export it before quantisation",
    "If": "Where, with both branches computed",
    "Loop": "the loop's steps written out",
    "Scan": "the loop's steps written out",
    "NonZero": "Where, with a mask of fixed shape",
    "Sign": "Where with Greater and Less",
    "Floor": "nothing for it: take it out of the graph",
}
