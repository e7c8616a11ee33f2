use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Error, Result, bail};
use clap::Args;
use serde_json::json;

use super::super::exit::WrongUse;
use super::super::import;
use super::super::secret::Secret;
use super::super::table::{Table, counted, grouped};
use super::super::transfer::{Bar, StoreFile};
use super::archive::Archive;
use super::contents::Contents;
use super::partial::Partial;
use super::replay::Replay;
use super::until::Until;
use quipu::store::{self, StoreUrl};
use quipu::transfer::{self, Imported};

/// Make a store from a folder that `ship` wrote
///
/// Every segment is compared with the manifest first. Then the log is imported, up to the end, a
/// position or a time. A commit is recovered as a whole or not at all, and so are the commits of
/// one append to several streams. A store in which a recovery did not finish can't be served.
#[derive(Debug, Args)]
pub struct Recover {
    /// The folder
    dir: PathBuf,
    /// The store, which must be empty: sqlite:PATH (a new file) or postgres://…
    #[arg(
        long = "to",
        value_name = "URL",
        required_unless_present = "store_file"
    )]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Recover the commits up to this position, or before the first one after this time
    /// (2026-05-04T12:00:00Z)
    #[arg(long, value_name = "POSITION|TIME")]
    until: Option<Until>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Recover {
    pub async fn run(self) -> Result<()> {
        let Some(url) = self.store_file.or_option(self.store.as_ref())? else {
            return Err(WrongUse("there is no store; name it with --to".to_owned()).into());
        };
        let archive = Archive::open(&self.dir)?;
        let contents = checked(&archive, &self.until.unwrap_or_default())?;
        if contents.head == 0 {
            let dir = self.dir.display();
            let last = archive.manifest.last();
            bail!(
                "there is nothing to recover: {dir} has no commit up to this point; the last position \
                 that was shipped is {last}"
            );
        }
        let imported = into_store(&archive, &contents, &url).await?;
        let (_, whole) = contents.marks.truncated_streams();
        let last = archive.manifest.last();
        let mut out = io::stdout().lock();
        if self.json {
            let json = json!({
                "position": contents.head,
                "shipped": last,
                "events": imported.events,
                "modules": imported.modules,
                "activations": imported.plans,
                "archived": imported.streams,
                "truncated": imported.anchors,
                "truncated_without_state": whole,
                "chain": archive.manifest.chain(),
            });
            return Ok(writeln!(out, "{json}")?);
        }
        let mut table = Table::bare();
        for (name, count) in [
            ("events", imported.events + imported.skipped),
            ("modules", imported.modules),
            ("activations", imported.plans),
            ("dropped events", imported.dropped),
            ("archived streams", imported.streams),
            ("truncated streams", imported.anchors),
            ("last position", contents.head),
            ("last position shipped", last),
        ] {
            table.row([name.to_owned(), grouped(count)]);
        }
        table.write(&mut out)?;
        if whole > 0 {
            let whole = counted(whole, "truncated stream is", "truncated streams are");
            let why = "their states as of this position were not shipped";
            writeln!(out, "{whole} recovered with all events: {why}")?;
        }
        writeln!(
            out,
            "the store is complete; serve it, and run `quipu verify --projections`"
        )?;
        Ok(())
    }
}

/// Checks every segment, with a progress bar.
pub fn checked(archive: &Archive, until: &Until) -> Result<Contents> {
    let bytes = archive.manifest.segments.iter().map(|it| it.bytes).sum();
    let bar = Bar::new(Some(bytes));
    bar.say("checked".to_owned());
    let contents = archive.contents(until, &mut |bytes| bar.advance(bytes));
    bar.finish();
    contents
}

/// Recovers into an empty store.
///
/// # Errors
/// When the store is not empty, or the recovery did not finish. A SQLite file is then removed, and
/// a store in PostgreSQL can't be opened until the same recovery has finished.
pub async fn into_store(
    archive: &Archive,
    contents: &Contents,
    url: &StoreUrl,
) -> Result<Imported> {
    match url {
        StoreUrl::Memory => {
            let why = "a memory: store ends with its process; recover into sqlite:PATH";
            Err(WrongUse(why.to_owned()).into())
        }
        StoreUrl::Sqlite(path) => {
            let partial = Partial::new(path)?;
            let url = StoreUrl::Sqlite(partial.path().to_owned());
            let imported = fill(archive, contents, store::open(&url).await?).await?;
            partial.keep()?;
            Ok(imported)
        }
        StoreUrl::Postgres(_) => {
            let opened = store::open_recovering(url).await?;
            let imported = fill(archive, contents, opened).await?;
            store::finish_recovering(url).await?;
            Ok(imported)
        }
    }
}

async fn fill(archive: &Archive, contents: &Contents, store: store::Store) -> Result<Imported> {
    let bar = Bar::new(None);
    let mut progress = |imported: &Imported| {
        let events = counted(imported.events, "event", "events");
        bar.say(format!("{events} recovered"));
    };
    let lines = Replay::new(archive, contents)?.into_stream();
    let (dir, head) = (archive.dir.display(), contents.head);
    let object = format!("{dir} up to position {head}");
    let imported = import::fill(store, ("recover", &object), lines, &mut progress).await;
    bar.finish();
    let imported = imported.map_err(|error| with_remedy(error, archive, contents))?;
    if imported.head.0 != contents.head {
        let (found, expected) = (imported.head, contents.head);
        bail!("the recovery ended at position {found} instead of {expected}");
    }
    Ok(imported)
}

/// Adds which commit can't be imported, and how everything before it is recovered.
fn with_remedy(error: Error, archive: &Archive, contents: &Contents) -> Error {
    let line = match error.downcast_ref::<transfer::Failed>().map(|it| &it.error) {
        Some(transfer::Error::Line { line, .. }) => *line,
        Some(transfer::Error::Part {
            first,
            error: store::Error::Import(_),
            ..
        }) => *first,
        _ => return error,
    };
    let before = Replay::new(archive, contents).and_then(|replay| replay.before(line));
    let Ok(Some(before)) = before else {
        return error;
    };
    let dir = archive.dir.display();
    let remedy = match before == 0 || before < archive.manifest.base() {
        true => "no earlier position can be recovered from this folder".to_owned(),
        false => {
            format!("`quipu recover {dir} --to … --until {before}` recovers everything before it")
        }
    };
    error.context(format!(
        "the commit after position {before} can't be recovered; {remedy}"
    ))
}
