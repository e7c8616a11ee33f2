use clap::Args;
use reqwest::RequestBuilder;

/// Why something is done.
#[derive(Debug, Args)]
pub struct Reason {
    /// Why, for the audit: one line; required with a token where the change can't be undone easily
    #[arg(long, value_name = "TEXT", value_parser = line)]
    reason: Option<String>,
}

impl Reason {
    /// The request with the reason.
    pub fn on(&self, request: RequestBuilder) -> RequestBuilder {
        with_reason(request, self.reason.as_deref())
    }
}

/// The request with a reason, if there is one.
pub fn with_reason(request: RequestBuilder, reason: Option<&str>) -> RequestBuilder {
    match reason {
        Some(reason) => request.header("Quipu-Reason", reason.as_bytes()),
        None => request,
    }
}

/// One line of text, which can be sent in a header.
pub fn line(text: &str) -> Result<String, String> {
    match text.trim().is_empty() || text.chars().any(char::is_control) {
        true => Err("a reason is one line of text".to_owned()),
        false => Ok(text.to_owned()),
    }
}
