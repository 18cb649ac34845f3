//! `haetae guard serve`: a site's own process, in front of its service.

use std::path::PathBuf;
use std::process::ExitCode;

use super::aside::{self, Ends};
use crate::guard::Config;
use crate::{app, telemetry};

#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Let in what carries a valid, fresh, unused receipt; refuse and write down everything else.
    Serve {
        /// The configuration file; the example `guard.toml` explains every key.
        #[arg(long, short, default_value = "guard.toml")]
        config: PathBuf,
    },
}

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    let Command::Serve { config } = args.command;
    let config: Config = aside::read(&config, |config: &mut Config, resolve| {
        config.paths_mut().for_each(resolve);
    })?;
    telemetry::start(&config.telemetry)?;
    let ends = Ends::new()?;
    let site = config.site.clone();
    let running = app::guard::start(config).await?;
    tracing::info!(site, address = %running.address(), "the guard is ready to serve");
    ends.serve(&running).await;
    Ok(ExitCode::SUCCESS)
}

const AFTER_HELP: &str = "\
The site's operator runs it with the site's own TLS certificate, and a trust file (C2SP tlog-policy) that says which logs
may open the site, one line for each lane, and which witnesses must have cosigned:
  log gateway.example.kr/log/0+9a1c…
  quorum none
`haetae keygen --of KEY --trust` at the gateway prints it. `haetae log reconcile` holds the journals against the log.
Nothing from before its own start is let in: whether it was used then, it does not know.";
