//! `haetae-verify`: what was typed, the check, what is said.

mod args;

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
    time::Instant,
};

use args::{Args, Asked, Lang};
use haetae_verify::{Report, Trust, disclosed, report::Exit, single};
use serde_json::json;
use verdict::decision::Text;

fn main() -> ExitCode {
    match Args::read(std::env::args().skip(1)) {
        Ok(Asked::Check(args)) => check(&args),
        Ok(Asked::Help) => {
            say(args::HELP);
            ExitCode::SUCCESS
        }
        Ok(Asked::Version) => {
            say(concat!("haetae-verify ", env!("CARGO_PKG_VERSION")));
            ExitCode::SUCCESS
        }
        Err(cause) => unreadable(&cause),
    }
}

fn check(args: &Args) -> ExitCode {
    if let Some(proof) = read_proof(&args.file) {
        return check_proof(args, &proof);
    }
    if !args.disclosures.is_empty() {
        return unreadable(&"a disclosure goes with one record's proof, and this is none");
    }
    let start = Instant::now();
    let report = match haetae_verify::verify_since(&args.file, &args.trust, &args.kept) {
        Ok(report) => report,
        Err(cause) => return unreadable(&cause),
    };
    let seconds = start.elapsed().as_secs_f64();
    if args.json {
        let mut object = report.json();
        if let Some(object) = object.as_object_mut() {
            object.insert("seconds".into(), seconds.into());
        }
        say(&format!("{object:#}"));
    } else {
        tell(&report, args.lang, seconds);
    }
    ExitCode::from(report.exit() as u8)
}

/// The text of a proof; `None` when the file is something else.
fn read_proof(path: &std::path::Path) -> Option<String> {
    let (mut file, mut text) = (std::fs::File::open(path).ok()?, Vec::new());
    (&mut file).take(PROOF_BYTES_MAX).read_to_end(&mut text).ok()?;
    single::is_proof(&text).then(|| String::from_utf8(text).ok()).flatten()
}

fn check_proof(args: &Args, proof: &str) -> ExitCode {
    if matches!(args.trust, Trust::File) {
        return unreadable(
            &"a proof says nothing without a key that you trust: give `--key` or `--trust`",
        );
    }
    let checked = single::check(proof, &args.trust);
    let mut said = vec![match &checked {
        Ok(held) => (Exit::Whole, "proven", held.text()),
        Err(unproven) => (Exit::Finding, unproven.code(), unproven.text()),
    }];
    // What is disclosed of a record that is not proven says nothing.
    for path in args.disclosures.iter().filter(|_| checked.is_ok()) {
        let document = match std::fs::read(path) {
            Ok(document) => document,
            Err(cause) => return unreadable(&format!("`{}`: {cause}", path.display())),
        };
        said.push(match disclosed::check(&document, &single::leaf(proof).unwrap_or_default()) {
            Ok(shown) => (Exit::Whole, "disclosed", shown.text()),
            Err(unshown) => (Exit::Finding, unshown.code(), unshown.text()),
        });
    }
    let bad = said.iter().any(|(exit, _, _)| !matches!(exit, Exit::Whole));
    let exit = if bad { Exit::Finding } else { Exit::Whole };
    for (_, code, text) in said {
        if args.json {
            let Text { en, ko } = text;
            say(&format!("{:#}", json!({ "exit": exit as u8, "code": code, "en": en, "ko": ko })));
        } else {
            say(&pick(args.lang, text));
        }
    }
    ExitCode::from(exit as u8)
}

fn pick(lang: Lang, text: Text) -> String {
    match lang {
        Lang::En => text.en,
        Lang::Ko => text.ko,
    }
}

fn tell(report: &Report, lang: Lang, seconds: f64) {
    let pick = |text: Text| pick(lang, text);
    for finding in &report.findings {
        say(&pick(finding.text()));
    }
    if report.more > 0 {
        let more = report.more;
        let text = Text { en: format!("and {more} more"), ko: format!("그 밖에 {more}건") };
        say(&pick(text));
    }
    for open in &report.open {
        say(&pick(open.text()));
    }
    say(&pick(report.counts.text()));
    #[expect(clippy::cast_precision_loss, reason = "a rate for people to read")]
    let rate = report.counts.records as f64 / seconds.max(f64::EPSILON);
    say(&pick(Text {
        en: format!("{seconds:.2} s, {rate:.0} records a second"),
        ko: format!("{seconds:.2}초, 초당 기록 {rate:.0}건"),
    }));
    say(&pick(report.verdict()));
}

fn unreadable(cause: &dyn std::fmt::Display) -> ExitCode {
    // Nobody may be listening; the exit code says it all the same.
    let _ = writeln!(std::io::stderr(), "haetae-verify: {cause}");
    ExitCode::from(Exit::Unreadable as u8)
}

fn say(line: &str) {
    let _ = writeln!(std::io::stdout(), "{line}");
}

/// A record of 65,535 bytes in base64, 64 hashes, and the largest note that is read (160 KiB).
const PROOF_BYTES_MAX: u64 = 512 * 1024;
