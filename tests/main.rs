//! The integration tests: one binary, one module an area, mirroring `src/`.

mod service;
mod support;

mod storage {
    mod files;
    mod s3;
}

mod artifacts {
    mod hostile;
    mod models;
    mod pytorch;
    mod results;
}
