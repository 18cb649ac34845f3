//! `haetae-verify`: what was typed, the check, what is said.

mod args;

use std::{io::Write as _, process::ExitCode, time::Instant};

use args::{Args, Asked, Lang};
use haetae_verify::{Report, report::Exit};
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

fn tell(report: &Report, lang: Lang, seconds: f64) {
    let pick = |text: Text| match lang {
        Lang::En => text.en,
        Lang::Ko => text.ko,
    };
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
