//! Builds components from the texts in `tests/guests`.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{Resolve, WorldId};

/// The component of a guest's file, for the world of a decider.
pub fn component(name: &str) -> Vec<u8> {
    component_of(name, "decider-guest")
}

/// The component of a guest's file, for any world of the contract.
pub fn component_of(name: &str, world: &str) -> Vec<u8> {
    let text = read(name).unwrap();
    let made = if text.contains("(component") {
        wat::parse_str(&text).map_err(anyhow::Error::from)
    } else if text.contains("(module") {
        encode(&text, world)
    } else {
        variant(&text).and_then(|text| encode(&text, world))
    };
    made.with_context(|| name.to_owned()).unwrap()
}

/// The decider with other functions, given as text.
pub fn decider_with(forms: &str) -> Vec<u8> {
    variant(forms)
        .and_then(|text| encode(&text, "decider-guest"))
        .unwrap()
}

/// The decider with an export that the contract does not have.
pub fn decider_that_exports(name: &str) -> Vec<u8> {
    let made = || {
        let text = variant(&format!("(func (export \"{name}\"))"))?;
        let mut resolve = Resolve::default();
        resolve.push_path(folder().join("../wit"))?;
        let world = format!(
            "package quipu:tests; world more {{ include quipu:domain/decider-guest@0.1.0; export {name}: func(); }}"
        );
        let package = resolve.push_str("more.wit", &world)?;
        let world = resolve.select_world(&[package], Some("more"))?;
        encoded(&text, &resolve, world)
    };
    made().unwrap()
}

/// The component of a core module, given as text.
pub fn component_of_text(core: &str, world: &str) -> Vec<u8> {
    encode(core, world).unwrap()
}

fn read(name: &str) -> Result<String> {
    let path = folder().join("guests").join(name).with_extension("wat");
    std::fs::read_to_string(&path).with_context(|| path.display().to_string())
}

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).to_owned()
}

fn encode(core: &str, world: &str) -> Result<Vec<u8>> {
    let mut resolve = Resolve::default();
    let (package, _) = resolve.push_path(folder().join("../wit"))?;
    let world = resolve.select_world(&[package], Some(world))?;
    encoded(core, &resolve, world)
}

fn encoded(core: &str, resolve: &Resolve, world: WorldId) -> Result<Vec<u8>> {
    let mut module = wat::parse_str(core)?;
    embed_component_metadata(&mut module, resolve, world, StringEncoding::UTF8)?;
    ComponentEncoder::default()
        .module(&module)?
        .validate(true)
        .encode()
}

/// The skeleton with some of its forms replaced by forms of the same name; others are added at its
/// end.
fn variant(forms: &str) -> Result<String> {
    let mut skeleton = read("skeleton")?;
    let mut added = String::new();
    for form in split(forms) {
        let name = heading(form);
        let inner = skeleton.find("(module").context("no module")? + "(module".len();
        let replaced = split(&skeleton[inner..])
            .into_iter()
            .find(|known| name.contains('$') && heading(known) == name)
            .map(str::to_owned);
        match replaced {
            Some(known) => skeleton = skeleton.replacen(&known, form, 1),
            None => added.push_str(form),
        }
    }
    let end = skeleton.rfind(')').context("no end")?;
    skeleton.insert_str(end, &added);
    ensure!(split(&skeleton).len() == 1, "parentheses do not match");
    Ok(skeleton)
}

/// The kind of a form and its name: `(func $decide`.
fn heading(form: &str) -> String {
    let words: Vec<&str> = form.split_whitespace().take(2).collect();
    words.join(" ").trim_end_matches(')').to_owned()
}

/// The outermost forms of a text, without the text between them. Ends at an unmatched closing
/// parenthesis.
fn split(text: &str) -> Vec<&str> {
    let (mut forms, mut depth, mut start) = (Vec::new(), 0usize, 0);
    let mut bytes = text.bytes().enumerate();
    while let Some((at, byte)) = bytes.next() {
        match byte {
            b';' => _ = bytes.find(|(_, byte)| *byte == b'\n'),
            b'"' => skip_string(&mut bytes),
            b'(' => {
                if depth == 0 {
                    start = at;
                }
                depth += 1;
            }
            b')' if depth == 0 => break,
            b')' => {
                depth -= 1;
                if depth == 0 {
                    forms.push(&text[start..=at]);
                }
            }
            _ => {}
        }
    }
    forms
}

fn skip_string(bytes: &mut impl Iterator<Item = (usize, u8)>) {
    while let Some((_, byte)) = bytes.next() {
        match byte {
            b'\\' => _ = bytes.next(),
            b'"' => return,
            _ => {}
        }
    }
}
