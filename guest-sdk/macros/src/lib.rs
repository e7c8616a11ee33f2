//! The derive macro of `quipu-guest`, which re-exports it; use it from there.

mod message;
mod rename;
mod variant;

use proc_macro::TokenStream;
use syn::{DeriveInput, Error, parse_macro_input};

/// Schema versions and older names of an enum's variants, for the manifest.
///
/// On a variant: `#[quipu(version = 2)]` names the schema version of its body, from 1;
/// `#[quipu(alias = "opened")]`, as often as needed, a name that it had before;
/// `#[quipu(version = 3, unchanged_since = 2)]` says that bodies of version 2 have the form of
/// version 3, so that no upcaster is needed between them.
#[proc_macro_derive(Message, attributes(quipu))]
pub fn message(input: TokenStream) -> TokenStream {
    let input = parse_macro_input!(input as DeriveInput);
    let output = message::derive(&input);
    output.unwrap_or_else(Error::into_compile_error).into()
}
