//! What processes have spent.

use std::time::Duration;

/// CPU time of this process.
pub fn own() -> Duration {
    of(std::process::id())
}

/// CPU time of a process.
pub fn of(pid: u32) -> Duration {
    times(pid, false)
}

/// CPU time of a process and of everything that it has started, ended ones included.
pub fn with_children(pid: u32) -> Duration {
    let all = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = all.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    let children =
        pids.filter(|one| fields(*one).is_some_and(|it| it.get(1) == Some(&pid.to_string())));
    children.map(of).sum::<Duration>() + times(pid, true)
}

fn fields(pid: u32) -> Option<Vec<String>> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_, after) = stat.rsplit_once(')')?;
    Some(after.split_whitespace().map(str::to_owned).collect())
}

/// proc(5): utime and stime are fields 14 and 15, those of ended children 16 and 17; ticks of 10 ms.
fn times(pid: u32, ended_children: bool) -> Duration {
    let fields = fields(pid).unwrap_or_default();
    let to = if ended_children { 15 } else { 13 };
    let ticks: u64 =
        fields.iter().take(to).skip(11).filter_map(|text| text.parse::<u64>().ok()).sum();
    Duration::from_millis(ticks * 10)
}
