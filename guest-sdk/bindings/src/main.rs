//! Makes the bindings in `src/bindings/generated` of the guest SDK, with wit-bindgen, from `wit/`.
//!
//! They are part of the source tree so that a guest project compiles neither the generator nor its
//! parsers. `digests.txt` next to them says from which contract they were made; a test of the SDK
//! compares it with the contract and the bindings.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use sha2::{Digest as _, Sha256};
use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// One file of bindings. Each interface is a world of its own, so that a component exports only
/// those that its author implements.
struct Bindings {
    file: &'static str,
    wit: &'static str,
    types: Types,
}

/// The types that all interfaces share.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Types {
    /// They are generated here, all of them.
    Here,
    /// They are used from the bindings in which they are generated.
    There,
    /// They are generated here as far as they are used, for a guest that has no SDK.
    Own,
}

const BINDINGS: [Bindings; 5] = [
    Bindings {
        file: "manifest.rs",
        wit: "
            package quipu:guest-manifest;
            world described {
                import quipu:domain/types@0.1.0;
                import quipu:domain/diagnostics@0.1.0;
                export quipu:domain/manifest@0.1.0;
            }
        ",
        types: Types::Here,
    },
    Bindings {
        file: "decider.rs",
        wit: "
            package quipu:guest-decider;
            world deciding {
                export quipu:domain/decider@0.1.0;
            }
        ",
        types: Types::There,
    },
    Bindings {
        file: "projection.rs",
        wit: "
            package quipu:guest-projection;
            world projecting {
                export quipu:domain/projection@0.1.0;
            }
        ",
        types: Types::There,
    },
    Bindings {
        file: "upcaster.rs",
        wit: "
            package quipu:guest-upcaster;
            world lifting {
                export quipu:domain/upcaster@0.1.0;
            }
        ",
        types: Types::There,
    },
    // The guest of the host's tests, which an SDK must not stand between.
    Bindings {
        file: "../../../../tests/probe/src/generated/bindings.rs",
        wit: "
            package quipu:probe;
            world probing {
                include quipu:domain/domain-guest@0.1.0;
            }
        ",
        types: Types::Own,
    },
];

fn main() -> Result<()> {
    let folder = sdk().join("src/bindings/generated");
    for bindings in &BINDINGS {
        let path = folder.join(bindings.file);
        fs::write(&path, bindings.generate()?)?;
        println!("{}", path.display());
    }
    fs::write(folder.join("digests.txt"), digests()?)?;
    Ok(())
}

/// The digests of the contract and of the bindings.
fn digests() -> Result<String> {
    let mut text = String::new();
    let folders = [
        "../wit",
        "src/bindings/generated",
        "../tests/probe/src/generated",
    ];
    for folder in folders {
        let mut files = Vec::new();
        for entry in fs::read_dir(sdk().join(folder))? {
            files.push(entry?.path());
        }
        files.sort();
        for file in files {
            let extension = file.extension().and_then(|it| it.to_str());
            if !matches!(extension, Some("wit" | "rs")) {
                continue;
            }
            let name = file.file_name().context("a file has a name")?;
            let digest = Sha256::digest(fs::read(&file)?);
            let digits: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
            writeln!(text, "{digits}  {folder}/{}", name.to_string_lossy())?;
        }
    }
    Ok(text)
}

impl Bindings {
    fn generate(&self) -> Result<String> {
        let mut resolve = Resolve::default();
        resolve.push_dir(sdk().join("../wit"))?;
        let package = resolve.push_str(self.file, self.wit)?;
        let world = resolve.select_world(&[package], None)?;
        let mut files = Files::default();
        self.options()
            .build()
            .generate(&mut resolve, world, &mut files)?;
        let mut contents = files.iter().map(|(_, contents)| contents.to_vec());
        let generated = String::from_utf8(contents.next().context("no file was made")?)?;
        ensure!(contents.next().is_none(), "{}: one file", self.file);
        Ok(generated)
    }

    fn options(&self) -> Opts {
        let mut options = Opts {
            format: true,
            pub_export_macro: self.types != Types::Own,
            generate_unused_types: self.types == Types::Here,
            generate_all: self.types != Types::There,
            ..Opts::default()
        };
        if self.types == Types::There {
            let types = WithOption::Path("crate::bindings::types".to_owned());
            options
                .with
                .push(("quipu:domain/types@0.1.0".to_owned(), types));
        }
        options
    }
}

/// The folder of the guest SDK.
fn sdk() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
