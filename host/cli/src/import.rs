use std::fs::File;
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::sync::Arc;

use anyhow::{Context, Result};
use bytes::{Bytes, BytesMut};
use clap::Args;
use futures::Stream;
use reqwest::{Body, Method, header};
use tokio::io::AsyncReadExt;

use super::access::LocalDeed;
use super::secret::Secret;
use super::table::{Table, counted, grouped};
use super::transfer::{Bar, StoreFile, open};
use super::{Client, Connection};
use quipu::access::Audit;
use quipu::deploy::Signing;
use quipu::model::{Digest, Position, Signature, SystemClock};
use quipu::store::StoreUrl;
use quipu::transfer::{self, Imported, Target};
use quipu::{commit, store};
use quipu_api::ImportView;

/// Import an export from stdin
///
/// The store has to be empty. Afterwards it contains the same log: ids, versions, positions, times,
/// commands, components and the history of the plan. To continue an interrupted import, import the
/// same export a second time. Without --store a running host imports it.
#[derive(Debug, Args)]
pub struct Import {
    /// Write to this store directly, which no host may have open: sqlite:PATH or postgres://…
    #[arg(long, value_name = "URL")]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Import {
    pub async fn run(self) -> Result<()> {
        let bar = Arc::new(Bar::new(length_of_stdin()));
        let imported = match self.store_file.or_option(self.store.as_ref())? {
            Some(url) => into_store(&url, &bar).await,
            None => into_host(&Client::of(&self.connection)?, &bar).await,
        };
        bar.finish();
        let imported = imported?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&imported)?)?;
            return Ok(());
        }
        let mut table = Table::bare();
        let counts = [
            ("modules", imported.modules),
            ("activations", imported.plans),
            ("events", imported.events),
            ("events that were there", imported.skipped),
            ("dropped events", imported.dropped),
            ("archived streams", imported.streams),
            ("truncated streams", imported.anchors),
            ("last position", imported.head),
        ];
        for (name, count) in counts {
            table.row([name.to_owned(), grouped(count)]);
        }
        table.write(&mut out)?;
        Ok(())
    }
}

async fn into_store(url: &StoreUrl, bar: &Arc<Bar>) -> Result<ImportView> {
    let mut progress = |imported: &Imported| {
        bar.say(counted(imported.events, "event", "events"));
    };
    let store = open(url).await?;
    let lines = chunks(Arc::clone(bar));
    let imported = fill(store, ("import", "stdin"), lines, &mut progress).await?;
    Ok(ImportView::of(&imported))
}

/// Imports into a store that nobody else has open, and closes it. The audit of the store records it
/// as this operation on this object.
pub async fn fill<S, E>(
    store: store::Store,
    deed: (&str, &str),
    lines: S,
    progress: &mut (dyn FnMut(&Imported) + Send),
) -> Result<Imported>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::fmt::Display,
{
    let audit = Audit::new(store.audit, Arc::new(SystemClock));
    let (committer, closing) = commit::start(
        store.writer,
        commit::Options::default(),
        commit::no_inline(),
        &store.supervisor,
    )?;
    let target = Target {
        reader: store.reader,
        modules: store.modules,
        snapshots: store.snapshots,
        documents: store.documents,
        committer: committer.clone(),
        signing: Signing::default(),
    };
    let imported = recorded(&target, audit, deed, lines, progress).await;
    drop(target);
    committer.close();
    closing.await.context("the store was not closed")??;
    imported
}

/// Imports, and records that if it changes the store.
async fn recorded<S, E>(
    target: &Target,
    audit: Audit,
    (operation, object): (&str, &str),
    lines: S,
    progress: &mut (dyn FnMut(&Imported) + Send),
) -> Result<Imported>
where
    S: Stream<Item = Result<Bytes, E>> + Send,
    E: std::fmt::Display,
{
    let before = Extent::of(target).await?;
    let deed = LocalDeed::begin(audit, operation, object, None).await?;
    let result = transfer::import(target, lines, progress).await;
    let imported = match &result {
        Ok(imported) => imported,
        Err(failed) => &failed.imported,
    };
    // Marks may have been there before. A store that can't be read may have been changed.
    let marks = imported.streams + imported.anchors + imported.dropped;
    let is_changed =
        imported.events + marks > 0 || !Extent::of(target).await.is_ok_and(|after| after == before);
    match result {
        Ok(imported) => {
            match is_changed {
                true => deed.done().await?,
                false => deed.withdraw().await?,
            }
            Ok(imported)
        }
        Err(failed) => {
            match is_changed {
                true => deed.done_in_part(failed.error.code()).await,
                false => deed.failed(false).await,
            }
            Err(failed.into())
        }
    }
}

/// What a store has of a log, as far as an import adds to it.
#[derive(PartialEq, Eq)]
struct Extent {
    head: Position,
    activations: usize,
    modules: Vec<(Digest, Vec<Signature>)>,
}

impl Extent {
    async fn of(target: &Target) -> store::Result<Self> {
        let mut modules = Vec::new();
        for module in target.modules.list().await? {
            let signatures = target.modules.signatures(module.digest).await?;
            modules.push((module.digest, signatures));
        }
        Ok(Self {
            head: target.reader.log_head().await?,
            activations: target.modules.deployments().await?.len(),
            modules,
        })
    }
}

async fn into_host(client: &Client, bar: &Arc<Bar>) -> Result<ImportView> {
    let request = client
        .request(Method::POST, &["v1", "import"])
        .header(header::CONTENT_TYPE, "application/x-ndjson")
        .body(Body::wrap_stream(chunks(Arc::clone(bar))));
    client.json(request).await
}

/// Bytes that are read at once.
const CHUNK_BYTES: usize = 256 << 10;

/// Stdin, with its progress shown by the bar.
fn chunks(bar: Arc<Bar>) -> impl Stream<Item = io::Result<Bytes>> {
    let begin = (tokio::io::stdin(), 0, bar);
    futures::stream::try_unfold(begin, |(mut stdin, read, bar)| async move {
        let mut chunk = BytesMut::with_capacity(CHUNK_BYTES);
        match stdin.read_buf(&mut chunk).await? {
            0 => Ok(None),
            bytes => {
                let read = read + bytes as u64;
                bar.advance(read);
                Ok(Some((chunk.freeze(), (stdin, read, bar))))
            }
        }
    })
}

/// Bytes of a file on stdin; none for a pipe.
fn length_of_stdin() -> Option<u64> {
    let stdin = io::stdin().as_fd().try_clone_to_owned().ok()?;
    let metadata = File::from(stdin).metadata().ok()?;
    metadata.is_file().then_some(metadata.len())
}
