//! The bindings in `src/bindings/generated` are those that wit-bindgen makes of `wit/`.
//!
//! They are part of the source tree so that a guest project compiles neither the generator nor its
//! parsers.

#![allow(clippy::unwrap_used)]

use std::path::{Path, PathBuf};
use std::{env, fs};

use wit_bindgen_core::wit_parser::Resolve;
use wit_bindgen_core::{Files, WorldGenerator};
use wit_bindgen_rust::{Opts, WithOption};

/// One file of bindings. Each interface is a world of its own, so that a component exports only
/// those that its author implements.
struct Bindings {
    file: &'static str,
    wit: &'static str,
    /// Whether the types that all interfaces share are generated here; otherwise, the module to use
    /// them from.
    with_types: bool,
}

const BINDINGS: [Bindings; 4] = [
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
        with_types: true,
    },
    Bindings {
        file: "decider.rs",
        wit: "
            package quipu:guest-decider;
            world deciding {
                export quipu:domain/decider@0.1.0;
            }
        ",
        with_types: false,
    },
    Bindings {
        file: "projection.rs",
        wit: "
            package quipu:guest-projection;
            world projecting {
                export quipu:domain/projection@0.1.0;
            }
        ",
        with_types: false,
    },
    Bindings {
        file: "upcaster.rs",
        wit: "
            package quipu:guest-upcaster;
            world lifting {
                export quipu:domain/upcaster@0.1.0;
            }
        ",
        with_types: false,
    },
];

#[test]
fn the_bindings_checked_in_are_those_of_the_contract() {
    let folder = root().join("src/bindings/generated");
    for bindings in &BINDINGS {
        let path = folder.join(bindings.file);
        let generated = bindings.generate();
        if env::var_os("QUIPU_RENEW").is_some() {
            fs::write(&path, &generated).unwrap();
        }
        // Not `assert_eq`, which would print both files.
        assert!(
            fs::read_to_string(&path).unwrap_or_default() == generated,
            "{} is not what wit-bindgen makes of wit/; renew it with \
             `QUIPU_RENEW=1 cargo test -p quipu-guest --test bindings`",
            path.display()
        );
    }
}

impl Bindings {
    fn generate(&self) -> String {
        let mut resolve = Resolve::default();
        resolve.push_dir(root().join("../wit")).unwrap();
        let package = resolve.push_str(self.file, self.wit).unwrap();
        let world = resolve.select_world(&[package], None).unwrap();
        let mut files = Files::default();
        self.options()
            .build()
            .generate(&mut resolve, world, &mut files)
            .unwrap();
        let mut contents = files.iter().map(|(_, contents)| contents.to_vec());
        let generated = String::from_utf8(contents.next().unwrap()).unwrap();
        assert!(contents.next().is_none(), "{}: one file", self.file);
        generated
    }

    fn options(&self) -> Opts {
        let mut options = Opts {
            format: true,
            pub_export_macro: true,
            generate_unused_types: self.with_types,
            generate_all: self.with_types,
            ..Opts::default()
        };
        if !self.with_types {
            let types = WithOption::Path("crate::bindings::types".to_owned());
            options
                .with
                .push(("quipu:domain/types@0.1.0".to_owned(), types));
        }
        options
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}
