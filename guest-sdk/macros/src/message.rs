use proc_macro2::TokenStream;
use quote::quote;
use syn::{Data, DeriveInput, Error, Result};

use crate::rename::Rule;
use crate::variant::{Variant, of, one_name, pass_over, refuse};

/// Serde's attributes that make an enum's messages not named by its variants.
const OTHER_FORMS: [&str; 8] = [
    "tag",
    "content",
    "untagged",
    "from",
    "try_from",
    "into",
    "transparent",
    "remote",
];

pub(crate) fn derive(input: &DeriveInput) -> Result<TokenStream> {
    let variants = variants(input)?;
    check_names(&variants)?;
    let attributes = variants
        .iter()
        .filter(|variant| {
            variant.version.is_some()
                || variant.unchanged_since.is_some()
                || !variant.aliases.is_empty()
        })
        .map(attributes);
    let name = &input.ident;
    let (impl_generics, type_generics, where_clause) = input.generics.split_for_impl();
    Ok(quote! {
        #[automatically_derived]
        impl #impl_generics ::quipu_guest::Message for #name #type_generics #where_clause {
            const ATTRIBUTES: &'static [::quipu_guest::Attributes] = &[#(#attributes),*];
        }
    })
}

fn variants(input: &DeriveInput) -> Result<Vec<Variant>> {
    let Data::Enum(data) = &input.data else {
        let text = "a message is an enum: each variant is a type of command or event";
        return Err(Error::new_spanned(&input.ident, text));
    };
    refuse(&input.attrs, "the enum")?;
    let mut rule = Rule::default();
    for attribute in of(&input.attrs, "serde") {
        attribute.parse_nested_meta(|meta| {
            if meta.path.is_ident("rename_all") {
                rule = Rule::of(&one_name(&meta)?)?;
                return Ok(());
            }
            match OTHER_FORMS.iter().find(|form| meta.path.is_ident(form)) {
                None => pass_over(&meta),
                Some(form) => Err(meta.error(format!(
                    "a message is an enum in serde's usual form, without `{form}`"
                ))),
            }
        })?;
    }
    let read = data
        .variants
        .iter()
        .map(|variant| Variant::read(variant, rule));
    Ok(read
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect())
}

fn check_names(variants: &[Variant]) -> Result<()> {
    let mut seen = Vec::new();
    for variant in variants {
        for name in std::iter::once(&variant.name).chain(&variant.aliases) {
            if name.is_empty() {
                return Err(Error::new(variant.span, "a name is empty"));
            }
            if seen.contains(&name) {
                return Err(Error::new(
                    variant.span,
                    format!("two variants are called `{name}`"),
                ));
            }
            seen.push(name);
        }
    }
    Ok(())
}

fn attributes(variant: &Variant) -> TokenStream {
    let Variant {
        name,
        version,
        aliases,
        unchanged_since,
        ..
    } = variant;
    let unchanged_since = match unchanged_since {
        None => quote!(::core::option::Option::None),
        Some(since) => quote!(::core::option::Option::Some(#since)),
    };
    let version = match version {
        None => quote!(::core::option::Option::None),
        Some(version) => quote!(::core::option::Option::Some(#version)),
    };
    quote! {
        ::quipu_guest::Attributes {
            name: #name,
            schema_version: #version,
            aliases: &[#(#aliases),*],
            unchanged_since: #unchanged_since,
        }
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;

    #[track_caller]
    fn read(text: &str) -> std::result::Result<String, String> {
        let input: DeriveInput = syn::parse_str(text).unwrap();
        let describe = |variant: &Variant| {
            let Variant {
                name,
                version,
                aliases,
                ..
            } = variant;
            format!("{name} {} {aliases:?}", version.unwrap_or_default())
        };
        variants(&input)
            .and_then(|variants| check_names(&variants).map(|()| variants))
            .map(|variants| variants.iter().map(describe).collect::<Vec<_>>().join("; "))
            .map_err(|error| error.to_string())
    }

    #[track_caller]
    fn refused(text: &str, expected: &str) {
        let error = read(text).unwrap_err();
        assert!(error.contains(expected), "{error}");
    }

    #[test]
    fn a_form_that_is_unchanged_has_an_older_version() {
        let text = "enum E { #[quipu(version = 3, unchanged_since = 2)] A }";
        let input: DeriveInput = syn::parse_str(text).unwrap();
        let read = variants(&input).unwrap();
        assert_eq!(read[0].unchanged_since, Some(2));
        for (text, expected) in [
            (
                "enum E { #[quipu(version = 2, unchanged_since = 2)] A }",
                "older than the variant's version 2",
            ),
            (
                "enum E { #[quipu(unchanged_since = 1)] A }",
                "older than the variant's version 1",
            ),
            (
                "enum E { #[quipu(version = 2, unchanged_since = 0)] A }",
                "begin at 1",
            ),
            (
                "enum E { #[quipu(version = 3, unchanged_since = 1, unchanged_since = 2)] A }",
                "a second `unchanged_since`",
            ),
        ] {
            refused(text, expected);
        }
    }

    #[test]
    fn names_versions_and_aliases_are_read() {
        let found = read(
            r#"
            #[serde(rename_all = "kebab-case", deny_unknown_fields, bound(serialize = "T: X"))]
            enum Event<T> {
                #[quipu(version = 2, alias = "a", alias = "b")]
                OneTwo(#[serde(default = "x")] T),
                #[serde(rename = "drei", alias = "b2")]
                #[quipu(alias = "b2")]
                Three,
                #[serde(skip)]
                Four,
                r#Type,
            }"#,
        );
        let expected = r#"one-two 2 ["a", "b"]; drei 0 ["b2"]; type 0 []"#;
        assert_eq!(found.as_deref(), Ok(expected));
    }

    #[test]
    fn what_is_no_enum_in_serdes_usual_form_is_refused() {
        refused("struct Event;", "a message is an enum");
        refused(r#"#[serde(tag = "t")] enum E { A }"#, "without `tag`");
        refused("#[serde(untagged)] enum E { A }", "without `untagged`");
        refused(
            r#"enum E { #[serde(rename(serialize = "a"))] A }"#,
            "one name for both directions",
        );
        refused(
            r#"#[serde(rename_all = "Kebab")] enum E { A }"#,
            "no such `rename_all`",
        );
    }

    #[test]
    fn what_is_wrong_in_an_attribute_is_named() {
        refused("enum E { #[quipu(version = 0)] A }", "begin at 1");
        refused(
            "enum E { #[quipu(version = 1, version = 2)] A }",
            "a second `version`",
        );
        refused(
            r#"enum E { #[quipu(version = "1")] A }"#,
            "expected integer literal",
        );
        refused(
            r#"enum E { #[quipu(was = "b")] A }"#,
            "expected `version = 2`, `unchanged_since = 1` or `alias",
        );
        refused("#[quipu(version = 1)] enum E { A }", "not on the enum");
        refused(
            "enum E { A { #[quipu(version = 1)] a: u8 } }",
            "not on a field",
        );
        refused(
            "enum E { #[serde(skip)] #[quipu(version = 1)] A }",
            "serde skips this variant",
        );
    }

    #[test]
    fn two_variants_cannot_share_a_name() {
        refused(r#"enum E { A, #[quipu(alias = "A")] B }"#, "called `A`");
        refused(r#"enum E { #[quipu(alias = "A")] A }"#, "called `A`");
        refused(
            r#"enum E { #[quipu(alias = "c")] A, #[serde(alias = "c")] B }"#,
            "called `c`",
        );
        refused(r#"enum E { #[quipu(alias = "")] A }"#, "a name is empty");
    }
}
