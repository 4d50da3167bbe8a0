//! Compiles the contract in `proto/` without a protoc on the machine.

use std::{env, error::Error, fs, path::PathBuf};

/// The service, and what clients decode without a field of the service that names it.
const ROOTS: [&str; 3] = [
    "contact/v1/contact_service.proto",
    "contact/v1/errors.proto",
    "google/rpc/error_details.proto",
];
/// The service of test servers, which others do not describe.
const TESTING_ROOTS: [&str; 1] = ["contact/testing/v1/testing_service.proto"];

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party/proto");
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    for (roots, file) in [
        (&ROOTS[..], "contact.v1.binpb"),
        (&TESTING_ROOTS[..], "contact.testing.v1.binpb"),
    ] {
        // Reflection serves these descriptors; comments would only make them longer. The compiler's own
        // encoding keeps the options of the methods, which the generated types of descriptors drop.
        fs::write(
            out_dir.join(file),
            compile(roots, false)?.encode_file_descriptor_set(),
        )?;
        tonic_prost_build::configure()
            .extern_path(".google.rpc.Status", "::tonic_types::Status")
            .compile_fds(compile(roots, true)?.file_descriptor_set())?;
    }
    Ok(())
}

fn compile(roots: &[&str], with_comments: bool) -> Result<protox::Compiler, Box<dyn Error>> {
    let mut compiler = protox::Compiler::new(["proto", "third_party/proto"])?;
    compiler
        .include_imports(true)
        .include_source_info(with_comments)
        .open_files(roots)?;
    Ok(compiler)
}
