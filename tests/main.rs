//! The integration tests: one binary, one module an area, mirroring `src/`.

mod engine {
    mod networks;
    mod planted;
    mod symmetry;
}
