use syn::{Error, LitStr, Result};

/// How `#[serde(rename_all = "…")]` changes the names of variants.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) enum Rule {
    #[default]
    Unchanged,
    Lower,
    Upper,
    Camel,
    Snake,
    ScreamingSnake,
    Kebab,
    ScreamingKebab,
}

impl Rule {
    pub(crate) fn of(text: &LitStr) -> Result<Self> {
        Ok(match text.value().as_str() {
            "PascalCase" => Rule::Unchanged,
            "lowercase" => Rule::Lower,
            "UPPERCASE" => Rule::Upper,
            "camelCase" => Rule::Camel,
            "snake_case" => Rule::Snake,
            "SCREAMING_SNAKE_CASE" => Rule::ScreamingSnake,
            "kebab-case" => Rule::Kebab,
            "SCREAMING-KEBAB-CASE" => Rule::ScreamingKebab,
            _ => return Err(Error::new(text.span(), "serde has no such `rename_all`")),
        })
    }

    pub(crate) fn apply(self, variant: &str) -> String {
        match self {
            Rule::Unchanged => variant.to_owned(),
            Rule::Lower => variant.to_ascii_lowercase(),
            Rule::Upper => variant.to_ascii_uppercase(),
            Rule::Camel => {
                let mut chars = variant.chars();
                let first = chars.next().map(|first| first.to_ascii_lowercase());
                first.into_iter().chain(chars).collect()
            }
            Rule::Snake => parted(variant, '_'),
            Rule::ScreamingSnake => parted(variant, '_').to_ascii_uppercase(),
            Rule::Kebab => parted(variant, '-'),
            Rule::ScreamingKebab => parted(variant, '-').to_ascii_uppercase(),
        }
    }
}

/// A new part begins at each capital letter, as in serde.
fn parted(variant: &str, separator: char) -> String {
    let mut parted = String::new();
    for (index, letter) in variant.char_indices() {
        if index > 0 && letter.is_uppercase() {
            parted.push(separator);
        }
        parted.push(letter.to_ascii_lowercase());
    }
    parted
}
