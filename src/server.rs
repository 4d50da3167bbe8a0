//! The serving process: the gRPC server with its listeners, connections and TLS, the background
//! jobs, readiness, and a graceful shutdown.

mod background;
mod connections;
mod descriptors;
mod readiness;
mod router;
mod run;
mod testing;
mod tls;

pub use self::{
    descriptors::{max_connections, max_descriptors, raise_descriptor_limit},
    readiness::SERVICE_NAME,
    run::{Parts, serve},
    testing::TestControl,
    tls::{Tls, TlsFiles},
};
