//! Two gateway processes on one database, each with a lane of its own.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use haetae::demo::gateway::{Gateway, Program};

use super::stage::{Caller, Stage, eventually, plain_http, port};

/// A stage whose gateway holds one lane, and a second process that holds the other.
pub struct Pair {
    pub stage: Stage,
    second: Second,
}

struct Second {
    gateway: Gateway,
    program: Program,
    data: SocketAddr,
    console: SocketAddr,
}

impl Pair {
    pub async fn start() -> Self {
        Self::with("").await
    }

    /// The same, with further tables of the configuration.
    pub async fn with(tables: &str) -> Self {
        Self::of("lanes_held_max = 1\n", tables, None).await
    }

    /// The same, with these keys of `audit`, and sites that pause so long between two tokens.
    pub async fn of(audit: &str, tables: &str, token_ms: Option<u64>) -> Self {
        let mut stage = Stage::with(token_ms).await;
        let world = &mut stage.world;
        world.gateway.terminate();
        assert!(world.gateway.ended().await.unwrap().success());
        let config = world.dir.join("haetae.toml");
        let text = std::fs::read_to_string(&config).unwrap();
        let text = text.replace("[audit]\n", &format!("[audit]\n{audit}")) + tables;
        assert!(text.contains("lanes_held_max"));
        std::fs::write(&config, &text).unwrap();
        world.restart_gateway().await.unwrap();
        // It is ready with one lane: were the second there by then, it could take what this one is meant to hold.
        let held_max = audit.split("lanes_held_max = ").nth(1).and_then(|rest| rest.lines().next());
        let held = format!("haetae_audit_lanes_held {}", held_max.unwrap());
        let console = world.console;
        eventually("the first process holds its lanes", async || {
            metrics(console).await.lines().any(|line| line == held)
        })
        .await;

        let free = || SocketAddr::from(([127, 0, 0, 1], port()));
        let (data, console) = (free(), free());
        let dir = world.dir.join("second");
        std::fs::create_dir(&dir).unwrap();
        for key in ["log.key", "privacy.key"] {
            std::fs::copy(world.dir.join(key), dir.join(key)).unwrap();
        }
        let port = |address: SocketAddr| format!(":{}\"", address.port());
        let text = text.replace(&port(world.data), &port(data));
        let text = text.replace(&port(world.console), &port(console));
        let text = text.replace(&port(world.tiles), &port(free()));
        std::fs::write(dir.join("haetae.toml"), text).unwrap();
        let program = Program { path: PathBuf::from(env!("CARGO_BIN_EXE_haetae")), dir };
        let gateway = Gateway::start(&program, console, &world.plain).await.unwrap();
        Self { stage, second: Second { gateway, program, data, console } }
    }

    /// A caller of the first process (0) or the second (1).
    pub fn caller(&self, process: usize, org: &str) -> Caller {
        let caller = self.stage.caller(org);
        if process == 0 { caller } else { caller.at(self.second.data) }
    }

    /// The same caller of the second process.
    pub fn second(&self, caller: Caller) -> Caller {
        caller.at(self.second.data)
    }

    /// Where each process says how it stands.
    pub const fn consoles(&self) -> [SocketAddr; 2] {
        [self.stage.world.console, self.second.console]
    }

    /// What each process counts.
    pub async fn metrics(&self) -> [String; 2] {
        let [first, second] = self.consoles();
        [metrics(first).await, metrics(second).await]
    }

    /// SIGKILL for the second process.
    pub fn kill_second(&mut self) {
        self.second.gateway.kill9().unwrap();
    }

    pub async fn kill_second_after(&mut self, delay: Duration) {
        tokio::time::sleep(delay).await;
        self.kill_second();
    }

    pub async fn restart_second(&mut self) {
        let Second { program, console, .. } = &self.second;
        let started = Gateway::start(program, *console, &self.stage.world.plain).await;
        self.second.gateway = started.unwrap();
    }

    /// Both drain and end, so that the log is closed.
    pub async fn stop(&mut self) {
        for gateway in [&mut self.stage.world.gateway, &mut self.second.gateway] {
            gateway.terminate();
        }
        for gateway in [&mut self.stage.world.gateway, &mut self.second.gateway] {
            assert!(gateway.ended().await.unwrap().success());
        }
    }
}

/// What the process behind this console counts.
async fn metrics(console: SocketAddr) -> String {
    let answer = plain_http().get(format!("http://{console}/metrics")).send().await;
    answer.unwrap().text().await.unwrap()
}
