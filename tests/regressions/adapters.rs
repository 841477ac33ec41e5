//! Adapters, heads, names and converted files that gave another result than peft or transformers.

mod classes;
mod files;
mod merged;
mod messages;
mod pickles;
mod tokens;
mod trainer;
