//! Closed loops on a durable database: plain rows, and the log with 1, 2 and 4 lanes, in interleaved rounds.

use std::time::{Duration, Instant};

use haetae::audit::{Audit, Key};
use sqlx::PgPool;
use tokio::task::JoinSet;

use crate::draft::draft;
use crate::log::{Log, projected};
use crate::plain::Plain;
use crate::private::Private;
use crate::report::{self, median};

/// One thing that is measured, and what it gave in each round.
struct System {
    name: &'static str,
    what: What,
}

enum What {
    Plain(Plain),
    /// Of several processes each has its own clients.
    Log {
        logs: Vec<Log>,
        pool: PgPool,
    },
}

#[derive(Clone, Copy, Default)]
struct Cell {
    records: f64,
    commits: f64,
    p50: f64,
    p99: f64,
    cpu_us: f64,
}

/// `seconds` for each cell. Gives the table.
pub async fn run(seconds: u64) -> anyhow::Result<String> {
    let private = Private::start("lanes", true).await?;
    let span = Duration::from_secs(seconds);
    let key = Key::generate()?;
    let mut systems = vec![System {
        name: "plain rows",
        what: What::Plain(Plain::start(&private.database("plain").await?).await?),
    }];
    for (name, lanes, processes) in [
        ("log, 1 lane", 1, 1),
        ("log, 2 lanes", 2, 1),
        ("log, 4 lanes", 4, 1),
        ("log, 4 lanes of 4 gateways", 4, 4),
    ] {
        let pool = private.database(&format!("log_{lanes}_{processes}")).await?;
        let mut logs = Vec::new();
        for _ in 0..processes {
            logs.push(Log::start(&pool, &key, lanes, lanes / processes).await?);
        }
        systems.push(System { name, what: What::Log { logs, pool } });
    }
    let mut table = Vec::new();
    for clients in CLIENTS {
        let mut rounds = vec![Vec::new(); systems.len()];
        for round in 0..=ROUNDS {
            for (system, rounds) in systems.iter().zip(&mut rounds) {
                let cell = system.measure(&private, clients, span).await?;
                eprintln!(
                    "{clients:4} clients, round {round}, {:26} {:7.0} records/s",
                    system.name, cell.records
                );
                // The first round warms up.
                rounds.extend((round > 0).then_some(cell));
            }
        }
        let of = |rounds: &Vec<Cell>| Cell::median(rounds);
        table.push((clients, rounds.iter().map(of).collect::<Vec<_>>()));
    }
    let text = render(&systems, &table, seconds);
    for system in systems {
        system.stop().await;
    }
    Ok(text)
}

impl System {
    async fn measure(
        &self,
        private: &Private,
        clients: usize,
        span: Duration,
    ) -> anyhow::Result<Cell> {
        let commits = self.commits().await?;
        let (own, server) = (crate::cpu::own(), private.cpu());
        let (times, wall) = match &self.what {
            What::Plain(plain) => {
                load(clients, span, |_| {
                    let plain = plain.clone();
                    move || {
                        let plain = plain.clone();
                        async move { plain.record().await }
                    }
                })
                .await
            }
            What::Log { logs, .. } => {
                load(clients, span, |client| {
                    let audit: Audit = logs[client % logs.len()].audit.clone();
                    move || {
                        let audit = audit.clone();
                        async move { drop(audit.record(draft(false)).await.unwrap()) }
                    }
                })
                .await
            }
        };
        let commits = self.commits().await? - commits;
        // The rows that follow the log are part of what it costs, and must not disturb what is measured next.
        if let What::Log { pool, .. } = &self.what {
            projected(pool).await?;
        }
        let spent = (crate::cpu::own() - own) + (private.cpu() - server);
        Ok(Cell::of(times, wall, commits, spent))
    }

    async fn commits(&self) -> anyhow::Result<u64> {
        match &self.what {
            What::Plain(plain) => Ok(plain.commits()),
            What::Log { pool, .. } => {
                let count: i64 =
                    sqlx::query_scalar("select count(*) from log_batch").fetch_one(pool).await?;
                Ok(count.unsigned_abs())
            }
        }
    }

    async fn stop(self) {
        let What::Log { logs, .. } = self.what else { return };
        for log in logs {
            log.stop().await;
        }
    }
}

/// So many loops, each waiting for its own record; the time of each record in milliseconds, and of all in seconds.
async fn load<L, F, W>(clients: usize, span: Duration, each: L) -> (Vec<f64>, f64)
where
    L: Fn(usize) -> F,
    F: Fn() -> W + Send + 'static,
    W: Future<Output = ()> + Send,
{
    let began = Instant::now();
    let mut loops = JoinSet::new();
    for client in 0..clients {
        let record = each(client);
        loops.spawn(async move {
            let mut times = Vec::new();
            while began.elapsed() < span {
                let began = Instant::now();
                record().await;
                times.push(began.elapsed().as_secs_f64() * 1e3);
            }
            times
        });
    }
    let times = loops.join_all().await.concat();
    (times, began.elapsed().as_secs_f64())
}

impl Cell {
    fn of(mut times: Vec<f64>, wall: f64, commits: u64, spent: Duration) -> Self {
        times.sort_unstable_by(f64::total_cmp);
        let at = |part: usize| times.get(times.len() * part / 100).copied().unwrap_or_default();
        let records = times.len() as f64;
        Self {
            records: records / wall,
            commits: commits as f64 / wall,
            p50: at(50),
            p99: at(99),
            cpu_us: spent.as_secs_f64() * 1e6 / records,
        }
    }

    fn median(rounds: &[Self]) -> Self {
        let of = |field: fn(&Self) -> f64| median(rounds.iter().map(field).collect());
        Self {
            records: of(|it| it.records),
            commits: of(|it| it.commits),
            p50: of(|it| it.p50),
            p99: of(|it| it.p99),
            cpu_us: of(|it| it.cpu_us),
        }
    }
}

fn render(systems: &[System], table: &[(usize, Vec<Cell>)], seconds: u64) -> String {
    let mut text = format!(
        "**Commits.** {ROUNDS} interleaved rounds of {seconds} s a cell, medians. CPU is that of the loops, the log's writers and Postgres \
         together, rows that follow the log included.\n\n\
         | clients | system | records/s | commits/s | p50 ms | p99 ms | CPU us/record | p50, plain rows = 1 | commits/s, 1 lane = 1 |\n\
         |---:|---|---:|---:|---:|---:|---:|---:|---:|\n"
    );
    for (clients, cells) in table {
        let (plain, one) = (cells[0], cells[1]);
        for (system, cell) in systems.iter().zip(cells) {
            text += &format!(
                "| {clients} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {:.2} | {:.2} |\n",
                system.name,
                cell.records,
                cell.commits,
                cell.p50,
                cell.p99,
                cell.cpu_us,
                cell.p50 / plain.p50,
                cell.commits / one.commits,
            );
        }
    }
    let best = |system: usize, field: fn(&Cell) -> f64, over: usize| {
        let ratios = table.iter().map(|(_, cells)| field(&cells[system]) / field(&cells[over]));
        ratios.fold(0.0, f64::max)
    };
    let worst = best(2, |it| it.p50, 0);
    text += &format!(
        "\nPromised: p50 of the log at most 1.2 of plain rows: the worst with 2 lanes is {worst:.2}{}. Lanes 1 to 4 scale commits at least \
         2 times: {:.2} with four gateways{}, {:.2} in one process.\n",
        report::met(worst <= 1.2),
        best(4, |it| it.commits, 1),
        report::met(best(4, |it| it.commits, 1) >= 2.0),
        best(3, |it| it.commits, 1),
    );
    text
}

const CLIENTS: [usize; 4] = [1, 16, 64, 256];
const ROUNDS: usize = 3;
