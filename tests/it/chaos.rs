//! Kill -9 of the gateway, of Postgres and of both, at random instants under load. The judges are the sites' own lists of
//! what they saw: every request has a durable ALLOW that names that site and those bytes, every ALLOW has one end, the log
//! verifies, and every kill can be seen in it.
//!
//! `HAETAE_CHAOS_ROUNDS` says how many kills (50 without it, or as many as fit into [`USUAL_MAX`]), `HAETAE_CHAOS_SEED`
//! repeats the order and the instants of a run.

pub mod chance;
pub mod judge;
pub mod load;
pub mod record;

use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::support::stage::{Stage, eventually};
use chance::Chance;
use load::Load;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Victim {
    Gateway,
    Postgres,
    Both,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_at_a_site_without_its_record_however_often_everything_is_killed() {
    let (mut chance, rounds) = (Chance::seeded(), rounds());
    let mut stage = Stage::start().await;
    let mut load = Load::start(&stage, &mut chance);
    let mut told = Vec::new();
    let began = Instant::now();
    let mut kills = [0_usize; 3];
    for round in 0..rounds.unwrap_or(USUAL) {
        if rounds.is_none() && round >= FEWEST && began.elapsed() > USUAL_MAX {
            println!("chaos: stopped after {round} kills: this machine is slow");
            break;
        }
        let victim = *chance.pick(&[Victim::Gateway, Victim::Postgres, Victim::Both]);
        tokio::time::sleep(Duration::from_micros(chance.below(LOAD_US_MAX))).await;
        kill(&mut stage, victim, &mut chance).await;
        restart(&mut stage, victim).await;
        serves(&stage).await;
        kills[victim as usize] += 1;
        if round % 50 == 49 {
            println!("chaos: {} kills in {} s", round + 1, began.elapsed().as_secs());
            // With tokens of now: an hour is soon over on a slow machine.
            told.extend(load.stop().await);
            load = Load::start(&stage, &mut chance);
        }
    }
    let restarted = Instant::now();
    told.extend(load.stop().await);
    println!(
        "chaos: {kills:?} kills of gateway, Postgres and both in {} s",
        began.elapsed().as_secs()
    );
    let pool = stage.pool().await;
    judge::all_ends(&pool, restarted).await;
    drop(pool);
    stage.world.gateway.terminate();
    assert!(stage.world.gateway.ended().await.unwrap().success());
    judge::all(&stage, &told, kills.iter().sum()).await;
}

async fn kill(stage: &mut Stage, victim: Victim, chance: &mut Chance) {
    let world = &mut stage.world;
    let gateway_first = chance.below(2) == 0;
    if victim == Victim::Gateway || (victim == Victim::Both && gateway_first) {
        world.gateway.kill9().unwrap();
    }
    if victim != Victim::Gateway {
        // Half of the time its children live on for a moment and finish what they are at; else all die at once.
        let children =
            if chance.below(2) == 0 { children(world.cluster.pid().unwrap()) } else { Vec::new() };
        world.cluster.kill9().unwrap();
        for child in children {
            let _gone_already = kill_process(child, Signal::KILL);
        }
    }
    if victim == Victim::Both && !gateway_first {
        tokio::time::sleep(Duration::from_micros(chance.below(BETWEEN_US_MAX))).await;
        world.gateway.kill9().unwrap();
    }
}

async fn restart(stage: &mut Stage, victim: Victim) {
    if victim != Victim::Gateway {
        stage.world.cluster.restart().await.unwrap();
    }
    if victim != Victim::Postgres {
        stage.world.restart_gateway().await.unwrap();
    }
}

/// A request that was begun after the restart is allowed.
pub async fn serves(stage: &Stage) {
    let caller = stage.caller("kr-retailer");
    eventually("the gateway serves again", async || load::probe(&caller).await == Some(200)).await;
}

/// Processes whose parent this is: `/proc/<pid>/stat`, the second field after the command's name, proc(5).
fn children(of: Pid) -> Vec<Pid> {
    let parent = of.as_raw_nonzero().to_string();
    let processes = std::fs::read_dir("/proc").unwrap().flatten();
    processes
        .filter(|entry| {
            let stat = std::fs::read_to_string(entry.path().join("stat")).unwrap_or_default();
            let after = stat.rsplit_once(')').map_or("", |(_, after)| after);
            after.split_whitespace().nth(1) == Some(&parent)
        })
        .filter_map(|entry| Pid::from_raw(entry.file_name().to_str()?.parse().ok()?))
        .collect()
}

fn rounds() -> Option<usize> {
    let given = std::env::var("HAETAE_CHAOS_ROUNDS").ok()?;
    Some(given.parse().expect("HAETAE_CHAOS_ROUNDS is a number"))
}

/// Kills when nothing else is said, and the time they may take on a slow machine.
const USUAL: usize = 50;
const USUAL_MAX: Duration = Duration::from_mins(4);
const FEWEST: usize = 10;
/// Longer than a commit, a projection and a publication of checkpoints have between them.
const LOAD_US_MAX: u64 = 300_000;
const BETWEEN_US_MAX: u64 = 20_000;
