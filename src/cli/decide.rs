//! `haetae decide --bundle DIR --question FILE`: one question or a list of them, all facts inline, decided without a
//! server or a database. Only JSON goes to stdout.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::value::RawValue;

use verdict::read::read_question;
use verdict::stamp::Stamp;
use verdict::told::{self, Language};

use super::Lang;
use crate::clock::Clock;
use crate::policy::Bundle;

mod shown;

pub use shown::Shown;

/// Decide one question, or a list of questions, given as JSON
#[derive(Debug, clap::Args)]
#[command(after_help = AFTER_HELP)]
pub struct Args {
    /// Directory of the bundle, e.g. `policies`
    #[arg(long, value_name = "DIR")]
    bundle: PathBuf,
    /// File with one question or an array of questions; `-` reads standard input
    #[arg(long, value_name = "FILE")]
    question: PathBuf,
    /// `json` for programs; `text` for people: a page a question
    #[arg(long, value_enum, default_value_t = Format::Json)]
    format: Format,
    /// The language of `--format text`
    #[arg(long, value_enum, default_value_t = Lang::En)]
    lang: Lang,
}

#[derive(Debug, Clone, Copy, clap::ValueEnum)]
enum Format {
    Json,
    Text,
}

const AFTER_HELP: &str = "\
A question has all its facts inline; `haetae schema question` prints the form, `haetae schema decision` that of the
answer. An absent fact that a rule needs is a refusal that names it.
  haetae decide --bundle policies --question deploy/question-example.json
  haetae decide --bundle policies --question deploy/question-example.json --format text --lang ko
Standard output is JSON only, unless text is asked for. In a list, a question that cannot be read gives an error in its place; the others are judged.";

/// JSON Schema of a question, for `haetae schema question`.
pub const QUESTION_SCHEMA: &str = include_str!("schema/question.json");
/// JSON Schema of a decision, for `haetae schema decision`.
pub const DECISION_SCHEMA: &str = include_str!("schema/decision.json");

/// An answer in a list: a decision, or what is wrong with the question.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answer {
    Decision(Shown),
    Error(Unanswered),
}

/// A question that could not be judged.
#[derive(Debug, Serialize)]
pub struct Unanswered {
    /// The question's own id, where it could be read.
    pub id: Option<String>,
    /// One sentence.
    pub error: String,
}

/// One question was asked, or a list.
#[derive(Debug, Serialize)]
#[serde(untagged)]
pub enum Answers {
    One(Box<Answer>),
    Many(Vec<Answer>),
}

/// Reads, decides and prints; 0 when at least one decision was printed, or the list was empty.
///
/// # Errors
/// When the bundle is not usable or the file cannot be read as JSON; nothing is printed to stdout then.
pub async fn run(args: Args) -> Result<ExitCode> {
    let bundle = Bundle::load(&args.bundle, Clock::system().unix_s()).await?;
    for notice in bundle.notices() {
        eprintln!("{notice}");
    }
    let answers = decide(&bundle, &read(&args.question)?)?;
    let mut out = std::io::stdout().lock();
    match args.format {
        Format::Json => serde_json::to_writer_pretty(&mut out, &answers)?,
        Format::Text => write!(out, "{}", answers.text(args.lang.into()))?,
    }
    writeln!(out)?;
    Ok(if answers.any_decided() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Decides the text of one question or of an array of questions.
///
/// # Errors
/// When the text is neither a JSON object nor a JSON array of them.
pub fn decide(bundle: &Bundle, text: &str) -> Result<Answers> {
    // RFC 8259, 8.1: a reader may ignore a byte order mark
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    if text.trim_start().starts_with('[') {
        let items: Vec<&RawValue> =
            serde_json::from_str(text).context("the question file is not a JSON array")?;
        return Ok(Answers::Many(items.iter().map(|item| answer(bundle, item.get())).collect()));
    }
    anyhow::ensure!(
        !text.trim().is_empty(),
        "the question file is empty: write one question or an array of questions, as `haetae schema question` says"
    );
    let item: &RawValue = serde_json::from_str(text).context("the question file is not JSON")?;
    Ok(Answers::One(Box::new(answer(bundle, item.get()))))
}

impl Answers {
    /// Whether a decision is among them; an empty list asks for none.
    #[must_use]
    pub fn any_decided(&self) -> bool {
        let decided = |answer: &Answer| matches!(answer, Answer::Decision(_));
        match self {
            Self::One(answer) => decided(answer),
            Self::Many(answers) => answers.is_empty() || answers.iter().any(decided),
        }
    }
}

impl Answers {
    /// A page for each question, in the order in which they were asked.
    #[must_use]
    pub fn text(&self, language: Language) -> String {
        let pages = match self {
            Self::One(answer) => vec![answer.text(language)],
            Self::Many(answers) => answers.iter().map(|answer| answer.text(language)).collect(),
        };
        pages.join("\n")
    }
}

impl Answer {
    fn text(&self, language: Language) -> String {
        match self {
            Self::Decision(Shown { decision, meanings, at }) => {
                told::page(decision, meanings, *at, language)
            }
            Self::Error(Unanswered { id, error }) => {
                let id = id.as_ref().map(|id| format!("{id}: ")).unwrap_or_default();
                format!("{id}error: {error}\n")
            }
        }
    }
}

fn answer(bundle: &Bundle, text: &str) -> Answer {
    let question = match read_question(text) {
        Ok(question) => question,
        Err((id, error)) => {
            let error = format!("the question cannot be read: {error}");
            return Answer::Error(Unanswered { id, error });
        }
    };
    match bundle.decide(&question) {
        Ok(decision) => {
            // a question without an instant is not decided
            let at = question.at.as_ref().map_or(0, Stamp::starts);
            let vocabulary = &bundle.rules().book().vocabulary;
            let meanings = told::meanings(&decision.obligations, &vocabulary.obligations);
            Answer::Decision(Shown { decision, meanings, at })
        }
        Err(error) => Answer::Error(Unanswered { id: question.id, error }),
    }
}

fn read(path: &Path) -> Result<String> {
    if path == Path::new("-") {
        let mut text = String::new();
        std::io::stdin().read_to_string(&mut text).context("standard input is not UTF-8 text")?;
        return Ok(text);
    }
    std::fs::read_to_string(path).with_context(|| format!("cannot read `{}`", path.display()))
}
