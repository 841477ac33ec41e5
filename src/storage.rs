//! Locations in object storage: allowed roots, streaming, digests.

/// The object stores that this process may touch.
#[derive(Clone, Debug)]
pub struct Storage {}
