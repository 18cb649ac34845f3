//! `haetae log verify --state`, really killed while it reads several lanes: the next run goes on where each lane stood, and says
//! what one says that was never killed.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use haetae::audit::verify_with;
use rustix::process::{Pid, Signal, kill_process};
use sqlx::PgPool;
use tokio::time::sleep;

use super::lab::{Lab, ORIGIN};
use super::shown::database_url;
use crate::support::fresh_database;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_that_is_killed_in_mid_run_is_gone_on_with_in_every_lane() {
    let fresh = fresh_database().await;
    let lab = Lab::start(&fresh.pool, LANES).await;
    filled(&lab).await;
    lab.projected().await;
    let vkeys = [0, 1].map(|lane| lab.key.vkey(ORIGIN, lane).unwrap());
    let pool = lab.stop().await;
    let trusted = vkeys.each_ref().map(|vkey| vkey.parse().unwrap());
    let whole = verify_with(&pool, &trusted).await.unwrap();
    assert!(whole.is_whole(), "{:?}", whole.findings);

    let dir = tempfile::tempdir().unwrap();
    let state = dir.path().join("verify.state");
    let verify = Verify { pool: &pool, state: &state, vkeys: &vkeys };
    let kept = verify.interrupted().await;

    let ran = verify.command().output().unwrap();
    let said = String::from_utf8(ran.stdout).unwrap();
    assert_eq!(ran.status.code(), Some(0), "{said}");
    assert!(said.starts_with(&format!("whole: {} records in 2 lanes", whole.records)), "{said}");
    let looked_at =
        format!("{} of the records were looked at before an interruption", kept.records());
    assert!(said.contains(&looked_at), "{looked_at}: {said}");
    assert!(!state.exists(), "there is nothing to go on with");
}

/// Enough batches in each lane for several pages: clients that do not wait for each other fill both.
async fn filled(lab: &Lab) {
    let client = async || {
        for _ in 0..DENIED_BY_EACH {
            lab.deny().await.unwrap();
        }
    };
    tokio::join!(client(), client(), client(), client(), client(), client());
}

/// The command, as it is typed.
struct Verify<'v> {
    pool: &'v PgPool,
    state: &'v Path,
    vkeys: &'v [String; 2],
}

impl Verify<'_> {
    fn command(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_haetae"));
        command.args(["log", "verify", "--database", &database_url(self.pool), "--state"]);
        command.arg(self.state);
        for vkey in self.vkeys {
            command.args(["--vkey", vkey]);
        }
        command
    }

    /// Ended as by Ctrl-C, and then as by a kernel that has no memory; gives what is in the state. On a machine that lets it run on
    /// for too long it comes to its end, and is begun anew.
    async fn interrupted(&self) -> Kept {
        for _ in 0..10 {
            let Some(before) = self.ended_by(Signal::INT, 1).await else { continue };
            assert_eq!(before.lanes(), vec![0, 1], "{before:?}");
            let Some(after) = self.ended_by(Signal::KILL, before.parts.len() + 1).await else {
                continue;
            };
            assert!(after.parts.starts_with(&before.parts), "what was looked at stays: {after:?}");
            return after;
        }
        panic!("it always came to its end before it was ended");
    }

    /// Runs it, on a machine that gives it a moment of every second, until the state holds so many parts and one of each lane;
    /// then ends it. Gives what is in the state; `None` when the run was over before.
    async fn ended_by(&self, signal: Signal, parts: usize) -> Option<Kept> {
        let child = self.command().stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        let mut run = Run(child);
        loop {
            sleep(MOMENT).await;
            run.signal(Signal::STOP);
            let kept = Kept::read(self.state);
            if kept.parts.len() >= parts && kept.lanes().len() == usize::from(LANES) {
                run.signal(signal);
                run.signal(Signal::CONT);
                let ended = run.0.wait().unwrap();
                // It hears Ctrl-C, and says how to go on.
                let code = (signal == Signal::INT).then_some(3);
                return (ended.code() == code).then(|| Kept::read(self.state));
            }
            sleep(LONGER_THAN_BETWEEN_TWO_PARTS).await;
            run.signal(Signal::CONT);
            if let Some(ended) = run.0.try_wait().unwrap() {
                assert!(ended.success(), "{ended}");
                return None;
            }
        }
    }
}

/// Its process; killed when the test fails.
struct Run(Child);

impl Run {
    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.0), signal).unwrap();
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ended_already = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Lane and records of each whole part in the state's file.
#[derive(Debug)]
struct Kept {
    parts: Vec<(u16, u64)>,
}

impl Kept {
    fn read(state: &Path) -> Self {
        let text = std::fs::read_to_string(state).unwrap_or_default();
        let whole = text.split_inclusive('\n').filter(|line| line.ends_with('\n')).skip(1);
        let part = |line: &str| {
            let (_digest, json) = line.split_once(' ').unwrap();
            let part: serde_json::Value = serde_json::from_str(json).unwrap();
            let (lane, next) = (&part["at"]["lane"], &part["at"]["next"]);
            (u16::try_from(lane.as_u64().unwrap()).unwrap(), next.as_u64().unwrap())
        };
        Self { parts: whole.map(part).collect() }
    }

    fn lanes(&self) -> Vec<u16> {
        let mut lanes: Vec<u16> = self.parts.iter().map(|(lane, _)| *lane).collect();
        lanes.sort_unstable();
        lanes.dedup();
        lanes
    }

    /// Where each lane stood last, together.
    fn records(&self) -> u64 {
        let last = |lane| self.parts.iter().rev().find(|part| part.0 == lane).unwrap().1;
        self.lanes().into_iter().map(last).sum()
    }
}

const LANES: u16 = 2;
/// Six times so many are some 2,000 batches, and with up to 128 batches a page some pages in each lane.
const DENIED_BY_EACH: u32 = 800;
const MOMENT: Duration = Duration::from_millis(10);
/// What was looked at is written once a second.
const LONGER_THAN_BETWEEN_TWO_PARTS: Duration = Duration::from_millis(1_050);
