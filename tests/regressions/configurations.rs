//! Settings of a configuration that change the computation, and numbers in it that no memory holds.
