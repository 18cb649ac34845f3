//! Under keys that the reader brought a lane that is not there is missed; a database without a log is never a whole one; and exports
//! carry what a trust file with a quorum asks for; what witnesses signed is held against what they signed it of.

use std::process::Command;
use std::sync::Arc;

use base64::{Engine as _, engine::general_purpose::STANDARD};
use haetae::audit::{
    Key, Published, Range, Report, checkpoint, checkpoints, export, keep_cosignature, published,
    verify, verify_watched, verify_with,
};
use haetae::clock::Clock;
use sqlx::PgPool;
use tlog::{Note, Policy, SigningKey, VerifierKey, key::Kind};

use super::believed::{run, written};
use super::lab::{Lab, ORIGIN, eventually};
use super::shown::database_url;
use crate::support::fresh_database;

fn vkey(key: &Key, lane: u16) -> VerifierKey {
    key.vkey(ORIGIN, lane).unwrap().parse().unwrap()
}

/// What the command prints and its exit code.
fn typed(pool: &PgPool, vkeys: &[VerifierKey]) -> (Option<i32>, String) {
    let more: Vec<String> =
        vkeys.iter().flat_map(|vkey| ["--vkey".to_owned(), vkey.to_string()]).collect();
    typed_with(pool, &more)
}

fn typed_with(pool: &PgPool, more: &[String]) -> (Option<i32>, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
    command.args(["log", "verify", "--database", &database_url(pool)]).args(more);
    let ran = command.output().unwrap();
    (ran.status.code(), String::from_utf8(ran.stdout).unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_lane_that_is_not_there_is_missed() {
    let lab = Lab::start(&fresh_database().await.pool, 2).await;
    let key = std::sync::Arc::clone(&lab.key);
    for _ in 0..6 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let pool = lab.stop().await;
    let trusted = [vkey(&key, 0), vkey(&key, 1)];
    let report = verify_with(&pool, &trusted).await.unwrap();
    assert_eq!((report.is_whole(), report.lanes, report.uncovered), (true, 2, 0));
    // The next generation's keys are handed out for both slots, and neither has gone over to it.
    let more = [&trusted[..], &[vkey(&key, 16), vkey(&key, 17)]].concat();
    let report = verify_with(&pool, &more).await.unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
    assert_eq!(report.to_come, [16, 17].map(|lane| format!("{ORIGIN}/{lane}")));
    let (code, said) = typed(&pool, &more);
    assert!(code == Some(0) && said.contains("not there yet: `lab.example/log/17`"), "{said}");

    let gone = |lane: u16| {
        format!(
            "lane {lane}: missing: no lane of this database is named `{ORIGIN}/{lane}`, whose key is trusted: it was never opened, \
             or is gone, or this is another database"
        )
    };
    let said = async |trusted: &[VerifierKey]| {
        let found = verify_with(&pool, trusted).await.unwrap().findings;
        found.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    // Once a lane is dead, the next of its slot must be there.
    run(
        &pool,
        "update log_head set dead_at = now(), dead_size = size, dead_root = root where lane = 1",
    )
    .await;
    assert_eq!(said(&more).await, [gone(17)]);
    for lane in [
        "delete from log_epoch where lane = 1",
        "delete from log_batch where lane = 1",
        "delete from log_checkpoint where lane = 1",
        "delete from row_decision where lane = 1",
        "delete from projection_cursor where lane = 1",
        "delete from log_head where lane = 1",
    ] {
        sqlx::query(lane).execute(&pool).await.unwrap();
    }
    assert_eq!(said(&[]).await, Vec::<String>::new(), "who trusts the database misses nothing");
    assert_eq!(said(&trusted).await, [gone(1)]);
    assert_eq!(said(&[&trusted[..], &[vkey(&key, 17)]].concat()).await, [gone(1), gone(17)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_without_a_log_is_not_whole() {
    let pool = fresh_database().await.pool;
    let report = verify(&pool).await.unwrap();
    assert_eq!((report.is_whole(), report.findings.len()), (false, 0));
    let (code, said) = typed(&pool, &[]);
    assert_eq!(code, Some(1));
    assert!(said.starts_with("nothing: there is no log in this database: 0 records"), "{said}");
    let (code, said) = typed(&pool, &[vkey(&Key::generate().unwrap(), 0)]);
    assert_eq!(code, Some(1));
    assert!(said.contains("lane 0: missing: no lane of this database is named"), "{said}");
}

fn witness() -> SigningKey {
    SigningKey::from_seed("witness.example/1", Kind::Cosignature, &[9; 32]).unwrap()
}

/// A trust file that asks for the witness.
fn trust(key: &Key) -> Policy {
    trust_file(key, "w").parse().unwrap()
}

fn trust_file(key: &Key, quorum: &str) -> String {
    let (log, witness) = (vkey(key, 0), witness());
    format!("log {log}\nwitness w {}\nquorum {quorum}\n", tlog::Signer::verifier(&witness))
}

/// The witness signs the newest checkpoint, and the gateway keeps what it said.
async fn cosigned(pool: &PgPool) -> Published {
    let newest = published(pool).await.unwrap().remove(0);
    cosign(pool, &newest).await;
    newest
}

async fn cosign(pool: &PgPool, checkpoint: &Published) {
    let note: Note = checkpoint.note.parse().unwrap();
    let line = tlog::cosignature::cosign(&note, &witness(), 1_795_000_000).unwrap().to_string();
    keep_cosignature(pool, checkpoint, "witness.example/1", 1_795_000_000, &line).await.unwrap();
}

/// Where an export ends, of how many records it says that they are not in it, what it says of cosignatures, and what the offline
/// verifier finds under the trust file.
async fn exported(
    pool: &PgPool,
    range: Range,
    trust: &Policy,
) -> (u64, u64, Option<u64>, Vec<String>) {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    let now_ns = haetae::clock::Clock::system().unix_ns();
    let done = export(pool, range, now_ns, &mut file).await.unwrap();
    let text = std::fs::read_to_string(file.path()).unwrap();
    let head: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    let report =
        haetae_verify::verify(file.path(), &haetae_verify::Trust::Policy(trust.clone())).unwrap();
    let found = report.findings.iter().map(|found| found.text().en).collect();
    let to = head["lanes"][0]["to"].as_u64().unwrap();
    (to, done.uncovered, done.cosigned.map(|(_, size)| size), found)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_and_a_checkpoint_carry_what_a_quorum_asks_for() {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let (trust, all) = (trust(&lab.key), Range::default());
    let size = async || published(&lab.pool).await.unwrap().first().map_or(0, |newest| newest.size);
    let denied = async |until: u64| {
        while (lab.leaves().await.len() as u64) < until {
            lab.deny().await.unwrap();
        }
        eventually("all of it is under a checkpoint", async || size().await >= until).await;
        lab.projected().await;
    };
    denied(4).await;
    let (to, _, _, found) = exported(&lab.pool, all, &trust).await;
    assert!(to >= 4 && found.iter().any(|one| one.contains("not the quorum")), "{found:?}");
    let first = cosigned(&lab.pool).await.size;
    let (to, _, behind, found) = exported(&lab.pool, all, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    let notes = checkpoints(&lab.pool).await.unwrap();
    assert_eq!(trust.check(&notes[0]).unwrap().checkpoint.size, first);

    // The witness is a second behind: what is shown ends where it is, and says how much is not in it.
    denied(first + 3).await;
    let newest = size().await;
    let (to, beyond, behind, found) = exported(&lab.pool, all, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    assert!(beyond >= 3, "{beyond}");
    assert_eq!(
        trust.check(&checkpoints(&lab.pool).await.unwrap()[0]).unwrap().checkpoint.size,
        first
    );
    // It is away: records are not kept back for it, and how to end at what it cosigned is said.
    run(&lab.pool, "update log_checkpoint set at = at - interval '11 seconds'").await;
    let (to, _, behind, found) = exported(&lab.pool, all, &trust).await;
    assert!(to >= newest && found.iter().any(|one| one.contains("not the quorum")), "{found:?}");
    assert_eq!(behind, Some(first));
    let part = Range::Lane { lane: 0, from: 0, to: behind };
    let (to, _, behind, found) = exported(&lab.pool, part, &trust).await;
    assert_eq!((to, behind, found), (first, None, vec![]));
    lab.stop().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_line_that_is_no_cosignature_is_named_and_spoils_no_note() {
    let (pool, ids) = written(2).await;
    let newest = cosigned(&pool).await;
    assert_eq!(verify(&pool).await.unwrap().findings, []);
    for (witness, line) in [
        ("else.example/1", "— else.example/1 AAAA"),
        ("elsewhere.example/1", "— witness.example/1 AAAAAAAAAAA="),
    ] {
        keep_cosignature(&pool, &newest, witness, 1, line).await.unwrap();
    }
    let found = verify(&pool).await.unwrap().findings;
    let found: Vec<String> = found.iter().map(ToString::to_string).collect();
    let about = |witness: &str| {
        format!(
            "lane 0: checkpoint: what is kept as the cosignature of `{witness}` under the checkpoint of size {} is none",
            newest.size
        )
    };
    assert_eq!(found, [about("else.example/1"), about("elsewhere.example/1")]);
    // The one that is not even a signature line is not shown.
    let (_, note) = checkpoint(&pool, 0, 0).await.unwrap().unwrap();
    assert_eq!(note.parse::<Note>().unwrap().signatures().len(), 3);
    assert!(haetae::audit::prove(&pool, ids[0]).await.unwrap().unwrap().self_contained().is_some());
}

/// A closed log of one lane, and two of its checkpoints: an earlier one and the newest.
async fn published_twice() -> (PgPool, Arc<Key>, [Published; 2]) {
    let lab = Lab::start(&fresh_database().await.pool, 1).await;
    let newest = async |pool: &PgPool| published(pool).await.unwrap().pop();
    eventually("a checkpoint is published", async || newest(&lab.pool).await.is_some()).await;
    let earlier = newest(&lab.pool).await.unwrap();
    for _ in 0..3 {
        lab.deny().await.unwrap();
    }
    lab.projected().await;
    let key = Arc::clone(&lab.key);
    let pool = lab.stop().await;
    let last = newest(&pool).await.unwrap();
    assert!(last.size > earlier.size + 3);
    (pool, key, [earlier, last])
}

async fn under(pool: &PgPool, trust: &Policy) -> Report {
    let keys: Vec<VerifierKey> = trust.logs.iter().map(|log| log.key.clone()).collect();
    verify_watched(pool, &keys, Some(trust), Clock::system().unix_ns(), Arc::new(|_| {}), None)
        .await
        .unwrap()
}

/// Everything that is found, and of how many records it says that no quorum vouches for them.
async fn found_under(pool: &PgPool, trust: &Policy) -> (Vec<String>, Vec<u64>) {
    let report = under(pool, trust).await;
    let found = report.findings.iter().map(ToString::to_string).collect();
    (found, report.unwitnessed.iter().map(|one| one.records).collect())
}

const NONE: &str =
    "lane 0: checkpoint: none of its checkpoints is cosigned by a quorum of the witnesses";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_no_quorum_of_witnesses_cosigned_is_said() {
    let (pool, key, [earlier, last]) = published_twice().await;
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("trust");
    std::fs::write(&file, trust_file(&key, "w")).unwrap();
    let typed = || typed_with(&pool, &["--trust".to_owned(), file.to_str().unwrap().to_owned()]);
    let trust = trust(&key);
    assert_eq!(found_under(&pool, &trust).await, (vec![NONE.to_owned()], vec![last.size]));
    let (code, said) = typed();
    assert!(code == Some(1) && said.contains(NONE), "{said}");
    // Who asks for no quorum is told of none.
    let nobody: Policy = trust_file(&key, "none").parse().unwrap();
    assert_eq!(found_under(&pool, &nobody).await, (vec![], vec![]));

    cosign(&pool, &earlier).await;
    let behind = last.size - earlier.size;
    let report = under(&pool, &trust).await;
    assert!(report.is_whole(), "{:?}", report.findings);
    let [one] = report.unwitnessed.as_slice() else { panic!("{report:?}") };
    let leaves = super::lab::leaves(&pool).await;
    let first = leaves[usize::try_from(earlier.size).unwrap()]["at"].as_str().unwrap();
    let (first, _) = first.split_once('.').unwrap();
    assert_eq!((one.lane, one.records, one.since_ns.is_some()), (0, behind, true));
    let (code, said) = typed();
    let about =
        format!("lane 0: the newest {behind} records (from {first}Z on) are under no checkpoint");
    assert!(code == Some(0) && said.contains(&about), "{said}");

    cosign(&pool, &last).await;
    assert_eq!(found_under(&pool, &trust).await, (vec![], vec![0]));
    let (code, said) = typed();
    assert!(code == Some(0) && said.contains("every record is under a checkpoint that a quorum"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cosignature_of_another_checkpoint_is_found_with_the_witness_key() {
    let (pool, key, [earlier, last]) = published_twice().await;
    let (trust, nobody) = (trust(&key), trust_file(&key, "none").parse().unwrap());
    cosign(&pool, &earlier).await;
    cosign(&pool, &last).await;
    run(
        &pool,
        "update log_cosignature set line = (select line from log_cosignature order by size limit 1)
                where size = (select max(size) from log_cosignature)",
    )
    .await;
    let bad = format!(
        "lane 0: checkpoint: the cosignature of `witness.example/1` under the checkpoint of size {} does not fit it",
        last.size
    );
    let behind = last.size - earlier.size;
    assert_eq!(found_under(&pool, &trust).await, (vec![bad.clone()], vec![behind]));
    assert_eq!(found_under(&pool, &nobody).await, (vec![bad.clone()], vec![]));
    assert_eq!(verify_with(&pool, &[vkey(&key, 0)]).await.unwrap().findings, [], "no key, no word");
    run(&pool, "delete from log_cosignature where size = (select min(size) from log_cosignature)")
        .await;
    assert_eq!(found_under(&pool, &trust).await, (vec![bad, NONE.to_owned()], vec![last.size]));

    // In the log's own name.
    run(&pool, "delete from log_cosignature").await;
    let own = vkey(&key, 0);
    let bytes = [&own.id().to_be_bytes()[..], &1_u64.to_be_bytes(), &[0; 64]].concat();
    let line = format!("— {} {}", own.name(), STANDARD.encode(bytes));
    keep_cosignature(&pool, &last, own.name(), 1, &line).await.unwrap();
    let (found, _) = found_under(&pool, &nobody).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("is none"), "{found:?}");

    // In the note itself, where no line is kept beside it.
    run(&pool, "delete from log_cosignature").await;
    let line = tlog::cosignature::cosign(&earlier.note.parse().unwrap(), &witness(), 1).unwrap();
    sqlx::query("update log_checkpoint set note = $1 where size = $2")
        .bind(format!("{}{line}\n", last.note))
        .bind(i64::try_from(last.size).unwrap())
        .execute(&pool)
        .await
        .unwrap();
    let (found, _) = found_under(&pool, &nobody).await;
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].ends_with("does not fit it"), "{found:?}");
}
