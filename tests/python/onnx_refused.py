"""The node tests of package onnx whose models are refused, by what the refusal says of why.

Element types that no C type is, what is for training, sizes of nothing, and what the tests of one operator need of
others that are not there.
"""

from __future__ import annotations

REFUSED: dict[str, str] = {
    "whose Mean or InvStdDev is used": """
        test_layer_normalization_2d_axis0/1 test_layer_normalization_2d_axis0/2
        test_layer_normalization_2d_axis1/1 test_layer_normalization_2d_axis1/2
        test_layer_normalization_2d_axis_negative_1/1 test_layer_normalization_2d_axis_negative_1/2
        test_layer_normalization_2d_axis_negative_2/1 test_layer_normalization_2d_axis_negative_2/2
        test_layer_normalization_3d_axis0_epsilon/1 test_layer_normalization_3d_axis0_epsilon/2
        test_layer_normalization_3d_axis1_epsilon/1 test_layer_normalization_3d_axis1_epsilon/2
        test_layer_normalization_3d_axis2_epsilon/1 test_layer_normalization_3d_axis2_epsilon/2
        test_layer_normalization_3d_axis_negative_1_epsilon/1
        test_layer_normalization_3d_axis_negative_1_epsilon/2
        test_layer_normalization_3d_axis_negative_2_epsilon/1
        test_layer_normalization_3d_axis_negative_2_epsilon/2
        test_layer_normalization_3d_axis_negative_3_epsilon/1
        test_layer_normalization_3d_axis_negative_3_epsilon/2 test_layer_normalization_4d_axis0/1
        test_layer_normalization_4d_axis0/2 test_layer_normalization_4d_axis1/1
        test_layer_normalization_4d_axis1/2 test_layer_normalization_4d_axis2/1
        test_layer_normalization_4d_axis2/2 test_layer_normalization_4d_axis3/1
        test_layer_normalization_4d_axis3/2 test_layer_normalization_4d_axis_negative_1/1
        test_layer_normalization_4d_axis_negative_1/2 test_layer_normalization_4d_axis_negative_2/1
        test_layer_normalization_4d_axis_negative_2/2 test_layer_normalization_4d_axis_negative_3/1
        test_layer_normalization_4d_axis_negative_3/2 test_layer_normalization_4d_axis_negative_4/1
        test_layer_normalization_4d_axis_negative_4/2 test_layer_normalization_default_axis/1
        test_layer_normalization_default_axis/2
    """,
    "which gives float16": """
        test_cast_FLOAT16_to_DOUBLE test_cast_FLOAT16_to_FLOAT test_cast_FLOAT16_to_FLOAT4E2M1
        test_cast_FLOAT16_to_FLOAT8E4M3FN test_cast_FLOAT16_to_FLOAT8E4M3FNUZ test_cast_FLOAT16_to_FLOAT8E5M2
        test_cast_FLOAT16_to_FLOAT8E5M2FNUZ test_cast_FLOAT16_to_INT2 test_cast_FLOAT16_to_INT4
        test_cast_FLOAT16_to_UINT2 test_cast_FLOAT16_to_UINT4 test_cast_FLOAT_to_FLOAT16
        test_cast_e8m0_FLOAT16_to_FLOAT8E8M0 test_cast_no_saturate_FLOAT16_to_FLOAT8E4M3FN
        test_cast_no_saturate_FLOAT16_to_FLOAT8E4M3FNUZ test_cast_no_saturate_FLOAT16_to_FLOAT8E5M2
        test_cast_no_saturate_FLOAT16_to_FLOAT8E5M2FNUZ test_castlike_FLOAT16_to_DOUBLE_expanded
        test_castlike_FLOAT16_to_FLOAT4E2M1_expanded test_castlike_FLOAT16_to_FLOAT8E4M3FNUZ_expanded
        test_castlike_FLOAT16_to_FLOAT8E4M3FN_expanded test_castlike_FLOAT16_to_FLOAT8E5M2FNUZ_expanded
        test_castlike_FLOAT16_to_FLOAT8E5M2_expanded test_castlike_FLOAT16_to_FLOAT_expanded
        test_castlike_FLOAT16_to_INT2_expanded test_castlike_FLOAT16_to_INT4_expanded
        test_castlike_FLOAT16_to_UINT2_expanded test_castlike_FLOAT16_to_UINT4_expanded
        test_castlike_FLOAT_to_FLOAT16_expanded test_castlike_no_saturate_FLOAT16_to_FLOAT8E4M3FNUZ_expanded
        test_castlike_no_saturate_FLOAT16_to_FLOAT8E4M3FN_expanded
        test_castlike_no_saturate_FLOAT16_to_FLOAT8E5M2FNUZ_expanded
        test_castlike_no_saturate_FLOAT16_to_FLOAT8E5M2_expanded test_flexattention_fp16_expanded_ver26
        test_max_float16 test_min_float16
    """,
    "in training mode": """
        test_batchnorm_epsilon_training_mode/0 test_batchnorm_epsilon_training_mode/1
        test_batchnorm_epsilon_training_mode/2 test_batchnorm_example_training_mode/0
        test_batchnorm_example_training_mode/1 test_batchnorm_example_training_mode/2 test_training_dropout
        test_training_dropout_default test_training_dropout_default_mask/0 test_training_dropout_default_mask/1
        test_training_dropout_mask/0 test_training_dropout_mask/1 test_training_dropout_zero_ratio
        test_training_dropout_zero_ratio_mask/0 test_training_dropout_zero_ratio_mask/1
    """,
    "whose exponent is not one constant, 0.5 or a whole number up to 16": """
        test_pow test_pow_bcast_array test_pow_example test_pow_types_float32_int32 test_pow_types_float32_int64
        test_pow_types_float32_uint32 test_pow_types_float32_uint64 test_pow_types_int32_float32
        test_pow_types_int32_int32 test_pow_types_int64_float32 test_pow_types_int64_int64
    """,
    "which gives float64": """
        test_cast_DOUBLE_to_FLOAT test_cast_DOUBLE_to_FLOAT16 test_cast_FLOAT_to_DOUBLE
        test_castlike_DOUBLE_to_FLOAT16_expanded test_castlike_DOUBLE_to_FLOAT_expanded
        test_castlike_FLOAT_to_DOUBLE_expanded test_flexattention_double_expanded_ver26 test_max_float64
        test_min_float64
    """,
    "which gives float8e4m3fn": """
        test_cast_FLOAT8E4M3FN_to_FLOAT test_cast_FLOAT8E4M3FN_to_FLOAT16 test_cast_FLOAT_to_FLOAT8E4M3FN
        test_cast_no_saturate_FLOAT_to_FLOAT8E4M3FN test_castlike_FLOAT8E4M3FN_to_FLOAT16_expanded
        test_castlike_FLOAT8E4M3FN_to_FLOAT_expanded test_castlike_FLOAT_to_FLOAT8E4M3FN_expanded
        test_castlike_no_saturate_FLOAT_to_FLOAT8E4M3FN_expanded
    """,
    "which gives float8e4m3fnuz": """
        test_cast_FLOAT8E4M3FNUZ_to_FLOAT test_cast_FLOAT8E4M3FNUZ_to_FLOAT16 test_cast_FLOAT_to_FLOAT8E4M3FNUZ
        test_cast_no_saturate_FLOAT_to_FLOAT8E4M3FNUZ test_castlike_FLOAT8E4M3FNUZ_to_FLOAT16_expanded
        test_castlike_FLOAT8E4M3FNUZ_to_FLOAT_expanded test_castlike_FLOAT_to_FLOAT8E4M3FNUZ_expanded
        test_castlike_no_saturate_FLOAT_to_FLOAT8E4M3FNUZ_expanded
    """,
    "which gives float8e5m2": """
        test_cast_FLOAT8E5M2_to_FLOAT test_cast_FLOAT8E5M2_to_FLOAT16 test_cast_FLOAT_to_FLOAT8E5M2
        test_cast_no_saturate_FLOAT_to_FLOAT8E5M2 test_castlike_FLOAT8E5M2_to_FLOAT16_expanded
        test_castlike_FLOAT8E5M2_to_FLOAT_expanded test_castlike_FLOAT_to_FLOAT8E5M2_expanded
        test_castlike_no_saturate_FLOAT_to_FLOAT8E5M2_expanded
    """,
    "which gives float8e5m2fnuz": """
        test_cast_FLOAT8E5M2FNUZ_to_FLOAT test_cast_FLOAT8E5M2FNUZ_to_FLOAT16 test_cast_FLOAT_to_FLOAT8E5M2FNUZ
        test_cast_no_saturate_FLOAT_to_FLOAT8E5M2FNUZ test_castlike_FLOAT8E5M2FNUZ_to_FLOAT16_expanded
        test_castlike_FLOAT8E5M2FNUZ_to_FLOAT_expanded test_castlike_FLOAT_to_FLOAT8E5M2FNUZ_expanded
        test_castlike_no_saturate_FLOAT_to_FLOAT8E5M2FNUZ_expanded
    """,
    "which gives int2": """
        test_cast_FLOAT_to_INT2 test_cast_INT2_to_FLOAT test_cast_INT2_to_FLOAT16 test_cast_INT2_to_INT8
        test_castlike_FLOAT_to_INT2_expanded test_castlike_INT2_to_FLOAT16_expanded
        test_castlike_INT2_to_FLOAT_expanded test_castlike_INT2_to_INT8_expanded
    """,
    "which gives int4": """
        test_cast_FLOAT_to_INT4 test_cast_INT4_to_FLOAT test_cast_INT4_to_FLOAT16 test_cast_INT4_to_INT8
        test_castlike_FLOAT_to_INT4_expanded test_castlike_INT4_to_FLOAT16_expanded
        test_castlike_INT4_to_FLOAT_expanded test_castlike_INT4_to_INT8_expanded
    """,
    "which gives uint2": """
        test_cast_FLOAT_to_UINT2 test_cast_UINT2_to_FLOAT test_cast_UINT2_to_FLOAT16 test_cast_UINT2_to_UINT8
        test_castlike_FLOAT_to_UINT2_expanded test_castlike_UINT2_to_FLOAT16_expanded
        test_castlike_UINT2_to_FLOAT_expanded test_castlike_UINT2_to_UINT8_expanded
    """,
    "which gives uint4": """
        test_cast_FLOAT_to_UINT4 test_cast_UINT4_to_FLOAT test_cast_UINT4_to_FLOAT16 test_cast_UINT4_to_UINT8
        test_castlike_FLOAT_to_UINT4_expanded test_castlike_UINT4_to_FLOAT16_expanded
        test_castlike_UINT4_to_FLOAT_expanded test_castlike_UINT4_to_UINT8_expanded
    """,
    "has no elements": """
        test_rotary_embedding_3d_input_expanded test_rotary_embedding_expanded
        test_rotary_embedding_interleaved_expanded test_rotary_embedding_no_position_ids_expanded
        test_rotary_embedding_no_position_ids_interleaved_expanded test_shape_start_greater_than_end
        test_slice_start_out_of_bounds
    """,
    "has the size 0": """
        test_reduce_l1_empty_set_expanded test_reduce_max_empty_set test_reduce_max_empty_set_bool
        test_reduce_min_empty_set test_reduce_sum_empty_set test_reduce_sum_empty_set_non_reduced_axis_zero
        test_reduce_sum_square_empty_set_expanded
        test_reshape_allowzero_reordered test_split_zero_size_splits_opset13/0
        test_split_zero_size_splits_opset13/1 test_split_zero_size_splits_opset13/2
        test_split_zero_size_splits_opset18/0 test_split_zero_size_splits_opset18/1
        test_split_zero_size_splits_opset18/2
    """,
    "which gives float4e2m1": """
        test_cast_FLOAT4E2M1_to_FLOAT test_cast_FLOAT4E2M1_to_FLOAT16 test_cast_FLOAT_to_FLOAT4E2M1
        test_castlike_FLOAT4E2M1_to_FLOAT16_expanded test_castlike_FLOAT4E2M1_to_FLOAT_expanded
        test_castlike_FLOAT_to_FLOAT4E2M1_expanded
    """,
    "which gives bfloat16": """
        test_cast_BFLOAT16_to_FLOAT test_cast_FLOAT_to_BFLOAT16 test_castlike_BFLOAT16_to_FLOAT_expanded
        test_castlike_FLOAT_to_BFLOAT16_expanded
    """,
    "which gives float8e8m0": """
        test_cast_e8m0_FLOAT8E8M0_to_FLOAT test_cast_e8m0_FLOAT8E8M0_to_FLOAT16
        test_cast_e8m0_FLOAT_to_FLOAT8E8M0
    """,
    "of bool": """
        test_reduce_max_bool_inputs test_reduce_min_bool_inputs
    """,
    "whose Indices are used": """
        test_maxpool_with_argmax_2d_precomputed_pads/1 test_maxpool_with_argmax_2d_precomputed_strides/1
    """,
    "the inputs are none": """
        test_constant
    """,
    "the inputs are opt_in (optional_type)": """
        test_identity_opt
    """,
    "the inputs are x (sequence_type)": """
        test_identity_sequence
    """,
    "Attention node": """
        test_attention_24_qk_matmul_output_mode3_softmax_precision/0
        test_attention_24_qk_matmul_output_mode3_softmax_precision/1 test_attention_3d_causal_bf16
        test_attention_4d_attn_mask_causal_bf16 test_attention_4d_causal_bf16 test_attention_4d_causal_fp16
        test_attention_4d_causal_nonpad_attn_mask_composition test_attention_4d_causal_nonpad_batch_prefill
        test_attention_4d_causal_nonpad_continued_prefill
        test_attention_4d_causal_nonpad_negative_offset_structural_empty test_attention_4d_causal_padded_kv_bf16
        test_attention_4d_causal_with_past_and_present/0 test_attention_4d_causal_with_past_and_present/1
        test_attention_4d_causal_with_past_and_present/2 test_attention_4d_diff_heads_mask4d_padded_kv
        test_attention_4d_fp16 test_attention_4d_gqa_causal_nonpad_decode
        test_attention_4d_gqa_causal_nonpad_decode_fp16 test_attention_4d_gqa_with_past_and_present_fp16/0
        test_attention_4d_padded_kv_bf16 test_attention_local_window_ext_cache_float16_mask
        test_attention_local_window_ext_cache_rank2_mask test_attention_local_window_ext_cache_rank3_head_mask
        test_attention_local_window_ext_cache_rank4_batch_mask test_attention_local_window_gqa_rank4_mask/0
        test_attention_local_window_gqa_rank4_mask/1 test_attention_local_window_with_past/0
        test_attention_local_window_with_past/1 test_attention_local_window_with_past/2
    """,
}
