//! Compiles the contract in `proto/` without a protoc on the machine.

use std::{env, error::Error, fs, path::PathBuf};

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    println!("cargo:rerun-if-changed=third_party/proto");
    let descriptors = protox::Compiler::new(["proto", "third_party/proto"])?
        .include_imports(true)
        .include_source_info(true)
        .open_file("contact/v1/contact_service.proto")?
        .file_descriptor_set();
    let out_dir = PathBuf::from(env::var("OUT_DIR")?);
    // Reflection serves the descriptors; comments would only make them longer.
    let mut served = descriptors.clone();
    for file in &mut served.file {
        file.source_code_info = None;
    }
    fs::write(
        out_dir.join("contact.v1.binpb"),
        prost::Message::encode_to_vec(&served),
    )?;
    tonic_prost_build::configure()
        .extern_path(".google.rpc.Status", "::tonic_types::Status")
        .compile_fds(descriptors)?;
    Ok(())
}
