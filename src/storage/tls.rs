//! The provider of TLS.

/// Chooses the process's TLS once. Two callers may race to be first; either is the provider that is wanted.
pub(super) fn install_provider() {
    let _ = rustls::crypto::ring::default_provider().install_default();
}
