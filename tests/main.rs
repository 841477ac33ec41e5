//! The integration tests: one binary, one module an area, mirroring `src/`.

mod support {
    pub mod files;
    pub mod s3_server;
}

mod storage {
    mod files;
    mod s3;
}

mod artifacts {
    mod hostile;
    mod models;
    mod results;
}
