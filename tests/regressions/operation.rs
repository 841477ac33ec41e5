//! Databases, servers and documents that looked healthy and were not.
