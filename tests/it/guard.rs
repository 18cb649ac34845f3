//! A site's guard against receipts of a real log: it lets in the recorded request, once, and nothing else; and its journal
//! says what happened.

mod ahead;
mod answers;
mod follow;
mod heads;
mod served;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::task::Poll;

use axum::Router;
use bytes::Bytes;
use futures_util::{future::join_all, stream};
use haetae::audit::{Draft, Ended, How, Key, Proof, Recorded, allows};
use haetae::clock::Clock;
use haetae::guard::{Allow, Config, Entry, Guard, Mismatch, What, entries, reconcile};
use http::{HeaderMap, Request, StatusCode};
use http_body::Frame;
use http_body_util::{BodyExt as _, Full, StreamBody};
use sha2::{Digest as _, Sha256};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use verdict::decision::Outcome;

use crate::audit::lab::{Lab, ORIGIN, carried, draft, eventually};
use crate::support::{Fresh, fresh_database};

const BODY: &str = r#"{"model":"assistant","messages":[]}"#;
const NS: i64 = 1_000_000_000;
const NOW: i64 = 1_795_000_000 * NS;

/// A log, a service that counts, and a guard between them.
struct Site {
    guard: Arc<Guard>,
    lab: Lab,
    clock: Clock,
    seen: Arc<Mutex<Vec<HeaderMap>>>,
    config: Config,
    stop: CancellationToken,
    _dir: tempfile::TempDir,
    _fresh: Fresh,
}

impl Site {
    async fn open() -> Self {
        Self::with(2).await
    }

    async fn with(lanes: u16) -> Self {
        Self::at(NOW, lanes).await
    }

    /// Where it is this time.
    async fn at(now: i64, lanes: u16) -> Self {
        let fresh = fresh_database().await;
        let (clock, key) = (Clock::fixed(now), Arc::new(Key::generate().unwrap()));
        let lab = Lab::start_at(&fresh.pool, lanes, clock.clone(), Arc::clone(&key)).await;
        let (dir, tracker) = (tempfile::tempdir().unwrap(), TaskTracker::new());
        let (upstream, seen) = service(&tracker).await;
        let config = config(dir.path(), &upstream, &trust(&key));
        let stop = CancellationToken::new();
        let guard = start(&config, &clock, &stop);
        Self { guard, lab, clock, seen, config, stop, _dir: dir, _fresh: fresh }
    }

    /// A recorded decision for `BODY`, as the gate would have it written.
    async fn record(&self, change: impl FnOnce(&mut Draft), outcome: Outcome) -> Proof {
        match self.recorded(change, outcome).await {
            Recorded::Permit(permit) => permit.proof().clone(),
            Recorded::Refusal(proof) => proof,
        }
    }

    async fn recorded(&self, change: impl FnOnce(&mut Draft), outcome: Outcome) -> Recorded {
        self.clock.set(self.clock.unix_ns() + 1_000);
        let mut draft = draft(outcome, 0);
        draft.body_digest = hex::encode(Sha256::digest(BODY));
        draft.body_bytes = BODY.len() as u64;
        change(&mut draft);
        self.lab.audit.record(draft).await.unwrap()
    }

    async fn allow(&self) -> Proof {
        self.record(|_| (), Outcome::Allow).await
    }

    /// Status and code of the answer.
    async fn send(&self, request: Request<Full<Bytes>>) -> (StatusCode, String) {
        send(&self.guard, request).await
    }

    /// Says how each ended, and waits until the query tables have it.
    async fn end(&self, ends: &[(&Proof, How)]) {
        for (proof, how) in ends {
            self.lab.audit.ended(Ended {
                id: Arc::clone(&proof.id),
                how: *how,
                status: None,
                bytes_out: 0,
                bytes_back: 0,
                duration_ms: 0,
                why: None,
                withdrawn: None,
            });
        }
        let count = "select count(*) from row_ended";
        eventually("all ends are projected", async || {
            let there: i64 = sqlx::query_scalar(count).fetch_one(&self.lab.pool).await.unwrap();
            usize::try_from(there).unwrap() == ends.len()
        })
        .await;
    }

    fn reached(&self) -> usize {
        self.seen.lock().unwrap().len()
    }
}

async fn send(guard: &Guard, request: Request<Full<Bytes>>) -> (StatusCode, String) {
    let request = request.map(|body| body.map_err(|never| match never {}));
    let (head, body) = guard.handle("203.0.113.0/24", request).await.into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    (head.status, body["error"]["code"].as_str().unwrap_or("let in").to_owned())
}

fn start(config: &Config, clock: &Clock, stop: &CancellationToken) -> Arc<Guard> {
    let guard = Guard::start(config, clock.clone(), &TaskTracker::new(), stop.clone());
    Arc::new(guard.unwrap())
}

fn trust(key: &Key) -> String {
    let log = |lane| format!("log {}\n", key.vkey(ORIGIN, lane).unwrap());
    format!("{}{}quorum none\n", log(0), log(1))
}

fn config(dir: &Path, upstream: &str, trust: &str) -> Config {
    std::fs::write(dir.join("trust.policy"), trust).unwrap();
    let text = format!(
        r#"
        site = "kr-seo-1"
        identity = "spiffe://kr-op.example/site/kr-seo-1"
        trust = "trust.policy"
        upstream = "{upstream}"
        journal = "guard.jsonl"
        listen = {{ address = "127.0.0.1:0" }}
        "#
    );
    let mut config: Config = toml::from_str(&text).unwrap();
    config.paths_mut().for_each(|path| *path = dir.join(&*path));
    config
}

/// A service that remembers the heads of what reached it.
async fn service(tracker: &TaskTracker) -> (String, Arc<Mutex<Vec<HeaderMap>>>) {
    let seen = Arc::new(Mutex::new(Vec::new()));
    let kept = Arc::clone(&seen);
    let answer = move |head: HeaderMap, body: Bytes| {
        kept.lock().unwrap().push(head);
        async move {
            assert_eq!(body, BODY);
            "{\"served\":true}"
        }
    };
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let router = Router::new().fallback(answer);
    tracker.spawn(async move { axum::serve(listener, router).await });
    (format!("http://{address}"), seen)
}

fn request(proof: &Proof) -> Request<Full<Bytes>> {
    Request::post("https://kr-seo-1.example:8443/v1/chat/completions")
        .header("content-type", "application/json")
        .header("haetae-receipt", proof.receipt.as_ref())
        .header("haetae-leaf", proof.leaf.as_ref())
        .header("connection", "keep-alive, x-mine")
        .header("x-mine", "1")
        .body(Full::from(BODY))
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_opens_its_site_once() {
    let site = Site::open().await;
    let proof = site.allow().await;
    assert_eq!(site.send(request(&proof)).await, (StatusCode::OK, "let in".to_owned()));
    let head = site.seen.lock().unwrap()[0].clone();
    assert!(head.contains_key("haetae-receipt"), "the service may want it");
    assert!(!head.contains_key("x-mine"), "what `connection` names is of one connection");
    let again = site.send(request(&proof)).await;
    assert_eq!(again, (StatusCode::FORBIDDEN, "receipt_used".to_owned()));
    assert_eq!(site.reached(), 1);

    let kept = entries(&site.config.journal).unwrap();
    let said: Vec<_> = kept.iter().map(|entry| (entry.what, entry.why.as_deref())).collect();
    let used = (What::Refused, Some("receipt_used"));
    assert_eq!(said, [(What::Started, None), (What::Consumed, None), used]);
    assert!(kept[1..].iter().all(|entry| entry.decision.as_deref() == Some(&*proof.id)));
    site.lab.stop().await;
}

/// A body may take two minutes, and others come and go meanwhile: what they know of the time must not be turned back.
#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_is_used_when_its_body_is_there() {
    let site = Site::open().await;
    let proof = site.allow().await;
    let (clock, there) = (site.clock.clone(), site.clock.unix_ns() + 50 * NS);
    let late = request(&proof).map(|body| {
        let body = body.map_frame(move |frame| {
            clock.set(there);
            frame
        });
        body.map_err(|never| match never {})
    });
    assert_eq!(site.guard.handle("203.0.113.0/24", late).await.status(), StatusCode::OK);
    let kept = entries(&site.config.journal).unwrap();
    assert_eq!((kept[1].what, kept[1].at_ns), (What::Consumed, there));
    site.lab.stop().await;
}

/// Whoever has a used receipt can send its body any number of times at once: none of it is kept.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_used_receipt_no_body_is_read() {
    let site = Site::open().await;
    let proof = site.allow().await;
    assert_eq!(site.send(request(&proof)).await.0, StatusCode::OK);
    let again = request(&proof).map(|_| {
        StreamBody::new(stream::poll_fn(|_| -> Poll<Option<std::io::Result<Frame<Bytes>>>> {
            panic!("its body is read")
        }))
    });
    assert_eq!(site.guard.handle("203.0.113.0/24", again).await.status(), StatusCode::FORBIDDEN);
    let kept = entries(&site.config.journal).unwrap();
    assert_eq!(kept.last().unwrap().why.as_deref(), Some("receipt_used"));
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_of_many_at_once_gets_in() {
    let site = Site::open().await;
    for _ in 0..5 {
        let proof = site.allow().await;
        let answers = join_all((0..40).map(|_| site.send(request(&proof)))).await;
        assert_eq!(answers.iter().filter(|(status, _)| status.is_success()).count(), 1);
    }
    assert_eq!(site.reached(), 5);
}

/// How a good request is spoilt.
type Spoil = fn(&mut Request<Full<Bytes>>);

const SPOILT: [(&str, Spoil); 14] = [
    ("receipt_missing", |r| drop(r.headers_mut().remove("haetae-receipt"))),
    ("receipt_missing", |r| drop(r.headers_mut().remove("haetae-leaf"))),
    ("receipt_malformed", |r| {
        let receipt = r.headers()["haetae-receipt"].clone();
        r.headers_mut().append("haetae-receipt", receipt);
    }),
    ("receipt_malformed", |r| {
        drop(r.headers_mut().insert("haetae-receipt", "bm90IG9uZQ==".parse().unwrap()));
    }),
    ("receipt_malformed", |r| {
        drop(r.headers_mut().insert("haetae-leaf", ":not base64:".parse().unwrap()));
    }),
    ("receipt_of_another_request", |r| *r.method_mut() = http::Method::PUT),
    ("receipt_of_another_request", |r| {
        *r.uri_mut() = "https://kr-seo-1.example:8443/v1/embeddings".parse().unwrap();
    }),
    ("receipt_of_another_request", |r| {
        *r.uri_mut() = "https://kr-seo-1.example:8443/v1/chat/completions?x=1".parse().unwrap();
    }),
    ("receipt_of_another_request", |r| {
        *r.uri_mut() = "https://other.example/v1/chat/completions".parse().unwrap();
    }),
    ("receipt_of_another_request", |r| {
        drop(r.headers_mut().insert("host", "other.example".parse().unwrap()));
    }),
    ("receipt_of_another_request", |r| {
        drop(r.headers_mut().insert("content-type", "text/plain".parse().unwrap()));
    }),
    ("receipt_of_another_request", |r| drop(r.headers_mut().remove("content-type"))),
    ("receipt_of_another_body", |r| *r.body_mut() = Full::from(BODY.replace("[]", "{}"))),
    ("receipt_of_another_body", |r| *r.body_mut() = Full::from(format!("{BODY} "))),
];

#[tokio::test(flavor = "multi_thread")]
async fn nothing_but_the_recorded_request_gets_in() {
    let site = Site::open().await;
    let proof = site.allow().await;
    for (code, spoil) in SPOILT {
        let mut spoilt = request(&proof);
        spoil(&mut spoilt);
        assert_eq!(site.send(spoilt).await, (StatusCode::FORBIDDEN, code.to_owned()));
    }
    let refused = site.record(|_| (), Outcome::Deny).await;
    let elsewhere = |draft: &mut Draft| draft.site.as_mut().unwrap().site = "kr-pus-1".into();
    let another = |draft: &mut Draft| {
        draft.site.as_mut().unwrap().identity = "spiffe://kr-op.example/site/kr-pus-1".into();
    };
    let cases = [
        ("receipt_not_an_allow", refused),
        ("receipt_of_another_site", site.record(elsewhere, Outcome::Allow).await),
        ("receipt_of_another_site", site.record(another, Outcome::Allow).await),
    ];
    for (code, proof) in cases {
        assert_eq!(site.send(request(&proof)).await, (StatusCode::FORBIDDEN, code.to_owned()));
    }
    let large = site.record(|draft| draft.body_bytes = 1 << 30, Outcome::Allow).await;
    let (status, code) = site.send(request(&large)).await;
    assert_eq!((status, &*code), (StatusCode::PAYLOAD_TOO_LARGE, "body_too_large"));
    // None of this used the receipt up.
    assert_eq!(site.reached(), 0);
    assert_eq!(site.send(request(&proof)).await.0, StatusCode::OK);
    site.lab.stop().await;
}

/// Every byte of leaf and receipt counts.
#[tokio::test(flavor = "multi_thread")]
async fn a_changed_receipt_or_leaf_opens_nothing() {
    use base64::{Engine as _, engine::general_purpose::STANDARD};
    let site = Site::open().await;
    site.allow().await;
    let proof = site.allow().await;
    let flip = |mut bytes: Vec<u8>, at: usize| {
        let place = at % bytes.len();
        bytes[place] ^= 1;
        Bytes::from(format!(":{}:", STANDARD.encode(bytes)))
    };
    let (leaf_bytes, receipt_bytes) = carried(&proof);
    for at in (0..2_000).step_by(23) {
        let leaf = Proof { leaf: flip(leaf_bytes.clone(), at), ..proof.clone() };
        assert_eq!(site.send(request(&leaf)).await.0, StatusCode::FORBIDDEN, "leaf, byte {at}");
        let receipt = Proof { receipt: flip(receipt_bytes.clone().into(), at), ..proof.clone() };
        assert_eq!(
            site.send(request(&receipt)).await.0,
            StatusCode::FORBIDDEN,
            "receipt, byte {at}"
        );
    }
    // A log that is not in the trust file, though of the same name.
    let other = Arc::new(Key::generate().unwrap());
    let (fresh, clock) = (fresh_database().await, site.clock.clone());
    let lab = Lab::start_at(&fresh.pool, 1, clock, other).await;
    let mut forged = draft(Outcome::Allow, 0);
    forged.body_digest = hex::encode(Sha256::digest(BODY));
    forged.body_bytes = BODY.len() as u64;
    let Recorded::Permit(permit) = lab.audit.record(forged).await.unwrap() else { panic!() };
    let (status, code) = site.send(request(permit.proof())).await;
    assert_eq!((status, &*code), (StatusCode::FORBIDDEN, "receipt_not_trusted"));
    assert_eq!(site.reached(), 0);
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receipt_serves_for_a_minute_and_not_across_a_restart() {
    let site = Site::open().await;
    let (old, early, kept) = (site.allow().await, site.allow().await, site.allow().await);
    let now = site.clock.unix_ns();
    site.clock.set(now - 6 * NS);
    assert_eq!(site.send(request(&early)).await.1, "receipt_from_the_future");
    site.clock.set(now + 59 * NS);
    assert_eq!(site.send(request(&early)).await.0, StatusCode::OK);
    site.clock.set(now + 61 * NS);
    assert_eq!(site.send(request(&old)).await.1, "receipt_too_old");

    // Whether `kept` was used before its start, a new guard cannot know.
    site.clock.set(now + NS);
    site.stop.cancel();
    let Site { guard, clock, config, lab, .. } = site;
    drop(guard);
    let guard = again(&config, &clock).await;
    assert_eq!(send(&guard, request(&kept)).await.1, "receipt_before_start");
    let whats: Vec<_> = entries(&config.journal).unwrap().iter().map(|entry| entry.what).collect();
    assert_eq!(whats.iter().filter(|what| **what == What::Started).count(), 2);
    lab.stop().await;
}

/// Once the task that keeps the journal has let go of it.
async fn again(config: &Config, clock: &Clock) -> Guard {
    loop {
        let again =
            Guard::start(config, clock.clone(), &TaskTracker::new(), CancellationToken::new());
        match again {
            Ok(guard) => return guard,
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(20)).await,
        }
    }
}

/// The gateway's clock may be some seconds ahead: then a record that was used is later than the guard's next start.
#[tokio::test(flavor = "multi_thread")]
async fn what_was_used_before_a_restart_is_known_after_it() {
    let site = Site::open().await;
    let (used, unused) = (site.allow().await, site.allow().await);
    site.clock.set(site.clock.unix_ns() - 4 * NS);
    assert_eq!(site.send(request(&used)).await.0, StatusCode::OK);
    site.stop.cancel();
    let Site { guard, clock, config, lab, .. } = site;
    drop(guard);
    let guard = again(&config, &clock).await;
    assert_eq!(send(&guard, request(&used)).await.1, "receipt_used");
    let (status, said) = send(&guard, request(&unused)).await;
    assert_eq!(status, StatusCode::OK, "{said}");
    lab.stop().await;
}

/// The log's times only rise: after an hour that was not, they creep on for as long.
#[tokio::test(flavor = "multi_thread")]
async fn a_clock_that_was_ahead_and_is_right_again_closes_no_site() {
    let site = Site::open().await;
    let now = site.clock.unix_ns();
    site.clock.set(now + 3_600 * NS);
    let ahead = site.allow().await;
    site.clock.set(now);
    assert_eq!(site.send(request(&ahead)).await.1, "receipt_from_the_future");
    let (proof, late) = (site.allow().await, site.allow().await);
    assert_eq!(site.send(request(&proof)).await.0, StatusCode::OK);
    assert_eq!(site.send(request(&proof)).await.1, "receipt_used");
    site.clock.set(now + 62 * NS);
    assert_eq!(site.send(request(&late)).await.1, "receipt_too_old");
    site.lab.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_was_edited_is_named_and_not_written_on() {
    let site = Site::open().await;
    let proof = site.allow().await;
    site.send(request(&proof)).await;
    site.send(request(&proof)).await;
    site.lab.stop().await;
    let text = std::fs::read_to_string(&site.config.journal).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let without_second = format!("{}\n{}\n", lines[0], lines[2]);
    let edited = text.replacen("consumed", "refused", 1);
    for (changed, line) in [(without_second, 2), (edited, 3)] {
        let path = site.config.journal.with_extension("changed");
        std::fs::write(&path, changed).unwrap();
        let said = entries(&path).unwrap_err().to_string();
        assert!(said.contains(&format!("broken in line {line}")), "{said}");
        let config = Config { journal: path, ..site.config.clone() };
        let clock = Clock::fixed(NOW);
        let started = Guard::start(&config, clock, &TaskTracker::new(), CancellationToken::new());
        assert!(started.is_err());
    }
    // Half a line, as a power cut or a full disk leaves it, is not a change.
    let path = site.config.journal.with_extension("cut");
    std::fs::write(&path, &text.as_bytes()[..text.len() - 10]).unwrap();
    assert_eq!(entries(&path).unwrap().len(), 2);
}

/// As it stands, and with every key that it shows as a default.
#[test]
fn the_example_is_a_configuration() {
    let example = include_str!("../../guard.toml");
    let plain: Config = toml::from_str(example).unwrap();
    let whole = example.replace("\n# upstream_", "\nupstream_").replace("\n# body", "\nbody");
    let whole = whole.replace("\n# age_s", "\nage_s").replace("\n# skew_s", "\nskew_s");
    let whole: Config = toml::from_str(&whole).unwrap();
    assert_eq!((whole.age_s, whole.skew_s), (plain.age_s, plain.skew_s));
    assert_eq!(whole.body_bytes_max, plain.body_bytes_max);
    assert!(whole.upstream_certificate.is_some() && plain.upstream_certificate.is_none());
}

/// A bypass at either end shows: let in without an allow, sent without being let in, let in though nothing was sent.
#[tokio::test(flavor = "multi_thread")]
async fn the_journal_is_held_against_the_log() {
    let site = Site::open().await;
    let [fine, not_let_in, under_way, never_sent, not_sent] = [
        site.allow().await,
        site.allow().await,
        site.allow().await,
        site.allow().await,
        site.allow().await,
    ];
    for proof in [&fine, &under_way, &not_sent] {
        assert_eq!(site.send(request(proof)).await.0, StatusCode::OK);
    }
    let ends = [
        (&fine, How::Forwarded),
        (&not_let_in, How::Forwarded),
        (&never_sent, How::NotForwarded),
        (&not_sent, How::NotForwarded),
    ];
    site.end(&ends).await;
    let mut journal = entries(&site.config.journal).unwrap();
    let invented = journal.iter().find(|entry| entry.what == What::Consumed).unwrap().clone();
    journal.push(Entry { decision: Some("invented".into()), index: Some(999), ..invented });

    let rows = allows(&site.lab.pool, "kr-seo-1", NOW, NOW + 60 * NS).await.unwrap();
    assert_eq!(rows.len(), 5);
    let rows: Vec<Allow> = rows
        .into_iter()
        .map(|row| Allow {
            decision: row.id.to_string(),
            lane: row.origin,
            index: u64::try_from(row.index).unwrap(),
            made_ns: row.made_ns,
            how: row.how,
        })
        .collect();
    let report = reconcile([&journal; 2], &rows, NOW, NOW + 60 * NS);
    let said: Vec<String> = report.mismatches.iter().map(ToString::to_string).collect();
    let named =
        |what: &str, id: &str| said.iter().any(|line| line.contains(what) && line.contains(id));
    assert_eq!(said.len(), 3, "{said:#?}");
    assert!(named("let in, not allowed", "invented"), "{said:#?}");
    assert!(named("allowed and sent, not let in", &not_let_in.id), "{said:#?}");
    assert!(named("let in, not sent", &not_sent.id), "{said:#?}");
    let hour = report.hours.values().next().unwrap();
    let counts = (hour.allowed, hour.let_in, hour.not_sent, hour.refused, hour.mismatches);
    assert_eq!((report.hours.len(), counts), (1, (5, 4, 1, 0, 3)));
    let real = &journal[..journal.len() - 1];
    let whole = found([real; 2], &rows[..1], NOW + 60 * NS);
    assert!(whole.iter().all(|found| !matches!(found, Mismatch::NotLetIn { .. })));
    edges(real, &rows, &not_sent.id);
    site.lab.stop().await;
}

fn found(journals: [&[Entry<'_>]; 2], rows: &[Allow], to: i64) -> Vec<Mismatch> {
    reconcile(journals, rows, NOW, to).mismatches
}

/// A journal whose first use is that of the first of these rows, and has one that was not sent.
fn edges(real: &[Entry<'_>], rows: &[Allow], not_sent: &str) {
    // What came between the two readings is none, at either end.
    let early = &real[..2];
    assert_eq!(early.last().unwrap().what, What::Consumed);
    assert_eq!(found([early, real], &rows[..1], NOW + 60 * NS), []);
    // Nor is what came after the time that is asked for; in its own time it is.
    let to = real.iter().find(|entry| entry.decision.as_deref() == Some(not_sent)).unwrap().at_ns;
    let is_not_sent = |found: &Mismatch| matches!(found, Mismatch::NotSent { .. });
    assert!(!found([real; 2], rows, to).iter().any(is_not_sent));
    assert!(found([real; 2], rows, to + 1).iter().any(is_not_sent));
    // A receipt that two guards of a site let in.
    let twice = [real, &real[1..2]].concat();
    let is_twice = |found: &Mismatch| matches!(found, Mismatch::Twice { .. });
    let twice = found([&twice; 2], rows, NOW + 60 * NS);
    assert_eq!(twice.iter().filter(|found| is_twice(found)).count(), 1, "{twice:?}");
}
