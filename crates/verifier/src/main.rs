//! `haetae-verify`: what was typed, the check, what is said.

mod args;

use std::{
    io::{Read as _, Write as _},
    process::ExitCode,
    time::Instant,
};

use args::{Args, Asked, Lang};
use haetae_verify::{Report, Trust, disclosed, report::Exit, single};
use serde_json::{Map, Value};
use verdict::decision::Text;

fn main() -> ExitCode {
    match Args::read(std::env::args_os().skip(1)) {
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
    let report = match haetae_verify::verify_against(&args.file, &args.trust, &args.brought) {
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
    // Read before anything is said, so that nothing is said of half of them.
    let mut documents = Vec::new();
    for path in &args.disclosures {
        match args::read_bytes(path) {
            Ok(document) => documents.push((path.display().to_string(), document)),
            Err(cause) => return unreadable(&cause),
        }
    }
    let record = match single::check(proof, &args.trust) {
        Ok(held) => Said { exit: Exit::Whole, code: "proven", text: held.text() },
        Err(unproven) => {
            // What is disclosed of a record that is not proven says nothing.
            documents.clear();
            Said { exit: Exit::Finding, code: unproven.code(), text: unproven.text() }
        }
    };
    let leaf = single::leaf(proof).unwrap_or_default();
    let shown = documents.into_iter().map(|(path, document)| (path, disclosure(&document, &leaf)));
    let under = args.brought.bundles.as_ref().and_then(|all| single::not_approved(&leaf, all));
    let under = under.filter(|_| record.exit != Exit::Finding).map(|finding| Said {
        exit: Exit::Finding,
        code: finding.code(),
        text: finding.text(),
    });
    let kept = single::compare(proof, &args.trust, &args.brought.checkpoints);
    let kept =
        kept.iter().map(|kept| Said { exit: kept.exit(), code: kept.code(), text: kept.text() });
    let proven = Proven { record, under, kept: kept.collect(), shown: shown.collect() };
    let exit = proven.exit();
    if args.json {
        say(&format!("{:#}", proven.json(args)));
    } else {
        proven.texts().for_each(|text| say(&pick(args.lang, text)));
    }
    ExitCode::from(exit as u8)
}

/// What a proof says, and what is held against it.
struct Proven {
    record: Said,
    /// Of the bundle that it was decided under, where that is none of the approved ones.
    under: Option<Said>,
    /// Checkpoints that the reviewer kept.
    kept: Vec<Said>,
    /// Disclosures, by their files.
    shown: Vec<(String, Said)>,
}

impl Proven {
    /// One finding is enough, and else one thing that was not compared.
    fn exit(&self) -> Exit {
        let shown = self.shown.iter().map(|(_, said)| said);
        let all = [&self.record].into_iter().chain(&self.under).chain(&self.kept).chain(shown);
        all.map(|said| said.exit).fold(Exit::Whole, |worst, exit| match (worst, exit) {
            (Exit::Finding, _) | (_, Exit::Finding) => Exit::Finding,
            (Exit::Whole, exit) => exit,
            (worst, _) => worst,
        })
    }

    fn texts(self) -> impl Iterator<Item = Text> {
        let shown = self.shown.into_iter().map(|(_, said)| said);
        [self.record]
            .into_iter()
            .chain(self.under)
            .chain(self.kept)
            .chain(shown)
            .map(|said| said.text)
    }

    /// The record's object, with the exit code of the whole, and a list of each sort that was asked for.
    fn json(self, args: &Args) -> Value {
        let exit = self.exit();
        let mut object = Said { exit, ..self.record }.json();
        if args.brought.bundles.is_some() {
            object.insert("bundle".into(), self.under.map(Said::json).into());
        }
        if !args.brought.checkpoints.is_empty() {
            let kept = self.kept.into_iter().map(|said| Value::from(said.json()));
            object.insert("checkpoints".into(), kept.collect());
        }
        if !args.disclosures.is_empty() {
            let shown = self.shown.into_iter().map(|(path, said)| {
                let mut object = said.json();
                object.insert("file".into(), path.into());
                Value::from(object)
            });
            object.insert("disclosures".into(), shown.collect());
        }
        object.into()
    }
}

/// What one disclosure says of the record.
fn disclosure(document: &[u8], leaf: &[u8]) -> Said {
    match disclosed::check(document, leaf) {
        Ok(shown) => Said { exit: Exit::Whole, code: "disclosed", text: shown.text() },
        Err(unshown) => Said { exit: Exit::Finding, code: unshown.code(), text: unshown.text() },
    }
}

/// One result, for machines and for people.
struct Said {
    exit: Exit,
    code: &'static str,
    text: Text,
}

impl Said {
    fn json(self) -> Map<String, Value> {
        let Text { en, ko } = self.text;
        let exit = self.exit as u8;
        let all: [(&str, Value); 4] = [
            ("exit", exit.into()),
            ("code", self.code.into()),
            ("en", en.into()),
            ("ko", ko.into()),
        ];
        all.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
    }
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
    say(&pick(report.ranges()));
    say(&pick(report.counts.text()));
    for said in [report.counts.unproved(), report.unknown_kinds()].into_iter().flatten() {
        say(&pick(said));
    }
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
