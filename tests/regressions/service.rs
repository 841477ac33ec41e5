//! Requests, tenants and workers that took more than their share, or more than their rights.
