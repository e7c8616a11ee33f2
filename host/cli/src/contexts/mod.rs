//! Contexts: hosts that client commands reach by a name.

mod chosen;
mod file;

use std::fs;
use std::io::{self, Read, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, Subcommand};
use serde_json::json;

use super::Client;
use super::exit::WrongUse;
use super::secret::Secret;
use super::table::{Table, text};

pub use chosen::Chosen;
use file::{ContextFile, Contexts, Saved, absolute, check_name};

/// A token on stdin may have this many bytes.
const TOKEN_BYTES_MAX: u64 = 64 << 10;

/// Save hosts under names, and choose the current one
///
/// A context has the address of a host, the file of a token and the authorities to trust. Contexts are
/// in one file: QUIPU_CONTEXTS, or quipu/contexts.toml in XDG_CONFIG_HOME or ~/.config. Options and
/// variables of the environment take precedence over a context. Its token is sent only to its own
/// address: not to another one of --url or QUIPU_URL.
#[derive(Debug, Args)]
pub struct Context {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Add(Add),
    List(List),
    Use(Use),
    Remove(Remove),
    Show(Show),
}

/// Save a host under a name; the first one becomes the current context
///
/// The token is not in the file of the contexts, so that the file can be shown, copied and kept with
/// other settings. It is read from its own file at each command.
#[derive(Debug, Args)]
struct Add {
    /// A name: letters, digits, dots, hyphens and underscores
    name: String,
    /// The host's address
    #[arg(long)]
    url: String,
    /// A file whose only line is the token
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Read the token from stdin, and write it to a file that only you can read: NAME.token next to
    /// the contexts
    #[arg(long, conflicts_with = "token_file")]
    token_stdin: bool,
    /// For https: the certificates of the authorities to trust, in PEM, in place of the public ones
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,
    /// The tenant whose store the commands reach
    #[arg(long)]
    tenant: Option<String>,
    /// Replace the context of this name
    #[arg(long)]
    replace: bool,
}

/// List all contexts
#[derive(Debug, Args)]
struct List {
    /// Print JSON, one line for each context
    #[arg(long)]
    json: bool,
}

/// Make a context the current one
#[derive(Debug, Args)]
struct Use {
    /// Its name
    name: String,
}

/// Remove a context, and the file of its token if `context add --token-stdin` has written it
#[derive(Debug, Args)]
struct Remove {
    /// Its name
    name: String,
}

/// Show a context
#[derive(Debug, Args)]
struct Show {
    /// Its name [default: the current context]
    #[arg(env = "QUIPU_CONTEXT", hide_env_values = true)]
    name: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Context {
    pub fn run(self) -> Result<()> {
        match self.action {
            Action::Add(add) => add.run(),
            Action::List(list) => list.run(),
            Action::Use(chosen) => chosen.run(),
            Action::Remove(remove) => remove.run(),
            Action::Show(show) => show.run(),
        }
    }
}

impl Add {
    fn run(self) -> Result<()> {
        check_name(&self.name)?;
        check_url(&self.url)?;
        let tenant = self.tenant.filter(|tenant| !tenant.is_empty());
        let file = ContextFile::needed()?;
        let mut contexts = file.read()?;
        if contexts.contexts.contains_key(&self.name) && !self.replace {
            let why = format!(
                "there is a context {:?}; change it with --replace",
                self.name
            );
            return Err(WrongUse(why).into());
        }
        let token_file = match (self.token_file, self.token_stdin) {
            (Some(path), _) => Some(absolute(&path)?),
            (None, true) => Some(file.write_token(&self.name, &token_of_stdin()?)?),
            (None, false) => None,
        };
        if let Some(path) = &token_file {
            // What can't be read is reported now, not at the first command.
            Secret::read(path)?;
        }
        let saved = Saved {
            url: self.url,
            token_file,
            ca: self.ca.map(|path| absolute(&path)).transpose()?,
            tenant,
        };
        contexts.contexts.insert(self.name.clone(), saved);
        contexts.current.get_or_insert(self.name);
        Ok(file.write(&contexts)?)
    }
}

/// Checks an address. It must not have a password, which would be in the file.
fn check_url(url: &str) -> Result<()> {
    let place = url.split_once("://").map_or(url, |(_, place)| place);
    if place.split('/').next().unwrap_or_default().contains('@') {
        let why = "the address has a user in it; name the file of a token in its place";
        return Err(WrongUse(why.to_owned()).into());
    }
    Client::new(url, None).map(drop)
}

fn token_of_stdin() -> Result<Secret> {
    let wrong = |why: &str| WrongUse(format!("the token on stdin {why}"));
    let mut text = String::new();
    let read = io::stdin()
        .take(TOKEN_BYTES_MAX + 1)
        .read_to_string(&mut text);
    read.map_err(|_| wrong("can't be read, or is not UTF-8 text"))?;
    if text.len() as u64 > TOKEN_BYTES_MAX {
        return Err(wrong("is too long").into());
    }
    let text = quipu::model::text_without_mark(&text);
    let line = text.strip_suffix('\n').unwrap_or(text);
    let line = line.strip_suffix('\r').unwrap_or(line);
    if line.is_empty() || line.contains(['\n', '\r', '\0']) {
        return Err(wrong("must be one line").into());
    }
    Ok(Secret::from(line))
}

impl List {
    fn run(self) -> Result<()> {
        let contexts = ContextFile::needed()?.read()?;
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            text("name"),
            text("current"),
            text("url"),
            text("token file").if_not_empty(),
            text("tenant").if_not_empty(),
        ]);
        for (name, saved) in &contexts.contexts {
            if self.json {
                writeln!(out, "{}", shown(&contexts, name, saved))?;
                continue;
            }
            let is_current = contexts.current.as_ref() == Some(name);
            let token_file = saved.token_file.as_ref();
            table.row([
                name.clone(),
                if is_current { "yes" } else { "-" }.to_owned(),
                saved.url.clone(),
                token_file
                    .map(|it| it.display().to_string())
                    .unwrap_or_default(),
                saved.tenant.clone().unwrap_or_default(),
            ]);
        }
        if !self.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn shown(contexts: &Contexts, name: &str, saved: &Saved) -> serde_json::Value {
    json!({
        "name": name,
        "current": contexts.current.as_deref() == Some(name),
        "url": saved.url,
        "token_file": saved.token_file,
        "ca": saved.ca,
        "tenant": saved.tenant,
    })
}

impl Use {
    fn run(self) -> Result<()> {
        let file = ContextFile::needed()?;
        let mut contexts = file.read()?;
        contexts.get(&self.name)?;
        contexts.current = Some(self.name);
        Ok(file.write(&contexts)?)
    }
}

impl Remove {
    fn run(self) -> Result<()> {
        let file = ContextFile::needed()?;
        let mut contexts = file.read()?;
        let removed = contexts.get(&self.name)?.clone();
        contexts.contexts.remove(&self.name);
        contexts.current = contexts.current.filter(|current| *current != self.name);
        file.write(&contexts)?;
        let own = absolute(&file.token_file(&self.name))?;
        let is_used = |saved: &Saved| saved.token_file.as_ref() == Some(&own);
        if is_used(&removed) && !contexts.contexts.values().any(is_used) {
            fs::remove_file(&own)?;
        }
        Ok(())
    }
}

impl Show {
    fn run(self) -> Result<()> {
        let contexts = ContextFile::needed()?.read()?;
        let name = self.name.filter(|name| !name.is_empty());
        let Some(name) = name.or_else(|| contexts.current.clone()) else {
            let why = "there is no current context; choose one with `quipu context use NAME`";
            return Err(WrongUse(why.to_owned()).into());
        };
        let saved = contexts.get(&name)?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", shown(&contexts, &name, saved))?;
            return Ok(());
        }
        writeln!(out, "name: {name}")?;
        writeln!(out, "url: {}", saved.url)?;
        for (what, path) in [("token file", &saved.token_file), ("ca", &saved.ca)] {
            if let Some(path) = path {
                writeln!(out, "{what}: {}", path.display())?;
            }
        }
        if let Some(tenant) = &saved.tenant {
            writeln!(out, "tenant: {tenant}")?;
        }
        Ok(())
    }
}
