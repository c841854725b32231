"""Rules of element-wise operations that PyTorch does not mark as such, and of those that forget their input."""

from __future__ import annotations

from rfkit.analysis.tracing.maps import Maps
from rfkit.analysis.tracing.rules import Operation, rule

__all__: list[str] = []


@rule("aten::_prelu_kernel", "aten::prelu", "aten::hardswish", "aten::hardsigmoid", "aten::hardtanh",
      "aten::leaky_relu",
      "aten::elu", "aten::celu", "aten::gelu", "aten::silu", "aten::mish", "aten::softplus", "aten::softshrink",
      "aten::rrelu_with_noise", "aten::log_sigmoid_forward",
       "aten::threshold", "aten::clamp", "aten::where",
      "aten::masked_fill", "aten::lerp", "aten::bernoulli", "aten::nan_to_num", "aten::relu6")  # fmt: skip
def _element_by_element(operation: Operation) -> Maps:
    return operation.same_place()


@rule("aten::zeros_like", "aten::ones_like", "aten::empty_like", "aten::full_like", "aten::rand_like",
      "aten::randn_like",
      "aten::new_zeros", "aten::new_ones", "aten::new_empty", "aten::new_full", "aten::new_empty_strided", "aten::zero",
      "aten::fill", "aten::sym_size", "aten::is_same_size")  # fmt: skip
def _constant(_operation: Operation) -> None:
    return None
