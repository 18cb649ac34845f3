//! `make bench-decision`: how long one decision takes in our core and in others, on the same rules and the same questions.
//!
//! One decision is one cell: may this data, under this regime, go in this flow to this place, with these predicates true? Each
//! engine gets its questions in its own form beforehand; what is timed is the answer. Every engine's answer to every question
//! is compared with the core's before anything is timed: a row with a wrong answer is void.

mod audit;
mod history;
mod others;
mod policy;
mod rules;

use std::hint::black_box;
use std::time::{Duration, Instant};

use others::{Casbin, Cedar, Rego};
use policy::memo::{Memo, TwoEngines, compare};
use policy::rulebook::Engines;
use rules::Words;
use verdict::Rulebook;
use verdict::cell::{CellKey, Matcher as _, Matches, Pure};
use verdict::rule::Kind;

/// What one engine did on one number of rules.
struct Row {
    engine: &'static str,
    /// Nanoseconds a decision, median of the rounds.
    ns: f64,
    wrong: usize,
}

fn main() {
    if std::env::args().nth(1).as_deref() == Some("replay") {
        return history::run();
    }
    let seconds: f64 = argument("--seconds").map_or(1.0, |it| it.parse().expect("a number"));
    let model = std::fs::read_to_string(MODEL).expect("the product's model");
    println!("{HEAD}");
    for count in RULES {
        eprintln!("{count} rules");
        let (rows, allowed) = measure(count, &model, Duration::from_secs_f64(seconds));
        println!("{}", table(count, allowed, &rows));
    }
}

fn argument(name: &str) -> Option<String> {
    let mut arguments = std::env::args().skip_while(|it| it != name);
    arguments.nth(1)
}

fn measure(count: usize, model: &str, time: Duration) -> (Vec<Row>, usize) {
    let words = Words::new();
    let rules = words.rules(count);
    let questions = words.questions(&rules, QUESTIONS);
    let rulebook = words.rulebook(&rules);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    let engines = runtime.block_on(Engines::new(model, &rulebook)).expect("engines");
    let keys: Vec<CellKey> = questions.iter().map(|it| it.key(&rulebook)).collect();
    let memo = Memo::new();
    let known = |key: &CellKey| {
        TwoEngines { engines: &engines, memo: &memo }.matches(&rulebook, key).expect("agreed")
    };
    let truth: Vec<bool> = keys.iter().map(|key| allows(&rulebook, &known(key))).collect();
    let mut rows = Vec::new();
    let mut add = |engine, answer: &dyn Fn(usize) -> bool| {
        let wrong = (0..questions.len()).filter(|number| answer(*number) != truth[*number]).count();
        rows.push(Row { engine, ns: timed(answer, time), wrong });
    };
    add("core, memo hit", &|it| allows(&rulebook, &known(&keys[it])));
    add("core, miss (both engines)", &|it| {
        allows(&rulebook, &compare(&engines, &rulebook, &keys[it]).expect("agreed"))
    });
    add("core, pure matcher alone", &|it| {
        allows(&rulebook, &Pure.matches(&rulebook, &keys[it]).expect("an answer"))
    });
    let casbin = runtime.block_on(Casbin::new(&rules));
    let asked: Vec<Vec<String>> = questions.iter().map(Casbin::question).collect();
    add("casbin alone", &|it| casbin.allows(&asked[it]));
    let cedar = Cedar::new(&rules);
    let asked: Vec<_> = questions.iter().map(Cedar::question).collect();
    add("cedar-policy", &|it| cedar.allows(&asked[it]));
    let rego = Rego::new(&rules);
    let asked: Vec<_> = questions.iter().map(Rego::question).collect();
    add("regorus", &|it| rego.allows(&asked[it]));
    (rows, truth.iter().filter(|allowed| **allowed).count())
}

/// A permit matches and no restriction does.
fn allows(rulebook: &Rulebook, matches: &Matches) -> bool {
    let kinds = matches.sure.iter().filter_map(|id| rulebook.row(*id)).map(|row| row.kind);
    let mut permitted = false;
    for kind in kinds {
        match kind {
            Kind::Restrict => return false,
            Kind::Permit => permitted = true,
        }
    }
    permitted
}

/// Median over rounds of the time one answer takes, all questions in turn.
fn timed(answer: &dyn Fn(usize) -> bool, time: Duration) -> f64 {
    let round = |count: usize| {
        let start = Instant::now();
        for number in 0..count {
            black_box(answer(black_box(number % QUESTIONS)));
        }
        start.elapsed().as_secs_f64() / count as f64
    };
    let about = round(8);
    let count = (time.as_secs_f64() / ROUNDS as f64 / about) as usize;
    let mut rounds: Vec<f64> = (0..ROUNDS).map(|_| round(count.max(8)) * 1e9).collect();
    rounds.sort_by(f64::total_cmp);
    rounds[ROUNDS / 2]
}

fn table(count: usize, allowed: usize, rows: &[Row]) -> String {
    let plain = rows.iter().find(|row| row.engine == "casbin alone").map_or(1.0, |row| row.ns);
    let mut text = format!(
        "\n**{count} rules** ({QUESTIONS} questions, {allowed} of them allowed)\n\n\
         | engine | us a decision | decisions/s | cost, casbin alone = 1 | wrong answers |\n|---|---:|---:|---:|---:|\n"
    );
    for row in rows {
        let void = if row.wrong > 0 { " **void**" } else { "" };
        let (us, rate, ratio) = (row.ns / 1e3, 1e9 / row.ns, row.ns / plain);
        text += &format!(
            "| {} | {us:.3} | {rate:.0} | {ratio:.5} | {}{void} |\n",
            row.engine, row.wrong
        );
    }
    text
}

const RULES: [usize; 4] = [10, 100, 1_000, 10_000];
const QUESTIONS: usize = 512;
const ROUNDS: usize = 5;
const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../policies/model/residency.conf");
const HEAD: &str = "\
One decision is one cell. Rules: permits and refusals over regime, flow, place and two predicates; one in sixteen is for every \
regime and flow. `core` is what the gateway runs: on a miss casbin (an engine for each regime, flow and destination) and \
the pure matcher are both asked and compared. The others get all rules at once.
";
