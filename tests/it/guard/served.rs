//! The process itself: strangers' connections do not take the files that it needs, and what its listener refuses is written down.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::process::{Child, ChildStdout, Command, Stdio};

use super::*;

/// `haetae guard serve` on plain loopback, started by a shell after this command; killed with it.
struct Served {
    process: Child,
    address: String,
    /// What it says must have somebody who could read it.
    _said: BufReader<ChildStdout>,
    dir: tempfile::TempDir,
}

impl Served {
    fn after(limit: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let _config = config(dir.path(), "http://127.0.0.1:1", &trust(&Key::generate().unwrap()));
        let text = "site = 'kr-seo-1'\nidentity = 'spiffe://kr-op.example/site/kr-seo-1'\n\
             trust = 'trust.policy'\nupstream = 'http://127.0.0.1:1'\njournal = 'guard.jsonl'\n\
             listen = { address = '127.0.0.1:0' }\n";
        std::fs::write(dir.path().join("guard.toml"), text).unwrap();
        let line = format!("{limit}; exec \"$0\" guard serve --config guard.toml 2>&1");
        let mut process = Command::new("sh")
            .args(["-c", &line, env!("CARGO_BIN_EXE_haetae")])
            .current_dir(dir.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(process.stdout.take().unwrap());
        let ready =
            said.by_ref().lines().map(Result::unwrap).find(|line| line.contains("is ready"));
        let ready = ready.expect("it is ready to serve");
        let address = ready.split("address=").nth(1).unwrap().trim().to_owned();
        Self { process, address, _said: said, dir }
    }

    fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.address).unwrap()
    }

    fn files(&self) -> String {
        let limits = format!("/proc/{}/limits", self.process.id());
        let limits = std::fs::read_to_string(limits).unwrap();
        limits.lines().find(|line| line.starts_with("Max open files")).unwrap().to_owned()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        let _gone = self.process.kill();
        let _reaped = self.process.wait();
    }
}

/// Whether a request without a receipt is refused there, as it should be, or nothing answers.
fn is_answered(mut stream: TcpStream) -> bool {
    let _closed = stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\nconnection: close\r\n\r\n");
    let mut answer = Vec::new();
    let _reset = stream.read_to_end(&mut answer);
    answer.starts_with(b"HTTP/1.1 403")
}

#[test]
fn connections_take_a_part_of_the_files_and_the_process_as_many_as_it_may() {
    let served = Served::after("ulimit -n 128");
    let first = served.connect();
    let others: Vec<TcpStream> = (0..60).map(|_| served.connect()).collect();
    assert!(!is_answered(served.connect()), "others would be without files");
    assert!(is_answered(first), "whoever was there is served");
    drop(others);

    let served = Served::after("ulimit -Sn 128");
    let said = served.files();
    let [soft, hard] = [3, 4].map(|at| said.split_whitespace().nth(at).unwrap());
    assert_eq!(soft, hard, "{said}");
}

/// Two readers could see two requests in it: it is refused below the guard, and the site's journal has it all the same.
#[test]
fn what_cannot_be_read_in_one_way_is_written_down_too() {
    let served = Served::after("true");
    let mut stream = served.connect();
    let two =
        b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n";
    stream.write_all(two).unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).unwrap();
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", String::from_utf8_lossy(&answer));
    let kept = entries(&served.dir.path().join("guard.jsonl")).unwrap();
    let last = kept.last().unwrap();
    assert_eq!((last.what, last.network.as_deref()), (What::Refused, Some("127.0.0.0/24")));
    assert_eq!(last.why.as_deref(), Some("framing_length_with_encoding"));
}
