//! `haetae schema`: prints the JSON Schema of a format that others write or read.

use std::process::ExitCode;

#[derive(Debug, clap::Args)]
pub struct Args {
    #[arg(value_enum)]
    of: Schema,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
pub enum Schema {
    Question,
    Decision,
    Record,
}

impl Schema {
    /// The schema's text (JSON Schema 2020-12).
    #[must_use]
    pub const fn text(self) -> &'static str {
        match self {
            Self::Question => super::decide::QUESTION_SCHEMA,
            Self::Decision => super::decide::DECISION_SCHEMA,
            Self::Record => include_str!("schema/record.json"),
        }
    }
}

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    print!("{}", args.of.text());
    Ok(ExitCode::SUCCESS)
}
