//! Clients that go on whatever happens: allowed and refused requests, whole answers and streams, some left in the middle.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use tokio::task::JoinSet;

use super::chance::Chance;
use crate::support::stage::{CHAT, Caller, ORDERS, SEOUL, Stage, VIRGINIA, chat, number};

/// What a client was told about one request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    pub status: u16,
    pub decision: Option<String>,
}

pub struct Load {
    over: Arc<AtomicBool>,
    clients: JoinSet<Vec<Told>>,
}

impl Load {
    pub fn start(stage: &Stage, chance: &mut Chance) -> Self {
        let over = Arc::new(AtomicBool::new(false));
        let mut clients = JoinSet::new();
        for _ in 0..CLIENTS {
            let caller = stage.caller("kr-retailer");
            clients.spawn(client(caller, chance.branch(), Arc::clone(&over)));
        }
        Self { over, clients }
    }

    /// Everything that was told to anybody.
    pub async fn stop(self) -> Vec<Told> {
        self.over.store(true, Ordering::Relaxed);
        self.clients.join_all().await.into_iter().flatten().collect()
    }
}

/// One plain request; its status if there was an answer.
pub async fn probe(caller: &Caller) -> Option<u16> {
    let body = chat().to_string();
    let answer = caller.try_post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await.ok()?;
    Some(answer.status().as_u16())
}

async fn client(caller: Caller, mut chance: Chance, over: Arc<AtomicBool>) -> Vec<Told> {
    let mut told = Vec::new();
    while !over.load(Ordering::Relaxed) {
        match ask(&caller, &mut chance).await {
            Some(answer) => told.push(answer),
            // it is being killed or not yet back
            None => tokio::time::sleep(Duration::from_millis(20)).await,
        }
        tokio::time::sleep(Duration::from_millis(chance.below(PAUSE_MS_MAX))).await;
    }
    told
}

async fn ask(caller: &Caller, chance: &mut Chance) -> Option<Told> {
    let (path, site, body, leaves) = match chance.below(10) {
        0..5 => (CHAT, SEOUL, chat(), false),
        5 => ("/v1/embeddings", SEOUL, embeddings(), false),
        6 | 7 => (CHAT, VIRGINIA, chat(), false),
        kind => {
            let mut body = chat();
            body["stream"] = true.into();
            (CHAT, SEOUL, body, kind == 9)
        }
    };
    let body = body.to_string();
    let mut answer = caller.try_post(path, &[ORDERS, site], body.as_bytes()).await.ok()?;
    let status = answer.status().as_u16();
    let decision = answer.headers().get("haetae-decision");
    let decision = decision.map(|id| id.to_str().unwrap().to_owned());
    if leaves {
        let _first = answer.chunk().await;
    } else {
        let _whole_or_cut = answer.bytes().await;
    }
    Some(Told { status, decision })
}

fn embeddings() -> serde_json::Value {
    json!({ "model": "llama-3.3-70b", "input": [format!("kettle {}", number())] })
}

const CLIENTS: usize = 6;
const PAUSE_MS_MAX: u64 = 20;
