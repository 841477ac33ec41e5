//! Adapters, heads, names and converted files that gave another result than peft or transformers.
