//! The guest SDKs, as they are in this program.

use std::borrow::Cow;

use super::Language;

include!(concat!(env!("OUT_DIR"), "/sdk_files.rs"));

/// The files of a language's SDK: the path in the folder `sdk`, and the contents.
pub(super) fn files(language: Language) -> Vec<(&'static str, Cow<'static, [u8]>)> {
    let of = |files: &'static [(&str, &[u8])]| {
        files
            .iter()
            .map(|(path, bytes)| (*path, Cow::Borrowed(*bytes)))
    };
    match language {
        Language::Rust => {
            let manifests = [
                (
                    "quipu-guest/Cargo.toml",
                    include_str!("../../templates/rust/sdk/quipu-guest.toml"),
                ),
                (
                    "quipu-guest-macros/Cargo.toml",
                    include_str!("../../templates/rust/sdk/quipu-guest-macros.toml"),
                ),
            ];
            let manifests = manifests.map(|(path, text)| {
                let text = text.replace("{{version}}", env!("CARGO_PKG_VERSION"));
                (path, Cow::Owned(text.into_bytes()))
            });
            of(RUST).chain(manifests).collect()
        }
        Language::TypeScript | Language::JavaScript => of(NODE).collect(),
        Language::Python => of(PYTHON).collect(),
    }
}
