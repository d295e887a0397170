// Package foreign reads other benchmark tools' results, and says why two tools
// disagree about one server:
//
//	FILE of another tool  →  Read     →  result.Row, one for each measurement
//	two results           →  Explain  →  the difference of each figure by its causes
//	result.Row            →  WriteBenchfmt  →  lines that benchstat reads
//
// A figure becomes a row's figure only where it means the same; latencies become
// milliseconds, rates become per second, here and nowhere later. What differs in
// meaning is said in a warning of the row, and every number of the file is kept
// under its own key in Row.Imported.
//
// The formats, and where their keys were read:
//
//	vllm            vllm/benchmarks/serve.py of vllm-project/vllm @ 009e6d4a, and the
//	                older copy utils/bench_serving of SemiAnalysisAI/InferenceX
//	                @ 843c6254 (2026-08-21)
//	sglang          python/sglang/benchmark/serving.py of sgl-project/sglang @ 00f9ec47
//	trtllm          tensorrt_llm/serve/scripts/benchmark_serving.py of NVIDIA/TensorRT-LLM
//	                @ 0228a712, and the report of trtllm-bench:
//	                tensorrt_llm/bench/dataclasses/reporting.py @ 02499765
//	aiperf          docs/reference/json-export-schema.md of ai-dynamo/aiperf @ 1554b478
//	                (schema 1.5) and src/aiperf/common/models/export_models.py @ 26240f9e
//	guidellm        src/guidellm/benchmark/schemas/generative/{benchmark,metrics}.py of
//	                vllm-project/guidellm @ 03820eba and @ 06cef291
//	inference-perf  inference_perf/reportgen/base.py of kubernetes-sigs/inference-perf
//	                @ 010d12fb
//
// What each tool measures was read from its code, not from its documentation.
package foreign
