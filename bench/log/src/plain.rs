//! The same group commit of plain rows: no leaf, no tree, no fence, no signature, no receipt. What the log is held against.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use sqlx::{Connection as _, PgConnection, PgPool};
use tokio::sync::{mpsc, oneshot};
use tokio_util::task::TaskTracker;

#[derive(Clone)]
pub struct Plain {
    waiting: mpsc::Sender<Record>,
    commits: Arc<AtomicU64>,
}

struct Record {
    trace: String,
    body: Vec<u8>,
    done: oneshot::Sender<()>,
}

impl Plain {
    /// One writer: it takes all that waits, up to as many as a commit of the log has, and commits them as rows in one statement.
    pub async fn start(pool: &PgPool) -> anyhow::Result<Self> {
        sqlx::raw_sql(CREATE).execute(pool).await?;
        let connection = PgConnection::connect_with(&pool.connect_options()).await?;
        let (waiting, receiver) = mpsc::channel(8_192);
        let commits = Arc::new(AtomicU64::new(0));
        TaskTracker::new().spawn(write(connection, receiver, Arc::clone(&commits)));
        Ok(Self { waiting, commits })
    }

    pub async fn record(&self) {
        let (done, answer) = oneshot::channel();
        let trace = "0af7651916cd43dd8448eb211c80319c".to_owned();
        let record = Record { trace, body: vec![0xab; 32], done };
        self.waiting.send(record).await.unwrap();
        answer.await.unwrap();
    }

    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }
}

async fn write(
    mut connection: PgConnection,
    mut waiting: mpsc::Receiver<Record>,
    commits: Arc<AtomicU64>,
) {
    let mut batch = Vec::new();
    while waiting.recv_many(&mut batch, 1).await > 0 {
        // As the product's lanes do: who is ready comes in first.
        tokio::task::yield_now().await;
        while batch.len() < RECORDS_MAX
            && let Ok(record) = waiting.try_recv()
        {
            batch.push(record);
        }
        let (mut traces, mut bodies, mut answers) = (Vec::new(), Vec::new(), Vec::new());
        for Record { trace, body, done } in batch.drain(..) {
            traces.push(trace);
            bodies.push(body);
            answers.push(done);
        }
        sqlx::query(INSERT).bind(traces).bind(bodies).execute(&mut connection).await.unwrap();
        commits.fetch_add(1, Ordering::Relaxed);
        for done in answers {
            let _nobody_waits = done.send(());
        }
    }
}

/// The columns of the product's `row_decision`, and what else a record says of one request; indexed by id and by time.
const CREATE: &str = "
    create table plain (id uuid primary key default gen_random_uuid(), at timestamptz not null default now(), org text, actor bytea,
        outcome text, reason text, rule text, site text, service text, operation text, issuer text, facts bytea, detail bytea,
        bundle bytea, trace text, body bytea);
    create index on plain (at)";
const INSERT: &str = "
    insert into plain (org, actor, outcome, reason, rule, service, operation, issuer, facts, detail, bundle, trace, body)
    select 'kr-retailer', sha256('a'), 'DENY', 'DENIED_BY_RULE', 'R1', 'assistant', 'chat.completions',
           'https://login.kr-retailer.example/realms/main', sha256('f'), sha256('d'), sha256('b'), trace, body
    from unnest($1::text[], $2::bytea[]) as t (trace, body)";
/// As `audit/queue.rs` has it.
const RECORDS_MAX: usize = 1_024;
