use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use clap::Args;

use super::table::{Table, grouped, id, number, text, word};
use super::types::shown;
use quipu::runtime::Runtime;
use quipu_api::{
    DefinitionView, IndexView, MigrationView, ModuleView, SourceView, TypeView, UpcastView,
};

/// Show what a component decides, lifts and projects
#[derive(Debug, Args)]
pub struct Inspect {
    /// The component
    file: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Inspect {
    pub fn run(self) -> Result<()> {
        let path = self.file.display();
        let bytes = std::fs::read(&self.file).with_context(|| format!("{path}"))?;
        let runtime = Runtime::new(Default::default())?;
        let module = runtime.load(&bytes).with_context(|| format!("{path}"))?;
        let view = ModuleView::of(&module);
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&view)?)?;
            return Ok(());
        }
        print(&view, &mut out)?;
        Ok(())
    }
}

fn print(view: &ModuleView, out: &mut impl Write) -> io::Result<()> {
    let mut table = Table::bare();
    let imports = match view.imports.as_slice() {
        [] => "nothing".to_owned(),
        imports => imports.join(", "),
    };
    let facts = [
        ("name", view.name.clone()),
        ("version", view.version.clone()),
        ("world", view.world.clone()),
        ("exports", view.exports.join(", ")),
        ("imports", imports),
        ("digest", view.digest.clone()),
        ("size", format!("{} bytes", grouped(view.bytes))),
    ];
    for (name, value) in facts {
        // A version such as 1.0 is not a number to right-align.
        table.row([name.to_owned(), format!("{value} ")]);
    }
    table.write(out)?;
    if view.state_schema_version > 0 {
        let mut table = Table::bare();
        let version = format!("{} ", view.state_schema_version);
        table.row(["state schema version".to_owned(), version]);
        let migrations = migrations(&view.migrations);
        table.row(["migrations of the state".to_owned(), migrations]);
        writeln!(out)?;
        table.write(out)?;
    }
    for (heading, types) in [("command", &view.commands), ("event", &view.events)] {
        if !types.is_empty() {
            writeln!(out)?;
            of_types(heading, types).write(out)?;
        }
    }
    if !view.steps.is_empty() {
        writeln!(out)?;
        of_steps(&view.steps).write(out)?;
    }
    if !view.projections.is_empty() {
        writeln!(out)?;
        of_projections(&view.projections).write(out)?;
    }
    Ok(())
}

/// `1 to 2, 2 to 3`.
fn migrations(migrations: &[MigrationView]) -> String {
    let each = migrations.iter();
    let each: Vec<_> = each.map(|it| format!("{} to {}", it.from, it.to)).collect();
    match each.is_empty() {
        true => "none".to_owned(),
        false => each.join(", "),
    }
}

/// The types that its upcaster lifts.
fn of_steps(steps: &[UpcastView]) -> Table {
    let mut table = Table::new(&[id("category"), id("step from"), text("to")]);
    for step in steps {
        let to: Vec<String> = step.to.iter().map(shown).collect();
        let to = match to.is_empty() {
            true => "nothing: it is dropped".to_owned(),
            false => to.join(", "),
        };
        table.row([step.category.clone(), shown(&step.from), to]);
    }
    table
}

fn of_projections(projections: &[DefinitionView]) -> Table {
    let mut table = Table::new(&[
        id("projection"),
        number("version"),
        text("sources"),
        text("indexes"),
    ]);
    for known in projections {
        let sources: Vec<_> = known.sources.iter().map(source).collect();
        let indexes: Vec<_> = known.indexes.iter().map(index).collect();
        table.row([
            known.name.clone(),
            known.version.to_string(),
            sources.join(", "),
            indexes.join(", "),
        ]);
    }
    table
}

/// `loan (3 types)`.
fn source(source: &SourceView) -> String {
    let category = source.category.as_deref().unwrap_or("every category");
    match source.events.len() {
        0 => category.to_owned(),
        1 => format!("{category} (1 type)"),
        types => format!("{category} ({types} types)"),
    }
}

/// `status /status text`.
fn index(index: &IndexView) -> String {
    format!("{} {} {}", index.name, index.pointer, index.kind)
}

fn of_types(heading: &'static str, types: &[TypeView]) -> Table {
    let mut table = Table::new(&[
        id(heading),
        number("schema version"),
        word("content type").if_there_is_room(),
        text("older names"),
    ]);
    for known in types {
        table.row([
            known.name.clone(),
            known.schema_version.to_string(),
            known.content_type.clone(),
            known.aliases.join(", "),
        ]);
    }
    table
}
