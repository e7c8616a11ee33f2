use std::io::{self, Write};
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, Subcommand};
use jiff::{SpanRelativeTo, Timestamp, Unit};
use reqwest::Method;
use serde_json::json;

use super::{LocalDeed, reach};
use crate::exit::WrongUse;
use crate::secret::Secret as Address;
use crate::table::{Table, id, text, time, word};
use crate::transfer::{StoreFile, open};
use crate::{Client, Connection};
use quipu::access::{self, Audit, Grant, Issued, NewToken, Role, Tokens};
use quipu::model::SystemClock;
use quipu::store::{self, StoreUrl};
use quipu_api::{CreatedToken, GrantView, TokenList, TokenView};

/// Make, list and revoke the tokens of callers
///
/// From the first token on, every request to a host of the store needs one. Make the first one with
/// --store while no host runs, or at a host that is open to everybody who reaches it.
#[derive(Debug, Args)]
pub struct Token {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    Create(Create),
    List(List),
    Revoke(Revoke),
}

/// Where the tokens are: at a host, or in a store that no host has open
#[derive(Debug, Args)]
struct Place {
    /// Work on this store itself, while no host has it open
    #[arg(long, value_name = "URL")]
    store: Option<Address>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

/// Make a token and print it
///
/// The token is shown only once: the store has a hash of it.
#[derive(Debug, Args)]
struct Create {
    /// Whom it is for; events and the audit name the caller so
    name: String,
    /// What it allows: viewer, proposer, client, author, operator, admin, scraper or none
    #[arg(long, value_parser = role)]
    role: Role,
    /// Only streams of this category; may be repeated
    #[arg(long = "category", value_name = "CATEGORY")]
    categories: Vec<String>,
    /// Only this projection; may be repeated
    #[arg(long = "projection", value_name = "PROJECTION")]
    projections: Vec<String>,
    /// Requests per second, in place of the limit that the host has for everybody
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    requests_per_second: Option<u32>,
    /// When it expires: a time, or a duration from now on such as 90d or 12h [default: never]
    #[arg(long, value_name = "WHEN", value_parser = expiry)]
    expires: Option<Timestamp>,
    #[command(flatten)]
    place: Place,
}

/// List all tokens, also those that have expired or are revoked
#[derive(Debug, Args)]
struct List {
    #[command(flatten)]
    place: Place,
}

/// Revoke a token, for good
///
/// Every host of the store refuses it within 5 s.
#[derive(Debug, Args)]
struct Revoke {
    /// The token's id, its name or the token itself
    #[arg(value_name = "TOKEN")]
    which: String,
    #[command(flatten)]
    place: Place,
}

impl Token {
    pub async fn run(self) -> Result<()> {
        match self.action {
            Action::Create(create) => create.run().await,
            Action::List(list) => list.run().await,
            Action::Revoke(revoke) => revoke.run().await,
        }
    }
}

impl Create {
    async fn run(self) -> Result<()> {
        let grant = Grant {
            role: self.role,
            categories: self.categories,
            projections: self.projections,
            requests_per_second: self.requests_per_second,
        };
        let created = match self.place.opened().await? {
            Some(opened) => {
                let expires_at = self.expires.map(micros);
                let new = NewToken {
                    name: self.name,
                    grant,
                    expires_at,
                    by: None,
                };
                let created = opened.create(new).await;
                opened.close().await?;
                let (token, secret) = created?;
                CreatedToken {
                    token: secret.reveal().to_owned(),
                    view: TokenView::of(&token),
                }
            }
            None => {
                let client = Client::of(&self.place.connection)?;
                let mut body = json!({
                    "name": self.name,
                    "role": grant.role,
                    "expires_at": self.expires.map(|at| at.to_string()),
                });
                for (name, listed) in [
                    ("categories", &grant.categories),
                    ("projections", &grant.projections),
                ] {
                    if !listed.is_empty() {
                        body[name] = json!(listed);
                    }
                }
                if let Some(number) = grant.requests_per_second {
                    body["requests_per_second"] = json!(number);
                }
                let request = client.request(Method::POST, &["v1", "tokens"]);
                client.json(request.json(&body)).await?
            }
        };
        let mut out = io::stdout().lock();
        if self.place.json {
            writeln!(out, "{}", serde_json::to_string(&created)?)?;
            return Ok(());
        }
        writeln!(out, "{}", created.token)?;
        let grant = &created.view.grant;
        eprintln!(
            "token {} for {:?}: {} on {}; it is shown only now, so store it safely",
            created.view.id,
            created.view.name,
            grant.role,
            reach(grant)
        );
        Ok(())
    }
}

impl List {
    async fn run(self) -> Result<()> {
        let tokens = match self.place.existing().await? {
            Some(opened) => {
                let tokens = opened.tokens.list().await;
                opened.close().await?;
                tokens?.iter().map(TokenView::of).collect()
            }
            None => {
                let client = Client::of(&self.place.connection)?;
                let request = client.request(Method::GET, &["v1", "tokens"]);
                client.json::<TokenList>(request).await?.tokens
            }
        };
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            id("id"),
            text("name"),
            word("role"),
            text("reaches"),
            word("state"),
            time("last used").if_there_is_room(),
            time("expires").if_not_empty(),
        ]);
        for token in &tokens {
            match self.place.json {
                true => writeln!(out, "{}", serde_json::to_string(token)?)?,
                false => table.row(row(token)),
            }
        }
        if !self.place.json {
            table.write(&mut out)?;
        }
        Ok(out.flush()?)
    }
}

fn row(token: &TokenView) -> [String; 7] {
    let grant: &GrantView = &token.grant;
    let expires = token.expires_at.clone().unwrap_or_default();
    let is_over = expires
        .parse::<Timestamp>()
        .is_ok_and(|at| at <= Timestamp::now());
    let state = match (&token.revoked_at, is_over) {
        (Some(_), _) => "revoked",
        (None, true) => "expired",
        (None, false) => "valid",
    };
    [
        token.id.clone(),
        token.name.clone(),
        grant.role.clone(),
        reach(grant),
        state.to_owned(),
        token.used_at.clone().unwrap_or_else(|| "-".to_owned()),
        expires,
    ]
}

impl Revoke {
    async fn run(self) -> Result<()> {
        let revoked = match self.place.existing().await? {
            Some(opened) => {
                let revoked = opened.revoke(&self.which).await;
                opened.close().await?;
                TokenView::of(&revoked?)
            }
            None => {
                let client = Client::of(&self.place.connection)?;
                let path = ["v1", "tokens", &self.which];
                client.json(client.request(Method::DELETE, &path)).await?
            }
        };
        let mut out = io::stdout().lock();
        match self.place.json {
            true => writeln!(out, "{}", serde_json::to_string(&revoked)?)?,
            false => writeln!(out, "token {} of {:?} is revoked", revoked.id, revoked.name)?,
        }
        Ok(())
    }
}

/// A store that is open for this command.
struct Opened {
    tokens: Tokens,
    audit: Audit,
    writer: Box<dyn store::EventWriter>,
}

impl Place {
    /// The store that is named, if one is. A store that does not exist is created, because the
    /// first token may be made before the first start of a host.
    async fn opened(&self) -> Result<Option<Opened>> {
        match self.address()? {
            Some(url) => Ok(Some(Opened::new(&url).await?)),
            None => Ok(None),
        }
    }

    /// The same for a store that must exist.
    async fn existing(&self) -> Result<Option<Opened>> {
        let Some(url) = self.address()? else {
            return Ok(None);
        };
        store::check_exists(&url).await?;
        Ok(Some(Opened::new(&url).await?))
    }

    fn address(&self) -> Result<Option<StoreUrl>, WrongUse> {
        self.store_file.or_option(self.store.as_ref())
    }
}

impl Opened {
    async fn new(url: &StoreUrl) -> Result<Self> {
        let store = open(url).await?;
        Ok(Self {
            tokens: Tokens::new(store.tokens, Arc::new(SystemClock)),
            audit: Audit::new(store.audit, Arc::new(SystemClock)),
            writer: store.writer,
        })
    }

    /// Makes a token, and records that.
    async fn create(&self, new: NewToken) -> Result<(Issued, access::Secret)> {
        let grant = &new.grant;
        let object = access::described(
            &new.name,
            grant.role.as_str(),
            new.expires_at,
            grant.requests_per_second,
            &grant.categories,
            &grant.projections,
        );
        let deed = LocalDeed::begin(self.audit.clone(), "create_token", &object, None).await?;
        match self.tokens.create(new).await {
            Ok(created) => {
                deed.done().await?;
                Ok(created)
            }
            Err(error) => {
                deed.failed(matches!(error, access::Error::Store(_))).await;
                Err(wrong_use(error))
            }
        }
    }

    /// Revokes a token, and records that.
    async fn revoke(&self, which: &str) -> Result<Issued> {
        let object = access::redacted(which);
        let deed = LocalDeed::begin(self.audit.clone(), "revoke_token", &object, None).await?;
        match self.tokens.revoke(which).await {
            Ok(revoked) => {
                deed.done().await?;
                Ok(revoked)
            }
            Err(error) => {
                deed.failed(matches!(error, access::Error::Store(_))).await;
                Err(error.into())
            }
        }
    }

    async fn close(self) -> store::Result<()> {
        self.writer.close().await
    }
}

fn wrong_use(error: access::Error) -> anyhow::Error {
    match error {
        access::Error::Invalid(_) | access::Error::NotAdded(_) => {
            WrongUse(error.to_string()).into()
        }
        other => other.into(),
    }
}

fn role(text: &str) -> Result<Role, String> {
    text.parse().map_err(|error| format!("{error}"))
}

/// A time, or a duration from now on.
///
/// # Errors
/// When it is neither.
pub fn expiry(text: &str) -> Result<Timestamp, String> {
    if let Ok(time) = text.parse() {
        return Ok(time);
    }
    let wrong = || "neither a time as 2027-01-31T12:00:00Z nor a duration as 90d".to_owned();
    let span: jiff::Span = text.parse().map_err(|_| wrong())?;
    let days = SpanRelativeTo::days_are_24_hours();
    let seconds = span.total((Unit::Second, days)).map_err(|_| wrong())?;
    // Beyond what a time can be, the duration is refused below.
    let seconds = seconds as i64;
    Timestamp::now()
        .checked_add(jiff::SignedDuration::from_secs(seconds))
        .map_err(|_| wrong())
}

fn micros(time: Timestamp) -> quipu::model::Timestamp {
    quipu::model::Timestamp(u64::try_from(time.as_microsecond()).unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_expires_at_a_time_or_after_a_while() {
        let day = 24 * 60 * 60;
        for (text, seconds) in [("90d", 90 * day), ("12h", day / 2), ("1w", 7 * day)] {
            let left = expiry(text).map(|at| at.as_second() - Timestamp::now().as_second());
            assert!(left.is_ok_and(|left| (left - seconds).abs() < 5), "{text}");
        }
        let time = "2031-01-31T12:00:00Z";
        assert_eq!(expiry(time).map(|at| at.to_string()), Ok(time.to_owned()));
        for wrong in ["", "soon", "90", "1y", "2031-01-31"] {
            assert!(expiry(wrong).is_err(), "{wrong}");
        }
    }
}
