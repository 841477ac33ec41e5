//! The same work on other numbers of threads, whose bytes must not differ.

/// What `work` gives on a pool of so many threads.
///
/// # Panics
/// When the system gives no threads.
pub fn with_threads<T: Send>(threads: usize, work: impl FnOnce() -> T + Send) -> T {
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build();
    pool.expect("threads for a test").install(work)
}
