//! `bench-decision replay`: how many recorded decisions a second `haetae policy replay --export` judges again, on an
//! export file of a history as a gateway has it (many requests, few different facts). The reading and the judging are compiled
//! from the product's own files.

use std::fmt::Write as _;
use std::io::Write as _;
use std::time::Instant;

use crate::audit::recorded::ExportFile;
use crate::policy::replay::{Recorded, Span, replay};
use base64::{Engine as _, engine::general_purpose::STANDARD};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use verdict::Rulebook;
use verdict::facts::Facts;

struct Source<'a>(&'a ExportFile);

impl Recorded for Source<'_> {
    fn facts(&self, digest: &[u8; 32]) -> Result<Option<Vec<u8>>, String> {
        self.0.facts(digest).map_err(|error| error.to_string())
    }

    fn leaves(&self, piece: &[u8], each: &mut dyn FnMut(&[u8])) -> Result<(), String> {
        ExportFile::leaves(piece, each).map_err(|error| error.to_string())
    }
}

pub fn run() {
    let path = std::env::temp_dir().join(format!("haetae-bench-replay-{}", std::process::id()));
    let rules = rulebook();
    let bytes = write(&path, &rules);
    let size = std::fs::metadata(&path).expect("a file").len();
    println!(
        "{RECORDS} decisions with {FACTS} different facts, {bytes} bytes a leaf, a file of {} MB, read from the page cache",
        size >> 20
    );
    for threads in [1, 2] {
        let (mut best, mut cpu) = (f64::MAX, f64::MAX);
        for _ in 0..ROUNDS {
            let (start, used) = (Instant::now(), cpu_s());
            let file = ExportFile::open(&path).expect("an export");
            let span = Span { since: 0, until: 4_000_000_000 };
            let ways = replay(&rules, span, &Source(&file), threads, |each| {
                file.pieces(each).map_err(|error| error.to_string())
            });
            let ways = ways.expect("a replay");
            assert_eq!(
                (ways.decisions, ways.same),
                (RECORDS, RECORDS),
                "judged again it is the same"
            );
            best = best.min(start.elapsed().as_secs_f64());
            cpu = cpu.min(cpu_s() - used);
        }
        println!(
            "| replay, {threads} thread(s) | {:.0} records/s | {:.2} us of CPU a record |",
            RECORDS as f64 / best,
            cpu * 1e6 / RECORDS as f64
        );
    }
    std::fs::remove_file(&path).expect("removed");
}

/// What this process has used of all cores, in ticks of 10 ms.
fn cpu_s() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after = stat.rsplit_once(") ").expect("a name").1;
    let ticks = after.split(' ').skip(11).take(2).map(|it| it.parse::<f64>().expect("ticks"));
    ticks.sum::<f64>() / 100.0
}

/// An export with decisions and their rows, as long as real ones; gives the length of a leaf.
fn write(path: &std::path::Path, rules: &Rulebook) -> usize {
    let mut out = std::io::BufWriter::new(std::fs::File::create(path).expect("a file"));
    let mut line = |value: serde_json::Value| {
        serde_json::to_writer(&mut out, &value).expect("written");
        out.write_all(b"\n").expect("written");
    };
    line(
        json!({"build": "bench", "created": "2026-11-25T00:00:00.000000000Z", "format": "haetae-export",
        "lanes": [{"lane": 0, "origin": "bench/0", "from": 0, "to": RECORDS}], "type": "header", "v": 1}),
    );
    let decided: Vec<_> = (0..FACTS).map(|number| decide(rules, number)).collect();
    for (text, digest, _) in &decided {
        line(
            json!({"bytes": STANDARD.encode(text), "digest": digest, "kind": "facts", "type": "text"}),
        );
    }
    let mut length = 0;
    for index in 0..RECORDS {
        let (_, facts, outcome) = &decided[index as usize * 31 % FACTS];
        let (id, body) = (uuid(index), STANDARD.encode(Sha256::digest(index.to_be_bytes())));
        let mut leaf = json!({"actor": body, "actor_kind": "service", "at": format!("2026-11-24T10:00:00.{index:09}Z"),
            "body": body, "body_bytes": 812, "bundle": body, "credential": "token", "datasets": ["kr-retail/orders@1"],
            "detail": body, "epoch": 1, "fact_version": 7, "facts": facts, "id": id, "index": index, "issuer": "https://idp.example.kr",
            "judged": AT, "kind": "decision", "lane": 0, "network": "203.0.113.0/24", "nonce": "AAAAAAAAAAAAAAAAAAAAAA==",
            "operation": "chat.completions", "org": "kr-retailer", "protocol": "openai", "purpose": "dpv:ServiceProvision",
            "service": "llama-3", "token": body, "trace": "0".repeat(32), "v": 1, "outcome": outcome["outcome"],
            "reason": outcome["reason"]});
        for key in ["rule", "site"] {
            if !outcome[key].is_null() {
                leaf[key] = outcome[key].clone();
            }
        }
        if !outcome["site"].is_null() {
            leaf["identity"] = "spiffe://site.example/kr-seo-1".into();
            leaf["request"] = json!({"authority": "kr-seo-1.example", "content_type": "application/json", "method": "POST", "path": "/v1/chat/completions"});
        }
        let leaf = leaf.to_string();
        length = leaf.len();
        line(
            json!({"bytes": STANDARD.encode(&leaf), "index": index, "lane": 0, "mark": "AAAAAAAAAAA=", "type": "leaf"}),
        );
        line(
            json!({"row": {"at": "2026-11-24T10:00:00.000000000Z", "id": id, "facts": facts, "detail": body, "bundle": body, "actor": body,
            "kind": "decision", "org": "kr-retailer", "service": "llama-3", "operation": "chat.completions", "index": index, "lane": 0}, "type": "row"}),
        );
    }
    line(json!({"sha256": "-", "type": "end"}));
    length
}

fn uuid(number: u64) -> String {
    let mut text = String::from("01900000-0000-7000-8000-");
    let _ = write!(text, "{number:012x}");
    text
}

/// Facts that differ in the dataset, with what the rules say of them: (text, digest, outcome).
fn decide(rules: &Rulebook, number: usize) -> (Vec<u8>, String, serde_json::Value) {
    let place = if number % 5 == 0 { "JP" } else { "KR" };
    let facts: Facts = serde_json::from_value(json!({
        "question": {"profile": "statutory", "role": "entrustment", "subject": {"entity": "kr-retailer", "seat": "KR"},
            "components": [{"dataset": format!("d@{number}"), "regimes": ["KR.X"], "origins": ["KR"]}],
            "recipient": {"place": "KR", "same_entity": true}},
        "sites": [{"id": "kr-seo-1", "location": place, "operator": {"entity": "A", "seat": "KR"}}],
    }))
    .expect("facts");
    let judgement = verdict::judge(rules, &facts, AT);
    let first = judgement.decision.reasons.first();
    let outcome = json!({"outcome": judgement.outcome, "site": judgement.permitted.first(),
        "reason": first.map_or("ALLOWED_BY_RULE", |why| why.code.code()), "rule": first.and_then(|why| why.rule.clone())});
    let text = verdict::canonical(&facts).expect("bytes");
    let digest = STANDARD.encode(Sha256::digest(&text));
    (text, digest, outcome)
}

fn rulebook() -> Rulebook {
    serde_json::from_str(r#"{"name":"bench","version":"1","regimes":[{"id":"KR.X","mode":"floor"}],"groups":[],
"rules":[{"id":"R1","basis":["house"],"text":{"en":"No export.","ko":"반출 금지."},"citation":"-","mark":"M"}],
"rows":[{"rule":"R1","number":1,"kind":"restrict","out":"deny","regime":"KR.X","flow":"*","to":"JP","profiles":["statutory"]}],
"vocabulary":{},"limits":{"tia_age_s":0,"check_age_s":0,"attestation_age_s":0,"exposure_share":50,"control_share":50}}"#)
    .expect("a rulebook")
}

const RECORDS: u64 = 300_000;
const FACTS: usize = 500;
const ROUNDS: usize = 5;
/// Every decision is judged for this second.
const AT: i64 = 1_795_449_600;
