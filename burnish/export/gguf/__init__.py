"""GGUF, the file that llama.cpp and Ollama read: layouts, vocabulary, writer, and llama.cpp itself to try it with."""
