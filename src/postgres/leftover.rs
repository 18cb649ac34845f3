//! Servers that outlived the process that started them, and the small watcher that keeps that from happening.

use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use tokio::time::{Instant, sleep};

use super::{PostgresError, place::Place};

/// Stops a server that still runs on this directory. We hold the directory's lock, so its owner is dead.
pub(super) async fn stop(place: &Place) -> Result<(), PostgresError> {
    let Some(pid) = running(place) else { return Ok(()) };
    tracing::warn!(pid = pid.as_raw_nonzero(), "stopping a Postgres that an earlier run left");
    thaw(pid);
    let start = Instant::now();
    // If we stop here, the server stops alone or is found again by the next start.
    let _gone_already = kill_process(pid, Signal::INT);
    let mut asked_twice = false;
    while running(place).is_some() {
        if start.elapsed() > LEFTOVER_WAIT_MAX {
            return Err(PostgresError::Leftover {
                pid: pid.as_raw_nonzero().get(),
                seconds: LEFTOVER_WAIT_MAX.as_secs(),
            });
        }
        if start.elapsed() > LEFTOVER_WAIT_MAX / 2 && !asked_twice {
            let _gone_already = kill_process(pid, Signal::QUIT);
            asked_twice = true;
        }
        sleep(POLL).await;
    }
    Ok(())
}

/// The process of `postmaster.pid`, if it lives and really is a server of this directory: ids are used again.
fn running(place: &Place) -> Option<Pid> {
    let note = std::fs::read_to_string(place.pid_file()).ok()?;
    let pid = Pid::from_raw(note.lines().next()?.trim().parse().ok()?)?;
    test_kill_process(pid).ok()?;
    command_line(pid).contains(&*place.data().to_string_lossy()).then_some(pid)
}

fn command_line(pid: Pid) -> String {
    let number = pid.as_raw_nonzero().to_string();
    if let Ok(bytes) = std::fs::read(format!("/proc/{number}/cmdline")) {
        return String::from_utf8_lossy(&bytes).into_owned();
    }
    let listed = Command::new("ps").args(["-o", "command=", "-p", &number]).output();
    listed.map_or_else(|_| String::new(), |out| String::from_utf8_lossy(&out.stdout).into_owned())
}

/// The server's own children: each has its own session, so a signal to a group does not reach them.
pub(super) fn children(pid: Pid) -> Vec<Pid> {
    let text = processes_from_proc().unwrap_or_else(processes_from_ps);
    let parent = pid.as_raw_nonzero().to_string();
    text.lines()
        .filter_map(|line| line.split_once(' '))
        .filter(|(_, of)| of.trim() == parent)
        .filter_map(|(child, _)| Pid::from_raw(child.trim().parse().ok()?))
        .collect()
}

fn processes_from_ps() -> String {
    let listed = Command::new("ps").args(["-A", "-o", "pid=,ppid="]).output();
    let bytes = listed.map(|out| out.stdout).unwrap_or_default();
    String::from_utf8_lossy(&bytes).lines().map(|line| line.trim().to_owned() + "\n").collect()
}

/// `pid ppid` of every process, from `/proc/<pid>/stat`: the parent is the second field after the closing bracket of
/// the command's name, proc(5).
fn processes_from_proc() -> Option<String> {
    let entries = std::fs::read_dir("/proc").ok()?;
    let mut text = String::new();
    for entry in entries.flatten() {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((_, after)) = stat.rsplit_once(')') else { continue };
        let Some(parent) = after.split_whitespace().nth(1) else { continue };
        text.extend([&*entry.file_name().to_string_lossy(), " ", parent, "\n"]);
    }
    (!text.is_empty()).then_some(text)
}

/// Lets a stopped server and its children go on.
pub(super) fn thaw(pid: Pid) {
    for child in children(pid) {
        let _gone_already = kill_process(child, Signal::CONT);
    }
    let _gone_already = kill_process(pid, Signal::CONT);
}

/// A shell that waits for the end of its standard input, which comes when we die in whatever way, and then stops the
/// server: what `PR_SET_PDEATHSIG` would do, without unsafe code and on every unix.
#[derive(Debug)]
pub(super) struct Watcher(Child);

impl Watcher {
    /// `remove` are directories to remove afterwards, for clusters that nobody wants to keep.
    pub(super) fn start(place: &Place, remove: &[&Path]) -> std::io::Result<Self> {
        Command::new("/bin/sh")
            .args(["-c", WATCH, "haetae-postgres-watcher"])
            .arg(place.pid_file())
            .arg(place.data())
            .args(remove)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .current_dir("/")
            .process_group(0) // Ctrl-C in the terminal is for us, not for it
            .spawn()
            .map(Self)
    }

    /// Closes its input and reaps it; it removes what it was told to remove.
    pub(super) fn finish(&mut self) {
        drop(self.0.stdin.take());
        let _reaped = self.0.wait();
    }
}

/// `$1` the pid file, `$2` the data directory, the others what to remove. The process is signalled only if its
/// command line names the data directory.
const WATCH: &str = r#"
cat > /dev/null
pid=$(head -n 1 "$1" 2> /dev/null)
ours() {
    if [ -r "/proc/$pid/cmdline" ]; then grep -qaF -- "$2" "/proc/$pid/cmdline"
    else ps -o command= -p "$pid" 2> /dev/null | grep -qF -- "$2"; fi
}
if [ -n "$pid" ] && ours "$@"; then
    for stat in /proc/[0-9]*/stat; do
        read -r child _ _ parent _ < "$stat" 2> /dev/null && [ "$parent" = "$pid" ] && kill -CONT "$child"
    done
    kill -CONT "$pid"
    kill -INT "$pid"
    n=0
    while [ $n -lt 100 ] && ours "$@"; do sleep 0.1; n=$((n + 1)); done
    ours "$@" && kill -QUIT "$pid" && sleep 1
fi
shift 2
[ $# = 0 ] || rm -rf -- "$@"
"#;

const LEFTOVER_WAIT_MAX: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(20);
