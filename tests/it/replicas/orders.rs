//! An order in the middle of load on both processes: from its commit to the commit of its end neither commits an ALLOW, as
//! the log's own order says. Every fifth round the second process is killed while the order is entered.
//!
//! `HAETAE_ORDER_ROUNDS` says how many rounds (6 without it).

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use haetae::registry::Sort;
use haetae::registry::orders::store::{Brought, add, end};
use haetae::registry::tree::{Entry, parse_one};
use sqlx::PgPool;
use tokio::task::JoinSet;
use verdict::stamp::Stamp;

use super::timeline::Timeline;
use crate::support::pair::Pair;
use crate::support::stage::{CHAT, Caller, ORDERS, SEOUL, chat, eventually};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_an_order_stands_neither_of_two_processes_commits_an_allow() {
    let mut pair = Pair::start().await;
    let pool = pair.stage.pool().await;
    let timeline = Timeline::begin(&pool).await;
    let load = Load::start(&pair);
    load.goes_on(Told::Allowed).await;
    let rounds = rounds();
    for round in 0..rounds {
        tokio::time::sleep(Duration::from_millis(7 * (u64::from(round) % 10))).await;
        let order = order(round);
        let brought = brought(&pair);
        if is_killed(round) {
            let delay = Duration::from_micros(500 * u64::from(round % 8));
            let entered = add(&pool, &order, brought);
            let (entered, ()) = tokio::join!(entered, pair.kill_second_after(delay));
            assert!(entered.is_ok());
            pair.restart_second().await;
        } else {
            add(&pool, &order, brought).await.unwrap();
        }
        load.goes_on(Told::Refused).await;
        ended(&pool, &order.id, &pair).await;
        load.goes_on(Told::Allowed).await;
    }
    load.stop().await;
    // An act is a record within a second of it; a process that is told to stop leaves it to the next one.
    eventually("every act is a record", async || acts_that_wait(&pool).await == 0).await;
    pair.stop().await;
    timeline.judge(&pool, rounds, is_killed).await;
    let verified =
        pair.stage.world.program.run(&["log", "verify", "--config", "haetae.toml"]).await;
    assert!(verified.is_ok(), "{verified:?}");
}

fn order(round: u32) -> Entry {
    let text = format!(
        r#"id = "pipc-{round}"
authority = "PIPC"
legal_basis = "PIPA Art. 28-9"
kind = "suspend"
effective_from = "2026-01-01"
until = "never"
entered_by = ["kim", "lee"]
match = {{ org = "kr-retailer", regimes = ["KR.PIPA"] }}
"#
    );
    parse_one(Sort::Order, "order.toml", &text).unwrap()
}

fn brought(pair: &Pair) -> Brought<'static> {
    Brought { note: None, who: "kim", now: pair.stage.world.clock.unix_s() }
}

async fn ended(pool: &PgPool, id: &str, pair: &Pair) {
    let brought = brought(pair);
    let at = Stamp::at(brought.now).unwrap();
    end(pool, id, &at, "lee", brought).await.unwrap();
}

async fn acts_that_wait(pool: &PgPool) -> i64 {
    let count = "select count(*) from log_outbox where not written";
    sqlx::query_scalar(count).fetch_one(pool).await.unwrap()
}

/// Clients of both processes that go on whatever happens.
pub struct Load {
    over: Arc<AtomicBool>,
    /// For each process: how often it allowed, and refused.
    told: Arc<[[AtomicU32; 2]; 2]>,
    clients: JoinSet<()>,
}

#[derive(Clone, Copy)]
pub enum Told {
    Allowed,
    Refused,
}

impl Load {
    pub fn start(pair: &Pair) -> Self {
        let (over, told) = (Arc::new(AtomicBool::new(false)), Arc::default());
        let mut clients = JoinSet::new();
        for number in 0..2 * CLIENTS {
            let process = number % 2;
            let caller = pair.caller(process, "kr-retailer");
            clients.spawn(client(caller, process, Arc::clone(&told), Arc::clone(&over)));
        }
        Self { over, told, clients }
    }

    /// Each process has said this again, several times.
    pub async fn goes_on(&self, what: Told) {
        let now =
            || [0, 1].map(|process| self.told[process][what as usize].load(Ordering::Relaxed));
        let before = now();
        let more = async || now().iter().zip(before).all(|(now, before)| now - before >= AGAIN);
        eventually("both processes answer", more).await;
    }

    pub async fn stop(self) {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await;
    }
}

async fn client(
    caller: Caller,
    process: usize,
    told: Arc<[[AtomicU32; 2]; 2]>,
    over: Arc<AtomicBool>,
) {
    while !over.load(Ordering::Relaxed) {
        let body = chat().to_string();
        let answer = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
        let status = match answer {
            Ok(answer) => {
                let status = answer.status().as_u16();
                // It may be cut: the order reaches what is under way too.
                let _whole_or_cut = answer.bytes().await;
                status
            }
            // killed, or not yet back
            Err(_) => 0,
        };
        match status {
            200 => drop(told[process][0].fetch_add(1, Ordering::Relaxed)),
            403 => drop(told[process][1].fetch_add(1, Ordering::Relaxed)),
            // 503: the facts moved too often while it was judged
            0 | 502..=504 => tokio::time::sleep(Duration::from_millis(20)).await,
            other => panic!("{other}"),
        }
    }
}

/// Whether the second process is killed in this round.
const fn is_killed(round: u32) -> bool {
    round % KILL_EVERY == KILL_EVERY - 1
}

fn rounds() -> u32 {
    std::env::var("HAETAE_ORDER_ROUNDS")
        .map_or(USUAL, |given| given.parse().expect("HAETAE_ORDER_ROUNDS is a number"))
}

const USUAL: u32 = 6;
const KILL_EVERY: u32 = 5;
/// Of each process.
const CLIENTS: usize = 3;
/// More than a process has under way when the facts move.
pub const AGAIN: u32 = 5;
