//! A verification that is interrupted goes on where it was, and says in the end what a whole one says; on the state of another
//! log, of other keys, or a changed one it does not. What was edited before the point where it stopped it does not see, as its
//! help says.

use std::fs::OpenOptions;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use haetae::audit::{
    Audit, Ended, How, Progress, Report, State, Watch, verify, verify_watched, verify_with,
};
use haetae::clock::Clock;
use sqlx::PgPool;
use sqlx::postgres::PgPoolOptions;
use tlog::VerifierKey;

use super::lab::{Lab, ORIGIN, eventually};
use super::shown::database_url;
use crate::support::{Fresh, fresh_database};

/// A closed log of one lane: decisions one by one, half of them allowed and ended; 301 batches are five pages.
struct Written {
    fresh: Fresh,
    vkey: VerifierKey,
    dir: tempfile::TempDir,
}

impl Written {
    async fn new() -> Self {
        let fresh = fresh_database().await;
        let lab = Lab::start(&fresh.pool, 1).await;
        for turn in 0..300 {
            if turn % 2 == 0 {
                lab.deny().await.unwrap();
            } else {
                ended(&lab.audit, lab.allow().await.proof().id.clone());
            }
            if turn == 50 {
                published(&fresh.pool).await;
            }
        }
        lab.projected().await;
        let vkey = lab.key.vkey(ORIGIN, 0).unwrap().parse().unwrap();
        lab.stop().await;
        Self { fresh, vkey, dir: tempfile::tempdir().unwrap() }
    }

    fn pool(&self) -> &PgPool {
        &self.fresh.pool
    }

    fn path(&self) -> std::path::PathBuf {
        self.dir.path().join("verify.state")
    }

    /// Stops for good once so many records were looked at.
    async fn interrupted_at(&self, records: u64) {
        let watch: Watch = Arc::new(move |progress: Progress| {
            assert!(progress.records < records, "this is the interruption");
        });
        let state = self.state(false).unwrap();
        verify_watched(self.pool(), &[], None, Clock::system().unix_ns(), watch, Some(state))
            .await
            .unwrap_err();
        assert!(self.path().exists());
    }

    /// Patient: a process that another test starts has our locks from its fork until its exec.
    fn state(&self, from_start: bool) -> Result<State, String> {
        for _ in 0..50 {
            match State::open(&self.path(), &[], from_start) {
                Ok(state) => return Ok(state.every(Duration::ZERO)),
                Err(cause) if cause.to_string().contains(HELD) => {
                    std::thread::sleep(Duration::from_millis(20));
                }
                Err(cause) => return Err(cause.to_string()),
            }
        }
        Err(HELD.to_owned())
    }

    async fn goes_on(&self) -> Report {
        self.goes_on_at(self.pool()).await.unwrap()
    }

    async fn goes_on_at(&self, pool: &PgPool) -> Result<Report, String> {
        let verified = verify_watched(
            pool,
            &[],
            None,
            Clock::system().unix_ns(),
            Arc::new(|_| {}),
            Some(self.state(false)?),
        )
        .await;
        verified.map_err(|cause| cause.to_string())
    }

    async fn edit(&self, index: i64) {
        let edit = "update log_batch set leaves = overlay(leaves placing 'X'::bytea from position('kr-med'::bytea in leaves))
                    where first_index <= $1 and first_index + count > $1";
        let done = sqlx::query(edit).bind(index).execute(self.pool()).await.unwrap();
        assert_eq!(done.rows_affected(), 1);
    }
}

/// The first snapshot is silent for as long as the lanes are read; a writer's session may not be (5 s in the product).
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn takes_longer_than_a_session_may_be_silent() {
    let log = Written::new().await;
    let silence = [("idle_in_transaction_session_timeout", "100ms")];
    let options = (*log.pool().connect_options()).clone().options(silence);
    let pool = PgPoolOptions::new().connect_with(options).await.unwrap();
    let slow: Watch = Arc::new(|_| std::thread::sleep(Duration::from_millis(150)));
    let report =
        verify_watched(&pool, &[], None, Clock::system().unix_ns(), slow, None).await.unwrap();
    assert!(report.is_whole(), "{:?}", report.findings);
}

fn ended(audit: &Audit, id: Arc<str>) {
    audit.started(&id, "spiffe://kr-op.example/site/kr-seo-1");
    audit.ended(Ended {
        id,
        how: How::Forwarded,
        status: Some(200),
        bytes_out: 1,
        bytes_back: 1,
        duration_ms: 1,
        why: None,
        withdrawn: None,
    });
}

async fn published(pool: &PgPool) {
    let some = "select exists (select from log_checkpoint)";
    let is = async || sqlx::query_scalar(some).fetch_one(pool).await.unwrap();
    eventually("a checkpoint is published", is).await;
}

/// Everything but how often it was interrupted.
fn said(report: &Report) -> String {
    format!("{:?}", Report { before: 0, ..report.clone() })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_interrupted_run_goes_on_and_says_what_a_whole_one_says() {
    let log = Written::new().await;
    let whole = verify(log.pool()).await.unwrap();
    assert_eq!(whole.findings, []);
    // Twice on its way, and once when a kill left half a line.
    log.interrupted_at(100).await;
    log.interrupted_at(300).await;
    let file = OpenOptions::new().write(true).open(log.path()).unwrap();
    file.set_len(file.metadata().unwrap().len() - 10).unwrap();
    let resumed = log.goes_on().await;
    assert!(resumed.before > 0 && resumed.before < whole.records, "{resumed:?}");
    assert_eq!(said(&resumed), said(&whole));
    assert!(!log.path().exists(), "there is nothing to go on with");

    // And of a log in which much is wrong, before the interruption and after it.
    log.edit(400).await;
    for wrong in [
        "update row_decision set outcome = 'ALLOW' where index = (select min(index) from row_decision where outcome = 'DENY')",
        "delete from row_ended where index = (select max(index) from row_ended)",
        "update log_checkpoint set note = replace(note, 'log/0', 'log/9')",
    ] {
        sqlx::raw_sql(wrong).execute(log.pool()).await.unwrap();
    }
    let whole = verify(log.pool()).await.unwrap();
    assert!(whole.findings.len() >= 5, "{:?}", whole.findings);
    for records in [100, 200, 300, 500] {
        log.interrupted_at(records).await;
        let resumed = log.goes_on().await;
        // Past the edited record nothing is kept.
        assert!((100..400).contains(&resumed.before), "{records}: {}", resumed.before);
        assert_eq!(said(&resumed), said(&whole), "{records}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_edited_after_the_point_is_found_and_what_is_edited_before_it_only_from_the_start()
{
    let log = Written::new().await;
    // Of the last tile, which is not full, the tree is made anew: record 9 is in a full one.
    log.interrupted_at(300).await;
    log.edit(9).await;
    log.edit(580).await;
    let found = log.goes_on().await;
    let edited = |report: &Report| {
        let edited = report.findings.iter().filter(|found| found.what.code() == "edited");
        edited.map(|found| found.index.unwrap()).collect::<Vec<_>>()
    };
    assert!(matches!(*edited(&found), [after] if after > 560), "{:?}", edited(&found));

    log.interrupted_at(200).await;
    let again = log.state(true).unwrap();
    let from_start = verify_watched(
        log.pool(),
        &[],
        None,
        Clock::system().unix_ns(),
        Arc::new(|_| {}),
        Some(again),
    )
    .await
    .unwrap();
    let both = edited(&from_start);
    assert!(matches!(*both, [before, after] if before < 20 && after > 560), "{both:?}");
    assert_eq!(from_start.before, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_state_of_another_log_or_of_other_keys_is_refused() {
    let (log, other) = (Written::new().await, Written::new().await);
    log.interrupted_at(200).await;
    let refused = log.goes_on_at(other.pool()).await.unwrap_err();
    assert!(refused.contains("records of lane 0 are not those that were looked at"), "{refused}");
    assert!(refused.ends_with("`--from-start` begins anew"), "{refused}");

    sqlx::raw_sql("update log_head set origin = 'else.example/log/0'")
        .execute(other.pool())
        .await
        .unwrap();
    let refused = log.goes_on_at(other.pool()).await.unwrap_err();
    assert!(
        refused.contains("it is of `lab.example/log/0`, and lane 0 is `else.example/log/0`"),
        "{refused}"
    );
    sqlx::raw_sql("update log_head set origin = 'lab.example/log/0', size = 20")
        .execute(other.pool())
        .await
        .unwrap();
    let refused = log.goes_on_at(other.pool()).await.unwrap_err();
    assert!(refused.contains(" records then, and has 20"), "{refused}");
    sqlx::raw_sql("truncate log_head cascade").execute(other.pool()).await.unwrap();
    let refused = log.goes_on_at(other.pool()).await.unwrap_err();
    assert!(refused.contains("which is not in this database"), "{refused}");

    let keys = State::open(&log.path(), std::slice::from_ref(&log.vkey), false).err().unwrap();
    assert!(keys.to_string().contains("it was begun under other keys"), "{keys}");

    // The point is under a checkpoint that was signed: it must still be there.
    sqlx::raw_sql("delete from log_checkpoint").execute(log.pool()).await.unwrap();
    let refused = log.goes_on_at(log.pool()).await.unwrap_err();
    assert!(refused.contains("the signed checkpoint of lane 0 at"), "{refused}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_changed_state_is_refused_and_a_file_that_is_none_is_left_alone() {
    let log = Written::new().await;
    log.interrupted_at(200).await;
    let kept = std::fs::read(log.path()).unwrap();
    let lines: Vec<&[u8]> = kept.split_inclusive(|byte| *byte == b'\n').collect();
    assert!(lines.len() >= 3, "a first line and two parts");

    let mut edited = kept.clone();
    let at = lines[0].len() + lines[1].len() / 2;
    edited[at] = if edited[at] == b'A' { b'B' } else { b'A' };
    let without = [lines[0], lines[2]].concat();
    for wrong in [edited, without] {
        std::fs::write(log.path(), &wrong).unwrap();
        let refused = log.state(false).err().unwrap();
        assert!(
            refused.contains("its line 2 was changed, or a line before it was taken out"),
            "{refused}"
        );
        // Refused, and not touched.
        assert_eq!(std::fs::read(log.path()).unwrap(), wrong);
    }
    for none in ["my notes\n", "my notes", "{}\n"] {
        std::fs::write(log.path(), none).unwrap();
        for from_start in [false, true] {
            let refused = log.state(from_start).err().unwrap();
            assert!(refused.contains("it is no state of `haetae log verify`"), "{refused}");
        }
        assert_eq!(std::fs::read_to_string(log.path()).unwrap(), none);
    }
    std::fs::write(log.path(), &kept).unwrap();
    let held = log.state(false).unwrap();
    let refused = log.state(false).err().unwrap();
    assert!(refused.contains(HELD), "{refused}");
    drop(held);
    assert!(log.goes_on().await.is_whole());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_goes_on_and_says_so() {
    let log = Written::new().await;
    let trusted = [log.vkey.clone()];
    let whole = verify_with(log.pool(), &trusted).await.unwrap();
    let typed = |more: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
        command.args(["log", "verify", "--database", &database_url(log.pool()), "--state"]);
        let ran = command.arg(log.path()).args(more).output().unwrap();
        (
            ran.status.code(),
            String::from_utf8(ran.stdout).unwrap(),
            String::from_utf8(ran.stderr).unwrap(),
        )
    };
    log.interrupted_at(200).await;
    let (code, said, _) = typed(&[]);
    assert_eq!(code, Some(0), "{said}");
    assert!(said.starts_with(&format!("whole: {} records in 1 lanes", whole.records)), "{said}");
    assert!(said.contains("were looked at before an interruption, and not again"), "{said}");

    log.interrupted_at(200).await;
    let (code, _, refused) = typed(&["--vkey", &log.vkey.to_string()]);
    assert_eq!(code, Some(2), "nothing was found to differ");
    assert!(refused.contains("it was begun under other keys"), "{refused}");
    let (code, said, _) = typed(&["--vkey", &log.vkey.to_string(), "--from-start"]);
    assert!(code == Some(0) && !said.contains("before an interruption"), "{said}");
    assert!(!Path::new(&log.path()).exists());
}

const HELD: &str = "another verification writes it";
