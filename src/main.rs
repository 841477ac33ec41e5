//! The `retune` program; everything is in the library.

/// Tensors come and go in large blocks; this allocator keeps them at hand.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> std::process::ExitCode {
    retune::cli::main()
}
