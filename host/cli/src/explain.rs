use std::io::{self, Write};

use anyhow::Result;
use clap::Args;

use super::exit::WrongUse;
use quipu_api::Code;

/// Explain an error code: what it means, and what to do
///
/// Without a code, lists all of them.
#[derive(Debug, Args)]
pub struct Explain {
    /// The code, as not-fresh
    code: Option<String>,
}

macro_rules! pages {
    ($($code:literal)*) => {
        /// The page of each error code in the book.
        const PAGES: &[(&str, &str)] = &[$((
            $code,
            include_str!(concat!("../../../docs/src/reference/errors/", $code, ".md")),
        ),)*];
    };
}

pages! {
    "bad-request"
    "body-timeout"
    "category-owned"
    "claim-lost"
    "conflict"
    "document-not-found"
    "duplicate-in-append"
    "event-not-found"
    "events-lost"
    "finding-not-acknowledged"
    "forbidden"
    "guest-fault"
    "idempotency-key-reused"
    "import-refused"
    "internal"
    "invalid-command"
    "method-not-allowed"
    "module-not-found"
    "module-refused"
    "not-found"
    "not-fresh"
    "not-ready"
    "not-settled"
    "overloaded"
    "partial-duplicate"
    "preflight-failed"
    "projection-failing"
    "projection-not-found"
    "projection-refused"
    "proposal-closed"
    "proposal-not-found"
    "rate-limited"
    "rejected"
    "reload-refused"
    "snapshot-refused"
    "state-not-shown"
    "store-damaged"
    "store-unavailable"
    "stream-archived"
    "stream-not-found"
    "stream-too-long"
    "subscription-held"
    "subscription-not-found"
    "tenant-not-found"
    "tenant-refused"
    "tenant-suspended"
    "timeout"
    "token-not-found"
    "token-refused"
    "too-large"
    "too-many-acknowledged"
    "too-many-proposals"
    "too-many-subscriptions"
    "truncate-refused"
    "unauthorized"
    "unknown-category"
    "unreadable-event"
    "unsigned"
    "wrong-expected-version"
}

impl Explain {
    pub fn run(self) -> Result<()> {
        let mut out = io::stdout().lock();
        let Some(code) = self.code else {
            for code in Code::ALL {
                writeln!(
                    out,
                    "{:24} {} {}",
                    code.as_str(),
                    code.status(),
                    code.title()
                )?;
            }
            return Ok(());
        };
        let page = PAGES.iter().find(|(name, _)| *name == code);
        let (_, page) = page.ok_or_else(|| WrongUse(unknown(&code)))?;
        write!(out, "{}", plain(page))?;
        Ok(())
    }
}

fn unknown(code: &str) -> String {
    let known = Code::ALL.iter().map(|code| code.as_str());
    let nearest =
        known.max_by(|one, other| strsim::jaro(one, code).total_cmp(&strsim::jaro(other, code)));
    match nearest {
        Some(nearest) => format!(
            "there is no error code {code:?}; did you mean {nearest}? `quipu explain` lists all"
        ),
        None => format!("there is no error code {code:?}"),
    }
}

/// A page without the marks of links.
fn plain(page: &str) -> String {
    let mut text = String::with_capacity(page.len());
    let mut rest = page;
    while let Some((before, after)) = rest.split_once("](") {
        let Some((start, label)) = before.rsplit_once('[') else {
            text.push_str(before);
            text.push_str("](");
            rest = after;
            continue;
        };
        text.push_str(start);
        text.push_str(label);
        rest = after.split_once(')').map_or("", |(_, rest)| rest);
    }
    text.push_str(rest);
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_a_page() {
        let codes = Code::ALL.iter().map(|code| code.as_str());
        let mut codes: Vec<_> = codes.collect();
        codes.sort_unstable();
        let pages: Vec<_> = PAGES.iter().map(|(code, _)| *code).collect();
        assert_eq!(pages, codes);
    }

    #[test]
    fn links_are_shown_as_their_texts() {
        let page =
            "See [Running a host](../running.md#pages) and [`forbidden`](forbidden.md). a[0](x)\n";
        assert_eq!(plain(page), "See Running a host and `forbidden`. a0\n");
        assert_eq!(plain("no link ](x"), "no link ](x");
    }
}
