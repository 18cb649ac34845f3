//! `haetae demo`: see [`crate::demo`].

use std::process::ExitCode;

pub use crate::demo::Args;

pub async fn run(args: Args) -> anyhow::Result<ExitCode> {
    crate::demo::run(args).await
}
