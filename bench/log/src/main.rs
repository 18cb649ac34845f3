//! The log and the guard alone, without a gateway before them: what the log costs a commit, what lanes bring, how fast
//! `haetae log verify` is, and what a guard costs beside plain proxying.
//!
//!     bench-log [--into docs/bench.md]      everything, six to eight minutes; the tables go into the file
//!     bench-log lanes [SECONDS]             seconds for each cell (default 2)
//!     bench-log verify [RECORDS]            default 600000
//!     bench-log guard [ROUNDS]              default 7
//!
//! Whatever it starts (two private Postgres, a guard, a proxy, a service) ends with it, in whatever way it ends.

mod cpu;
mod draft;
mod guard;
mod lanes;
mod log;
mod plain;
mod private;
mod report;
mod verify;

pub(crate) use haetae::dial;

fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    // As many threads as the product has: one for each core.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(run(&words))
}

async fn run(words: &[&str]) -> anyhow::Result<()> {
    let before = report::load_average();
    let tables = match *words {
        ["serve", role, dir] => return guard::serve(role, dir.as_ref()).await,
        [] | ["--into", _] => {
            let lanes = lanes::run(2).await?;
            let verify = verify::run(600_000).await?;
            let guard = guard::run(7).await?;
            format!("{lanes}\n{verify}\n{guard}")
        }
        ["lanes"] => lanes::run(2).await?,
        ["lanes", seconds] => lanes::run(seconds.parse()?).await?,
        ["verify"] => verify::run(600_000).await?,
        ["verify", records] => verify::run(records.parse()?).await?,
        ["guard"] => guard::run(7).await?,
        ["guard", rounds] => guard::run(rounds.parse()?).await?,
        _ => anyhow::bail!(
            "bench-log [--into FILE] | lanes [SECONDS] | verify [RECORDS] | guard [ROUNDS]"
        ),
    };
    let section = report::section(&before, &tables);
    println!("{section}");
    if let ["--into", file] = *words {
        report::into(file.as_ref(), &section)?;
    }
    Ok(())
}
