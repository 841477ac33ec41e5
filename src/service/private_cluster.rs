//! private_cluster
