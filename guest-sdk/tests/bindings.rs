//! The bindings in `src/bindings/generated` are those of the contract in `wit/`.
//!
//! `cargo xtask bindings` makes them, together with the digests of what they were made from and of
//! themselves. The generator takes minutes to compile, so this test compares the digests.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use sha2::{Digest, Sha256};

#[test]
fn the_bindings_checked_in_are_those_of_the_contract() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let listed = root.join("src/bindings/generated/digests.txt");
    let listed = fs::read_to_string(listed).unwrap();
    let mut names = Vec::new();
    for line in listed.lines() {
        let (digits, name) = line.split_once("  ").unwrap();
        let found = Sha256::digest(fs::read(root.join(name)).unwrap());
        let found: String = found.iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(
            found, digits,
            "{name} has changed; run `cargo xtask bindings`"
        );
        names.push(name.to_owned());
    }
    let mut expected = Vec::new();
    for folder in ["../wit", "src/bindings/generated"] {
        for entry in fs::read_dir(root.join(folder)).unwrap() {
            let name = entry.unwrap().file_name().into_string().unwrap();
            if name != "digests.txt" {
                expected.push(format!("{folder}/{name}"));
            }
        }
    }
    expected.push("../tests/probe/src/generated/bindings.rs".to_owned());
    names.sort();
    expected.sort();
    assert_eq!(names, expected, "run `cargo xtask bindings`");
}
