//! Logins of a test's database, at a psql prompt and as pools.

use std::path::PathBuf;
use std::process::{Command, Output};

use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{AssertSqlSafe, PgPool};

/// A login at a psql prompt.
pub struct Psql {
    pub role: String,
    database: String,
    socket: PathBuf,
}

impl Psql {
    /// Roles belong to the whole cluster: each test's are named after its database.
    pub async fn login(pool: &PgPool, what: &str) -> Self {
        let options: &PgConnectOptions = &pool.connect_options();
        let database = options.get_database().unwrap().to_owned();
        let role = format!("{what}_{database}");
        let create = AssertSqlSafe(format!("create role {role} login"));
        sqlx::query(create).execute(pool).await.unwrap();
        Self { role, database, socket: options.get_socket().unwrap().clone() }
    }

    /// The same, as a member of a group.
    pub async fn member(pool: &PgPool, what: &str, group: &str) -> Self {
        let psql = Self::login(pool, what).await;
        let grant = AssertSqlSafe(format!("grant {group} to {}", psql.role));
        sqlx::query(grant).execute(pool).await.unwrap();
        psql
    }

    /// The same login as this project's commands use it.
    pub async fn pool(&self) -> PgPool {
        let options = PgConnectOptions::new().socket(&self.socket).port(5432);
        let options = options.username(&self.role).database(&self.database);
        PgPoolOptions::new().max_connections(2).connect_with(options).await.unwrap()
    }

    /// What it prints, or what the server refuses.
    pub fn ask(&self, statement: &str) -> Result<String, String> {
        let output = self.run(statement);
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().trim().to_owned();
        if output.status.success() { Ok(text(output.stdout)) } else { Err(text(output.stderr)) }
    }

    pub fn run(&self, statement: &str) -> Output {
        Command::new("psql")
            .args(["-X", "-A", "-t", "-q", "-v", "ON_ERROR_STOP=1", "-p", "5432", "-h"])
            .arg(&self.socket)
            .args(["-U", &self.role, "-d", &self.database, "-c", statement])
            .output()
            .unwrap()
    }

    pub fn count(&self, from: &str) -> i64 {
        self.ask(&format!("select count(*) from {from}")).unwrap().parse().unwrap()
    }
}
