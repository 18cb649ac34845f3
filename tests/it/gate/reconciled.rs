//! `haetae log reconcile` beside a gateway that is busy: what is under way is no mismatch.

use std::time::Duration;

use tokio::task::JoinSet;

use crate::support::stage::{CHAT, Caller, ORDERS, SEOUL, Stage, chat};

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_under_way_is_no_mismatch() {
    let stage = Stage::start().await;
    let mut asking = JoinSet::new();
    for _ in 0..4 {
        asking.spawn(ask_on(stage.caller("kr-retailer")));
    }
    for _ in 0..8 {
        tokio::time::sleep(Duration::from_millis(300)).await;
        let words = [
            "log",
            "reconcile",
            "--config",
            "haetae.toml",
            "--until",
            "2100-01-01T00:00:00Z",
            "guard-kr-seo-1.jsonl",
        ];
        let mut command = stage.world.program.command(&words);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap()).await.unwrap();
        let said = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        assert!(output.status.success() && said.contains("whoever was sent was let in"), "{said}");
    }
    assert!(asking.try_join_next().is_none(), "they go on asking");
    asking.shutdown().await;
}

async fn ask_on(caller: Caller) {
    let body = chat().to_string();
    loop {
        let answer = caller.post(CHAT, &[ORDERS, SEOUL], body.as_bytes()).await;
        assert_eq!(answer.status, 200, "{}", answer.text());
    }
}
