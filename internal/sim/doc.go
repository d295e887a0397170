// Package sim is a simulated serving engine: a continuous-batching scheduler
// over a roofline of a GPU and a model, behind an [net/http.Handler] that speaks
// the captured text of the engine that it stands for.
//
//	argv  →  knobs  →  deployment (memory, KV capacity)  →  steps  →  tokens  →  events
//
// It knows no engine by name. The options, routes, streams, metrics, log lines
// and error bodies are files of a [Surface]; this package turns knobs into
// behaviour and fills the files. Time is that of package time, so that the
// handler is an exact clockwork in a testing/synctest bubble over net.Pipe.
//
// Knobs that change the model:
//
//	model served_name host port api_key      identity
//	tp pp dp ep                              parallel sizes, with their communication
//	max_running slots                        requests in a batch
//	max_batch_tokens chunk_tokens ubatch     tokens of a step
//	chunked_prefill mixed_prefill            how a prompt shares steps with decodes
//	mem_fraction kv_fraction mem_scope max_total_tokens block_size kv_dtype   KV capacity
//	context_len                              longest request
//	prefix_cache schedule_policy             reuse of prompts, order of the queue
//	cuda_graph graph_max_bs overlap_schedule cost of launching a step
//	attention_backend prefill_attention decode_attention moe_backend flash_attention
//	dtype quantization                       bytes and flops of the weights
//	speculative spec_tokens                  tokens of a decode step
//	reasoning                                parser of reasoning: half of a chat's answer is thought
//	threads threads_batch cont_batching      CPUs and batching of a CPU engine
//	max_queued                               requests waiting before they are refused
//	profile_dir                              folder of traces where a request names none
//
// A route may need any knob (metrics, profile, …) to be "true".
//
// mem_fraction is the share of the GPU's memory for everything; with mem_scope
// "static" it covers weights and KV cache, and activations and graphs must fit
// beside it. kv_fraction is the share of what is free once the model has run.
//
// Other knobs may be named by a surface and shown in its texts; they change
// nothing.
//
// Tokens: a text counts one token a word (words split by white space), a chat
// the words of its messages and four a message, a prompt of token ids its ids.
// Generated text is one word a token, one event a token; with speculation one
// event a step, with the tokens that were accepted in it.
package sim
