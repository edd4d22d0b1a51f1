//! Writes the C header of `ffi/` to the build's output folder and versions the shared library's name.
//! `make header` copies it to `include/leadership.h`; a test of `ffi/` compares the two.

use std::path::Path;

fn main() {
    let package = std::env::var("CARGO_MANIFEST_DIR").unwrap_or_default();
    let out = std::env::var("OUT_DIR").unwrap_or_default();
    let major = std::env::var("CARGO_PKG_VERSION_MAJOR").unwrap_or_default();
    println!("cargo::rerun-if-changed=src");
    println!("cargo::rerun-if-changed=cbindgen.toml");
    // Never unloaded: threads run in it, and a dlclose would take their code away under them.
    println!("cargo::rustc-cdylib-link-arg=-Wl,-z,nodelete");
    println!("cargo::rustc-cdylib-link-arg=-Wl,-soname,libleadership.so.{major}");
    let config = match cbindgen::Config::from_file(Path::new(&package).join("cbindgen.toml")) {
        Ok(config) => config,
        Err(error) => panic!("cbindgen.toml: {error}"),
    };
    match cbindgen::generate_with_config(&package, config) {
        Ok(header) => header.write_to_file(Path::new(&out).join("leadership.h")),
        Err(error) => panic!("the header could not be made: {error}"),
    };
}
