use proc_macro2::Span;
use syn::ext::IdentExt;
use syn::meta::ParseNestedMeta;
use syn::{Attribute, Error, Expr, LitInt, LitStr, Result, Token, parenthesized};

use crate::rename::Rule;

/// A variant as the manifest sees it.
pub(crate) struct Variant {
    pub span: Span,
    /// The name as serde has it.
    pub name: String,
    pub version: Option<u32>,
    /// Aliases of both kinds: serde's and those of this macro.
    pub aliases: Vec<String>,
    /// The oldest version whose bodies have the current form.
    pub unchanged_since: Option<u32>,
}

impl Variant {
    /// Returns the variant; none when serde reads no such variant.
    pub(crate) fn read(variant: &syn::Variant, rule: Rule) -> Result<Option<Self>> {
        for field in &variant.fields {
            refuse(&field.attrs, "a field")?;
        }
        let mut read = Variant {
            span: variant.ident.span(),
            name: rule.apply(&variant.ident.unraw().to_string()),
            version: None,
            aliases: Vec::new(),
            unchanged_since: None,
        };
        let mut is_skipped = false;
        for attribute in of(&variant.attrs, "serde") {
            attribute.parse_nested_meta(|meta| {
                if meta.path.is_ident("rename") {
                    read.name = one_name(&meta)?.value();
                } else if meta.path.is_ident("alias") {
                    read.add_alias(&meta.value()?.parse()?);
                } else {
                    is_skipped |= ["skip", "skip_deserializing"]
                        .iter()
                        .any(|skip| meta.path.is_ident(skip));
                    pass_over(&meta)?;
                }
                Ok(())
            })?;
        }
        for attribute in of(&variant.attrs, "quipu") {
            if is_skipped {
                let text = "serde skips this variant: it has neither version nor alias";
                return Err(Error::new_spanned(attribute, text));
            }
            attribute.parse_nested_meta(|meta| read.take(&meta))?;
        }
        let version = read.version.unwrap_or(1);
        if read.unchanged_since.is_some_and(|since| since >= version) {
            let text = format!("`unchanged_since` is older than the variant's version {version}");
            return Err(Error::new(read.span, text));
        }
        Ok((!is_skipped).then_some(read))
    }

    fn take(&mut self, meta: &ParseNestedMeta<'_>) -> Result<()> {
        if meta.path.is_ident("alias") {
            self.add_alias(&meta.value()?.parse()?);
            return Ok(());
        }
        let (place, name) = if meta.path.is_ident("version") {
            (&mut self.version, "version")
        } else if meta.path.is_ident("unchanged_since") {
            (&mut self.unchanged_since, "unchanged_since")
        } else {
            return Err(meta
                .error("expected `version = 2`, `unchanged_since = 1` or `alias = \"old-name\"`"));
        };
        if place.is_some() {
            return Err(meta.error(format!("a second `{name}`; a variant has one")));
        }
        let version: LitInt = meta.value()?.parse()?;
        match version.base10_parse()? {
            0 => Err(Error::new(version.span(), "schema versions begin at 1")),
            number => {
                *place = Some(number);
                Ok(())
            }
        }
    }

    fn add_alias(&mut self, alias: &LitStr) {
        let alias = alias.value();
        if !self.aliases.contains(&alias) {
            self.aliases.push(alias);
        }
    }
}

/// Returns the attributes of that name.
pub(crate) fn of<'a>(
    attributes: &'a [Attribute],
    name: &str,
) -> impl Iterator<Item = &'a Attribute> {
    attributes.iter().filter(move |it| it.path().is_ident(name))
}

/// Returns an error when there is an attribute of this macro in a place where only a variant may
/// have one.
pub(crate) fn refuse(attributes: &[Attribute], place: &str) -> Result<()> {
    match of(attributes, "quipu").next() {
        None => Ok(()),
        Some(attribute) => {
            let text = format!("`#[quipu(…)]` belongs on a variant, not on {place}");
            Err(Error::new_spanned(attribute, text))
        }
    }
}

/// The text of `rename` and `rename_all`, which serde also accepts separately for each direction.
pub(crate) fn one_name(meta: &ParseNestedMeta<'_>) -> Result<LitStr> {
    if meta.input.peek(syn::token::Paren) {
        return Err(meta.error("a message has one name for both directions: write `= \"name\"`"));
    }
    meta.value()?.parse()
}

/// Skips the other arguments of serde's attribute, because serde checks them.
pub(crate) fn pass_over(meta: &ParseNestedMeta<'_>) -> Result<()> {
    if meta.input.peek(Token![=]) {
        meta.value()?.parse::<Expr>()?;
    } else if meta.input.peek(syn::token::Paren) {
        let content;
        parenthesized!(content in meta.input);
        content.parse::<proc_macro2::TokenStream>()?;
    }
    Ok(())
}
