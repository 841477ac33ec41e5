//! One binary for all integration tests, laid out as `src/` is.

mod service;
mod support;
