//! The OpenAI-compatible protocol (vLLM, NIM, SGLang, llama.cpp).
