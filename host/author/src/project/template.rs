//! The files of a new project.

use super::{Kind, Language};

/// A file of a template: its path in the project, and its text.
type File = (&'static str, &'static str);

macro_rules! template {
    ($file:literal) => {
        include_str!(concat!("../../templates/", $file))
    };
}

/// What replaces the marks in a template.
pub(super) struct Values<'a> {
    pub name: &'a str,
    pub category: &'a str,
    pub language: Language,
}

impl Values<'_> {
    /// The text of a file, with its marks filled in.
    pub fn filled(&self, text: &str) -> String {
        let is_typed = self.language != Language::JavaScript;
        let extension = if is_typed { ".ts" } else { ".js" };
        typed(text, is_typed)
            .replace("{{name}}", self.name)
            .replace("{{extension}}", extension)
            .replace("{{category}}", self.category)
            .replace("{{version}}", env!("CARGO_PKG_VERSION"))
    }
}

/// Keeps or removes what is only for TypeScript: the text between `{{typed}}` and `{{/typed}}`. A
/// mark on a line of its own leaves no line.
fn typed(text: &str, is_kept: bool) -> String {
    let (mut out, mut rest) = (String::with_capacity(text.len()), text);
    while let Some((before, after)) = rest.split_once("{{typed}}") {
        out.push_str(before);
        let (part, after) = after.split_once("{{/typed}}").unwrap_or((after, ""));
        let lines = part.strip_prefix('\n');
        if is_kept {
            out.push_str(lines.unwrap_or(part));
        }
        rest = match lines {
            Some(_) => after.strip_prefix('\n').unwrap_or(after),
            None => after,
        };
    }
    out.push_str(rest);
    out
}

/// The files of a project.
pub(super) fn files(language: Language, kind: Kind) -> Vec<File> {
    let mut files = common(kind);
    files.extend(match language {
        Language::Rust => rust(kind),
        Language::TypeScript => typescript(kind),
        Language::JavaScript => javascript(kind),
        Language::Python => python(kind),
    });
    files
}

fn common(kind: Kind) -> Vec<File> {
    let scenarios = match kind {
        Kind::Decider | Kind::Domain => template!("common/decider.yaml"),
        Kind::Projection => template!("common/projection.yaml"),
        Kind::Upcaster => template!("common/upcaster.yaml"),
    };
    vec![
        ("AGENTS.md", template!("common/AGENTS.md")),
        ("scenarios/rules.yaml", scenarios),
    ]
}

fn rust(kind: Kind) -> Vec<File> {
    let (source, test) = match kind {
        Kind::Domain => return rust_domain(),
        Kind::Decider => (
            template!("rust/decider/lib.rs"),
            template!("rust/decider/rules.rs"),
        ),
        Kind::Projection => (
            template!("rust/projection/lib.rs"),
            template!("rust/projection/rules.rs"),
        ),
        Kind::Upcaster => (
            template!("rust/upcaster/lib.rs"),
            template!("rust/upcaster/rules.rs"),
        ),
    };
    vec![
        ("quipu.toml", template!("rust/quipu.toml")),
        ("Cargo.toml", template!("rust/Cargo.toml")),
        (".gitignore", template!("rust/gitignore")),
        ("src/lib.rs", source),
        ("tests/rules.rs", test),
    ]
}

/// A workspace: the decider, the library of its events, and the project of a projection.
fn rust_domain() -> Vec<File> {
    vec![
        ("quipu.toml", template!("rust/domain/quipu.toml")),
        ("Cargo.toml", template!("rust/domain/Cargo.toml")),
        (".gitignore", template!("rust/gitignore")),
        ("src/lib.rs", template!("rust/domain/lib.rs")),
        ("tests/rules.rs", template!("rust/decider/rules.rs")),
        (
            "events/Cargo.toml",
            template!("rust/domain/events/Cargo.toml"),
        ),
        ("events/src/lib.rs", template!("rust/domain/events/lib.rs")),
        (
            "views/quipu.toml",
            template!("rust/domain/views/quipu.toml"),
        ),
        (
            "views/Cargo.toml",
            template!("rust/domain/views/Cargo.toml"),
        ),
        ("views/.gitignore", template!("rust/gitignore")),
        ("views/src/lib.rs", template!("rust/domain/views/lib.rs")),
        (
            "views/tests/rules.rs",
            template!("rust/domain/views/rules.rs"),
        ),
        (
            "views/scenarios/rules.yaml",
            template!("rust/domain/views/rules.yaml"),
        ),
    ]
}

/// The source and the test of a project in TypeScript, and without types in JavaScript.
fn node(kind: Kind) -> (&'static str, &'static str) {
    match kind {
        Kind::Decider | Kind::Domain => (
            template!("node/decider/index.ts"),
            template!("node/decider/rules.test.ts"),
        ),
        Kind::Projection => (
            template!("node/projection/index.ts"),
            template!("node/projection/rules.test.ts"),
        ),
        Kind::Upcaster => (
            template!("node/upcaster/index.ts"),
            template!("node/upcaster/rules.test.ts"),
        ),
    }
}

fn typescript(kind: Kind) -> Vec<File> {
    let (source, test) = node(kind);
    vec![
        ("quipu.toml", template!("node/quipu.ts.toml")),
        ("package.json", template!("node/package.ts.json")),
        ("tsconfig.json", template!("node/tsconfig.json")),
        (".npmrc", template!("node/npmrc")),
        (".gitignore", template!("node/gitignore")),
        ("src/index.ts", source),
        ("tests/rules.test.ts", test),
    ]
}

fn javascript(kind: Kind) -> Vec<File> {
    let (source, test) = node(kind);
    vec![
        ("quipu.toml", template!("node/quipu.js.toml")),
        ("package.json", template!("node/package.js.json")),
        (".npmrc", template!("node/npmrc")),
        (".gitignore", template!("node/gitignore")),
        ("src/index.js", source),
        ("tests/rules.test.js", test),
    ]
}

fn python(kind: Kind) -> Vec<File> {
    let (source, test) = match kind {
        Kind::Decider | Kind::Domain => (
            template!("python/decider/app.py"),
            template!("python/decider/test_rules.py"),
        ),
        Kind::Projection => (
            template!("python/projection/app.py"),
            template!("python/projection/test_rules.py"),
        ),
        Kind::Upcaster => (
            template!("python/upcaster/app.py"),
            template!("python/upcaster/test_rules.py"),
        ),
    };
    vec![
        ("quipu.toml", template!("python/quipu.toml")),
        ("requirements.txt", template!("python/requirements.txt")),
        (".gitignore", template!("python/gitignore")),
        ("app.py", source),
        ("tests/__init__.py", ""),
        ("tests/test_rules.py", test),
    ]
}
