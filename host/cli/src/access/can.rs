use std::io::{self, Write};

use anyhow::Result;
use clap::Args;
use reqwest::Method;

use crate::exit::Denied;
use crate::{Client, Connection};
use quipu_api::CanView;

/// Show whether somebody may do something, and by which rule
///
/// Exit code 0 when it is allowed, 1 when it is denied.
#[derive(Debug, Args)]
pub struct Can {
    /// `me`, the name of a token, or `role:` and a role, as role:client
    who: String,
    /// The action: read, read-payload, command, propose, append, subscribe, view, deploy, project,
    /// archive, operate, observe or admin
    action: String,
    /// store, category/NAME, stream/ID, projection/NAME or module/NAME
    #[arg(default_value = "store")]
    what: String,
    /// Print JSON
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    connection: Connection,
}

impl Can {
    pub async fn run(self) -> Result<()> {
        let client = Client::of(&self.connection)?;
        let request = client.request(Method::GET, &["v1", "can"]).query(&[
            ("who", &self.who),
            ("action", &self.action),
            ("on", &self.what),
        ]);
        let view: CanView = client.json(request).await?;
        let mut out = io::stdout().lock();
        if self.json {
            writeln!(out, "{}", serde_json::to_string(&view)?)?;
        } else if view.allowed {
            writeln!(out, "yes: {}", view.rules.join(", "))?;
        } else {
            writeln!(out, "no: {}", view.why.as_deref().unwrap_or("it is denied"))?;
        }
        match view.allowed {
            true => Ok(()),
            false => Err(Denied.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use crate::Cli;
    use quipu::access::Action;

    #[test]
    fn the_help_names_every_action() {
        let mut command = Cli::command();
        let can = command.find_subcommand_mut("can").unwrap();
        let help = can.render_long_help().to_string();
        let words: Vec<&str> = help
            .split(|it: char| !(it.is_alphanumeric() || it == '-'))
            .collect();
        for action in Action::ALL {
            assert!(words.contains(&action.as_str()), "{action}\n{help}");
        }
    }
}
