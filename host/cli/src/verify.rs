use std::io::{self, Write};

use anyhow::{Result, bail};
use clap::Args;
use reqwest::Method;
use serde_json::json;

use super::execute::one_lined;
use super::exit::{WrongUse, reported};
use super::secret::Secret;
use super::table::{Table, counted, grouped, id, number, printable, text, time, word};
use super::transfer::StoreFile;
use super::{Client, Connection, runs};
use quipu::proof::{Progress, Scope, verify_stored};
use quipu::store::{self, StoreUrl};
use quipu_api::{
    AcknowledgementList, AcknowledgementView, FindingView, RunLine, TallyView, VerifiedView,
};

/// Number of findings to print.
const PRINTED_MAX: usize = 10;

/// Re-decide the whole history, and compare it with the log
///
/// Every recorded command is re-decided by the module and the upcasters of its commit's plan, on
/// the state that the recorded events before it lead to; the events must be the same, byte for
/// byte. Snapshots are compared with the events, versions and commits are checked. Before that,
/// stored bytes are compared with their digests. Nothing is written. The exit code is 1 if there are
/// findings that are not acknowledged.
///
/// With --digests and --store, it needs no host: it opens the store only for reading.
///
/// Each finding has a name, for example decision:loan-17@42. A finding that is acknowledged by its
/// name is counted, and does not fail the run.
#[derive(Debug, Args)]
pub struct Verify {
    /// Only streams of this category
    #[arg(long, value_name = "CATEGORY")]
    category: Option<String>,
    /// Check N streams, drawn at random
    #[arg(
        long,
        value_name = "N",
        value_parser = clap::value_parser!(u64).range(1..=1_000_000)
    )]
    sample: Option<u64>,
    /// Also fold the documents of every projection from the first event, and compare them with the
    /// stored ones
    #[arg(long)]
    projections: bool,
    /// Only compare commits, modules, snapshots, documents and audit records with their digests, and
    /// re-decide nothing
    #[arg(long, conflicts_with = "projections")]
    digests: bool,
    /// The store, for --digests without a host: sqlite:PATH or postgres://…
    #[arg(
        long,
        value_name = "URL",
        requires = "digests",
        conflicts_with_all = ["acknowledge", "acknowledged", "withdraw"]
    )]
    store: Option<Secret>,
    #[command(flatten)]
    store_file: StoreFile,
    /// Acknowledge the finding of this name, and verify nothing
    #[arg(
        long,
        value_name = "NAME",
        requires = "reason",
        conflicts_with_all = ["category", "sample", "projections"]
    )]
    acknowledge: Option<String>,
    /// The reason for --acknowledge
    #[arg(long, value_name = "TEXT", requires = "acknowledge")]
    reason: Option<String>,
    /// List acknowledged findings, and verify nothing
    #[arg(
        long,
        conflicts_with_all = ["category", "sample", "projections", "acknowledge"]
    )]
    acknowledged: bool,
    /// Withdraw the acknowledgement of the finding of this name, and verify nothing
    #[arg(
        long,
        value_name = "NAME",
        conflicts_with_all = ["category", "sample", "projections", "acknowledge", "acknowledged"]
    )]
    withdraw: Option<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Verify {
    pub async fn run(self) -> Result<()> {
        if let Some(url) = self.store_file.or_option(self.store.as_ref())? {
            if !self.digests {
                let why = "--store-file needs --digests: to re-decide, verify runs in a host";
                return Err(WrongUse(why.to_owned()).into());
            }
            return self.verify_store(&url).await;
        }
        let client = Client::of(&self.connection)?;
        if let (Some(finding), Some(reason)) = (&self.acknowledge, &self.reason) {
            return self.acknowledge(&client, finding, reason).await;
        }
        if self.acknowledged {
            return self.list(&client).await;
        }
        if let Some(finding) = &self.withdraw {
            return self.withdraw(&client, finding).await;
        }
        self.verify(&client).await
    }

    async fn verify(&self, client: &Client) -> Result<()> {
        let mut body = json!({});
        if let Some(category) = &self.category {
            body["category"] = category.as_str().into();
        }
        if let Some(sample) = self.sample {
            body["sample"] = sample.into();
        }
        if self.projections {
            body["projections"] = true.into();
        }
        if self.digests {
            body["digests"] = true.into();
        }
        let request = client.request(Method::POST, &["v1", "verify"]).json(&body);
        let response = client.send(request).await?;
        let (line, last) = runs::watched(response).await?;
        let RunLine::Verified(verified) = last else {
            bail!("the host sent an unexpected answer");
        };
        self.conclude(&line["verified"], &verified)
    }

    /// Compares the stored bytes of a store without a host.
    async fn verify_store(&self, url: &StoreUrl) -> Result<()> {
        let sample = self.sample.map(usize::try_from).transpose()?;
        let scope = Scope {
            category: self.category.clone(),
            sample,
            only_digests: true,
            ..Scope::default()
        };
        let bytes = store::open_bytes(url).await?;
        let bar = runs::bar();
        let mut report = |progress: Progress| {
            bar.set_length(progress.head.0);
            bar.set_position(progress.position.0);
        };
        let verified = verify_stored(&bytes, &scope, &mut report).await;
        bar.finish_and_clear();
        let verified = VerifiedView::of(&verified?);
        self.conclude(&serde_json::to_value(&verified)?, &verified)
    }

    /// Prints the result; an error when there are findings.
    fn conclude(&self, json: &serde_json::Value, verified: &VerifiedView) -> Result<()> {
        if self.json {
            writeln!(io::stdout(), "{json}")?;
        } else {
            print(verified, self.digests)?;
        }
        match verified.found.saturating_sub(verified.acknowledged) {
            0 => {}
            found => {
                return Err(reported(format!(
                    "the history is not sound: {}",
                    counted(found, "finding", "findings")
                )));
            }
        }
        let mut projections = verified.projections.iter();
        if let Some(changed) = projections.find(|it| !it.complete) {
            let name = printable(&changed.projection);
            return Err(reported(format!(
                "projection {name} was not compared as a whole: it, or the plan, changed meanwhile, \
                 or it is stale until its rebuild takes over; `quipu projection {name}` shows \
                 which, then run it again"
            )));
        }
        Ok(())
    }

    async fn acknowledge(&self, client: &Client, finding: &str, reason: &str) -> Result<()> {
        let body = json!({ "finding": finding, "reason": reason });
        let request = client.request(Method::POST, &["v1", "verify", "acknowledgements"]);
        let acknowledged: AcknowledgementView = client.json(request.json(&body)).await?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", serde_json::to_string(&acknowledged)?)?,
            false => writeln!(out, "{} is acknowledged", printable(&acknowledged.finding))?,
        }
        Ok(())
    }

    async fn withdraw(&self, client: &Client, finding: &str) -> Result<()> {
        let path = ["v1", "verify", "acknowledgements", finding];
        client.send(client.request(Method::DELETE, &path)).await?;
        let mut out = io::stdout().lock();
        match self.json {
            true => writeln!(out, "{}", json!({ "withdrawn": finding }))?,
            false => writeln!(out, "{} is not acknowledged any more", printable(finding))?,
        }
        Ok(())
    }

    /// Lists acknowledged findings.
    async fn list(&self, client: &Client) -> Result<()> {
        let mut out = io::BufWriter::new(io::stdout().lock());
        let mut table = Table::new(&[
            id("finding"),
            time("acknowledged at").if_there_is_room(),
            word("by").if_not_empty(),
            text("reason"),
        ]);
        let (mut after, mut count) = (None::<String>, 0);
        loop {
            let mut query = vec![("limit", "1000".to_owned())];
            query.extend(after.take().map(|after| ("after", after)));
            let request = client.request(Method::GET, &["v1", "verify", "acknowledgements"]);
            let page: AcknowledgementList = client.json(request.query(&query)).await?;
            count += page.acknowledgements.len();
            for it in page.acknowledgements {
                if self.json {
                    writeln!(out, "{}", serde_json::to_string(&it)?)?;
                    continue;
                }
                let by = it.by.unwrap_or_else(|| "-".to_owned());
                table.row([it.finding, it.at, by, one_lined(&it.reason)]);
            }
            match page.next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        match (self.json, count) {
            (true, _) => {}
            (false, 0) => writeln!(out, "no finding is acknowledged")?,
            (false, _) => table.write(&mut out)?,
        }
        Ok(out.flush()?)
    }
}

fn print(verified: &VerifiedView, only_digests: bool) -> Result<()> {
    let mut out = io::BufWriter::new(io::stdout().lock());
    match only_digests {
        true => writeln!(
            out,
            "{} up to position {}",
            counted(verified.events, "event", "events"),
            grouped(verified.head)
        )?,
        false => print_decisions(verified, &mut out)?,
    }
    let digests = &verified.digests;
    writeln!(
        out,
        "digests: {} agree, {} have none; {} and {} agree",
        counted(digests.proved, "commit", "commits"),
        grouped(digests.unproved),
        counted(digests.modules, "module", "modules"),
        counted(digests.snapshots, "snapshot", "snapshots"),
    )?;
    if digests.documents + digests.unproved_documents > 0 {
        let (documents, others) = (digests.documents, digests.unproved_documents);
        let (documents, others) = (grouped(documents), grouped(others));
        writeln!(out, "documents: {documents} agree, {others} have no digest")?;
    }
    if digests.audit > 0 {
        let records = counted(digests.audit, "record", "records");
        writeln!(out, "audit: {records} agree")?;
    }
    print_projections(verified, &mut out)?;
    match verified.acknowledged {
        0 => {}
        count => {
            let findings = counted(count, "finding is", "findings are");
            writeln!(out, "\n{findings} acknowledged")?;
        }
    }
    // Open findings come first.
    let is_open = |finding: &&FindingView| finding.weight == "open";
    let (open, others): (Vec<_>, Vec<_>) = verified.findings.iter().partition(is_open);
    for finding in open.into_iter().chain(others).take(PRINTED_MAX) {
        writeln!(out)?;
        runs::write_finding(finding, &mut out)?;
    }
    if verified.found > PRINTED_MAX as u64 {
        let left = verified.found - PRINTED_MAX as u64;
        writeln!(out, "\n{} more; --json has up to 100", grouped(left))?;
    }
    Ok(out.flush()?)
}

fn print_decisions(verified: &VerifiedView, out: &mut impl Write) -> Result<()> {
    let sum = |count: fn(&TallyView) -> u64| verified.commands.iter().map(count).sum();
    let (same, different): (u64, u64) = (sum(|it| it.same), sum(|it| it.different));
    writeln!(
        out,
        "{} up to position {}: {} re-decided, {} the same",
        counted(verified.events, "event", "events"),
        grouped(verified.head),
        counted(same + different, "command", "commands"),
        grouped(same),
    )?;
    if !verified.commands.is_empty() {
        writeln!(out)?;
        let mut table = Table::new(&[
            id("category"),
            id("command"),
            number("same"),
            number("different"),
            number("undecided").if_not_empty(),
        ]);
        for tally in &verified.commands {
            table.row([
                one_lined(&tally.category),
                one_lined(&tally.command),
                grouped(tally.same),
                grouped(tally.different),
                grouped(tally.undecided),
            ]);
        }
        table.write(out)?;
    }
    let (same, different): (u64, u64) = (sum(|it| it.refused_same), sum(|it| it.refused_different));
    if same + different > 0 {
        writeln!(
            out,
            "\n{} re-decided, {} the same",
            counted(same + different, "rejection", "rejections"),
            grouped(same)
        )?;
    }
    let snapshots = &verified.snapshots;
    writeln!(
        out,
        "\n{} without a decision; snapshots: {} agree, {} differ, {} are not used",
        counted(verified.raw, "commit", "commits"),
        grouped(snapshots.agree),
        grouped(snapshots.differ),
        grouped(snapshots.unusable),
    )?;
    Ok(())
}

fn print_projections(verified: &VerifiedView, out: &mut impl Write) -> Result<()> {
    let projections = &verified.projections;
    if projections.is_empty() {
        return Ok(());
    }
    let same: u64 = projections.iter().map(|it| it.same).sum();
    let different: u64 = projections.iter().map(|it| it.different).sum();
    writeln!(
        out,
        "\n{} folded from the first event, {} the same\n",
        counted(same + different, "document", "documents"),
        grouped(same),
    )?;
    let mut table = Table::new(&[
        id("projection"),
        number("same"),
        number("different"),
        number("parked").if_not_empty(),
        number("position").if_there_is_room(),
    ]);
    for tally in projections {
        table.row([
            one_lined(&tally.projection),
            grouped(tally.same),
            grouped(tally.different),
            grouped(tally.parked),
            grouped(tally.position),
        ]);
    }
    Ok(table.write(out)?)
}
